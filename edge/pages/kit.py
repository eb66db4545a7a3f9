"""One environment of templates for every HTML page.

A page needs nothing else: the style and all pictures are inside it, it has no script, and it fetches nothing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.core.files.text_names import storable
from edge.core.local_time import local_from_text
from edge.pages.pictures import picture_uri

if TYPE_CHECKING:
    from jinja2 import Environment


PAGES = "edge.pages"


def render(template: str, package: str = PAGES, **values: Any) -> str:
    """The text of `templates/<template>.j2`. Every value is escaped, but what has `__html__`, such as a Chart.

    package: whose templates come first; those of the kit are there for every package. Bytes of a file's name that are
    no text are written as `storable` writes them. Raises jinja2.UndefinedError when the template asks for a value that
    is not there.
    """
    return storable(_environment(package).get_template(f"{template}.j2").render(values))


@cache
def _environment(package: str) -> Environment:
    # imported here: a line that writes no page does not wait for it
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, PAGES))])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "local_time": local_from_text, "picture_uri": picture_uri}
    environment.globals["version"] = __version__
    return environment


def number(value: float | None, form: str) -> str:
    """The value in this format of Python, such as ".2f"; a dash where there is no value."""
    return "–" if value is None else format(value, form)
