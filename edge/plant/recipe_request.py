"""Another recipe for a running line, asked for by another process: through two files in the line's run directory.

One asks at a time. The line removes a request when it takes it, and answers by the request's key.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.file_lock import file_lock
from edge.core.files.private_files import FILE_MODE
from edge.core.files.safe_file import read_safe
from edge.plant.status_file import STATUS_NAME, is_live, read_status

log = logging.getLogger("edge.plant")

REQUEST_NAME, ANSWER_NAME, LOCK_NAME = "recipe-request.json", "recipe-answer.json", "recipe.lock"
# a large network of a GPU takes long to load
ANSWER_WITHIN_S = 120.0
_REQUEST_MODE = 0o644
_LARGEST_BYTES = 10_000
_LOOK_EVERY_S = 0.02
# a line that has shown no sign of life for so long does not answer any more
_GONE_S = 10.0


@dataclass(frozen=True)
class RecipeRequest:
    """key: by which the answer names it. recipe: a name or a number. asked_by: command, pages or mqtt."""

    key: str
    recipe: str
    asked_by: str


@dataclass(frozen=True)
class RecipeAnswer:
    """changed: whether the line judges by it now. text: for a person; when not, it says why, and advice
    what to do. ms: since the request.
    """

    key: str
    changed: bool
    recipe: str
    text: str
    ms: float
    advice: str = ""


def ask_for_recipe(directory: Path, recipe: str, asked_by: str, within_s: float = ANSWER_WITHIN_S) -> RecipeAnswer:
    """Ask the line of this run directory, and wait for its answer.

    Raises UsageError where no line runs there, where it has no recipes, where it does not answer, and where the
    directory cannot be written.
    """
    _require_rights(directory)
    status = read_status(directory)
    if status is None or not status.get("running") or not is_live(status):
        raise UsageError(
            f"no line that runs keeps its status in {directory}",
            fix="give the line's own --run-directory; a line that does not run takes recipes.start of its settings",
        )
    if not status.get("recipe", {}).get("name"):
        raise UsageError("the line has no recipes", fix="set recipes.file in its settings, and restart it")
    try:
        with _alone(directory):
            return _asked(directory, RecipeRequest(secrets.token_hex(8), recipe, asked_by), within_s)
    except OSError as error:
        raise _no_rights(directory, error) from error


def _require_rights(directory: Path) -> None:
    """Else it would look as if no line ran there. Raises UsageError."""
    try:
        (directory / STATUS_NAME).open("rb").close()
    except PermissionError as error:
        raise _no_rights(directory, error) from error
    except OSError:
        return


def _no_rights(directory: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{directory}: the line cannot be asked: {error.strerror or error}",
        fix="ask as the user that the line runs as, such as `sudo -u edge-inspect edge-inspect recipe ...`",
    )


def _asked(directory: Path, request: RecipeRequest, within_s: float) -> RecipeAnswer:
    file = directory / REQUEST_NAME
    # root may ask a line that runs as another user
    write_atomic(file, json.dumps(asdict(request)).encode(), _REQUEST_MODE, sync=False)
    until = time.monotonic() + within_s
    alive_s = time.monotonic()
    try:
        while time.monotonic() < until:
            alive_s = time.monotonic() if is_live(read_status(directory)) else alive_s
            if time.monotonic() > alive_s + _GONE_S:
                raise UsageError("the line has ended, or hangs, and did not answer", fix="see its log, and start it")
            answer = _read(directory, ANSWER_NAME, RecipeAnswer)
            if answer is not None and answer.key == request.key:
                return answer
            time.sleep(_LOOK_EVERY_S)
    finally:
        # a line that comes later must not act on it
        file.unlink(missing_ok=True)
    raise UsageError(
        f"the line has not answered within {within_s:g} s",
        fix="see `edge-inspect recipe list`, and the line's log, for what it does",
    )


@contextmanager
def _alone(directory: Path) -> Any:
    """Two at once would take each other's request away."""

    def refuse() -> None:
        raise UsageError("another recipe is being asked for at this moment", fix="wait for its answer, and ask again")

    with file_lock(directory / LOCK_NAME, refuse):
        yield


class RequestFile:
    """The line's side. Used from one thread. What was asked of an earlier line is forgotten."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in (REQUEST_NAME, ANSWER_NAME, LOCK_NAME):
            with suppress(OSError):
                (directory / name).unlink(missing_ok=True)
        # made here, it is the line's own, whoever asks first: one that root made would shut out all others
        with suppress(OSError):
            (directory / LOCK_NAME).touch(FILE_MODE)

    def take(self) -> RecipeRequest | None:
        """The request that waits; None when there is none that can be read."""
        file = self._directory / REQUEST_NAME
        if not file.exists():
            return None
        request = _read(self._directory, REQUEST_NAME, RecipeRequest)
        if request is None:
            log.warning("%s cannot be read, or is no request: it is removed", file)
        # one that cannot be read would be read for ever
        file.unlink(missing_ok=True)
        return request

    def answer(self, answer: RecipeAnswer) -> None:
        """Raises OSError."""
        write_atomic(self._directory / ANSWER_NAME, json.dumps(asdict(answer)).encode(), FILE_MODE, sync=False)


_Kind = TypeVar("_Kind", RecipeRequest, RecipeAnswer)


def _read(directory: Path, name: str, kind: type[_Kind]) -> _Kind | None:
    try:
        values = json.loads(read_safe(directory, name, _LARGEST_BYTES))
        wanted = {field: values[field] for field in kind.__dataclass_fields__}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    texts = ("key", "recipe", "asked_by", "text", "advice")
    sound = all(isinstance(value, str) for field, value in wanted.items() if field in texts)
    return kind(**wanted) if sound else None
