"""The recipes of a line, and the change of a line that runs from one to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import ValidationError
from starlette.responses import Response

from edge.bundles.recipes import RecipeBook, read_recipes
from edge.core.config import Settings
from edge.plant.recipe_request import ask_for_recipe
from edge.plant.status_file import is_live, read_status
from edge.records.recipe_changes import RecipeChange, recorded_changes
from edge.web.engineer.changes import note_change
from edge.web.page import Refusal, chosen_line, form_of, line_named, show, to
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_LISTED = 20


def recipes_page(request: Request) -> Response:
    """What the line can judge, what it judges, and the newest changes. ?changed=: to which this page changed it."""
    line = chosen_line(request)
    book, changes = _book(line)
    state = _state(line)
    return show(
        request,
        "recipes.html",
        line=line,
        book=book,
        running=state is not None,
        now="" if state is None else str(state.get("name") or ""),
        error="" if state is None else str(state.get("error") or ""),
        changes=changes,
        changed=request.query_params.get("changed", ""),
    )


def _state(line: WebLine) -> dict[str, Any] | None:
    """What the status says of recipes; None for a line that does not run."""
    status = None if line.run_directory is None else read_status(line.run_directory)
    try:
        recipe = status["recipe"] if status is not None and is_live(status) else None
    except (KeyError, TypeError, ValueError):
        return None
    return recipe if isinstance(recipe, dict) else None


def _book(line: WebLine) -> tuple[RecipeBook | None, list[RecipeChange]]:
    """The recipes of the newest run's settings, and the newest changes on record, the newest first.

    None where the line has no recipes. Raises RecordError, ConfigError.
    """
    with records_of(line) as store:
        rows = store.query("SELECT config FROM runs ORDER BY id DESC LIMIT 1")
        condition = "id > (SELECT coalesce(max(id), 0) FROM recipe_changes) - ?"
        changes = recorded_changes(store, condition, (_MOST_LISTED,))
    values: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
    file = (values.get("recipes") or {}).get("file")
    if file is None:
        return None, []
    try:
        settings = Settings.model_validate(values)
    except ValidationError:
        # of another version of this software; names and bundles can be read nevertheless
        settings = Settings()
    return read_recipes(Path(file), settings), changes[::-1]


def change_recipe(request: Request) -> Response:
    """Ask the line that runs for another recipe, and wait for its answer."""
    form = form_of(request)
    line = line_named(request, form.get("line", ""))
    book, _ = _book(line)
    state = _state(line)
    if book is None or line.run_directory is None or state is None:
        raise Refusal(409, "Nothing was changed", f"Line {line.name} does not run, or has no recipes.")
    wanted = book.find(form.get("recipe", ""))
    note_change(request, line, "recipe", str(state.get("name") or ""), wanted.name)
    answer = ask_for_recipe(line.run_directory, wanted.name, "pages")
    if not answer.changed:
        raise Refusal(409, "The line keeps its recipe", answer.text)
    return to(f"/engineer/recipes?{urlencode({'line': line.name, 'changed': answer.recipe})}")
