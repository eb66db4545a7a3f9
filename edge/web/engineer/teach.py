"""Teach a product in the browser: pictures from the running line, one command with fixed words, results in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import ValidationError
from starlette.responses import HTMLResponse, Response

from edge.bundles.bundle import load_bundle
from edge.bundles.versions import SHORT
from edge.core.config import Settings
from edge.core.errors import EdgeInspectError, RecordError, UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.private_files import FILE_MODE
from edge.pages.kit import render
from edge.plant.picture_request import ask_for_picture
from edge.web.engineer.changes import change_of, note_change
from edge.web.engineer.jobs import BUSY, Job, Jobs, said_in
from edge.web.engineer.teaching import Teaching, Teachings
from edge.web.line.view import view_of
from edge.web.page import Refusal, chosen_line, form_of, line_named, show, to, visitor_of
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of

if TYPE_CHECKING:
    from starlette.requests import Request

COMMAND = "teach"
FOLDER, BUNDLE, SAID = "teach", "bundle", "teach.log"
_SETTINGS = "line.yaml"
WANTED = 60
_PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
# of the line's settings: what decides which pictures are samples, and what of them is judged
_SECTIONS = ("roi", "freshness")
# a line of the results: its name, and what it says
_RESULT = re.compile(r"(\S[a-z ]*?)\s{2,}(.+)")
# here the folder of samples stands for the camera, and the pages have the threshold
_NOT_SHOWN = ("inspect", "change it")


@dataclass(frozen=True)
class Taught:
    """How far a product is. least: samples that are needed. missing: why this machine cannot learn; None where it can.

    busy: a command of the line runs. bundle: None until there is one. results: (name, text) of what was made, a name is
    empty where it is that of the line above. said: what `teach` said before them.
    """

    product: str
    folder: Path
    count: int
    least: int
    missing: EdgeInspectError | None
    live: bool
    job: Job | None
    busy: bool
    bundle: Path | None
    results: tuple[tuple[str, str], ...]
    said: tuple[str, ...]


def teach_page(request: Request) -> Response:
    """?product=: whose samples are collected; without it one is chosen. The x-part is how far the command is."""
    line, product = chosen_line(request), request.query_params.get("product", "")
    if not product:
        return show(request, "teach.html", line=line, products=_products(line), taught=None)
    teaching, folder = _teaching(request, line, product)
    values = _values(request, line, product, teaching, folder)
    if request.headers.get("x-part"):
        return HTMLResponse(render("taught.html", "edge.web", csrf=visitor_of(request).csrf, **values))
    page = show(request, "teach.html", products=(), **values)
    # told once: it is over when somebody opens the page anew
    teaching.trouble = None
    return page


def teach(request: Request) -> Response:
    """What the form's `do` says: take a picture, undo the last, begin or end the command."""
    form = form_of(request)
    line, product, what = line_named(request, form.get("line", "")), form.get("product", ""), form.get("do", "")
    teaching, folder = _teaching(request, line, product)
    jobs: Jobs = request.app.state.jobs
    if what in ("take", "undo"):
        _change_samples(request, line, product, teaching, what)
    elif what == "begin":
        _begin(request, line, product, teaching, folder)
    elif what == "end":
        jobs.end(line.name, COMMAND)
    else:
        raise Refusal(400, "Nothing to do", f"{what!r} is none of take, undo, begin and end.")
    if request.headers.get("x-part"):
        values = _values(request, line, product, teaching, folder)
        return HTMLResponse(render("teaching.html", "edge.web", csrf=visitor_of(request).csrf, **values))
    return to(f"/engineer/teach?{urlencode({'line': line.name, 'product': product})}")


def _change_samples(request: Request, line: WebLine, product: str, teaching: Teaching, what: str) -> None:
    """What goes wrong is said beside the button: the next part is at hand."""

    def note(name: str) -> None:
        note_change(request, line, "teach sample", product, f"{name} {'taken' if what == 'take' else 'taken back'}")

    try:
        if what == "undo":
            teaching.take_back(note)
        elif line.run_directory is None:
            raise UsageError("this page does not know where the line runs", fix="set run_directory of the line")
        else:
            picture = ask_for_picture(line.run_directory)
            teaching.take(picture.image, datetime.fromisoformat(picture.utc), note)
        teaching.trouble = None
    except EdgeInspectError as error:
        teaching.trouble = error


def _begin(request: Request, line: WebLine, product: str, teaching: Teaching, folder: Path) -> None:
    jobs: Jobs = request.app.state.jobs
    records, count, least = _records(line), teaching.samples.count, teaching.samples.require_all()
    if count < least:
        raise Refusal(409, "Too few samples", f"{product} has {count}; {least} are needed, {WANTED} are better.")
    if jobs.busy(line.name):
        raise BUSY
    bundle, visitor = folder / BUNDLE, visitor_of(request)
    address = request.client.host if request.client is not None else "?"

    def over(failed: bool) -> None:
        after = "no bundle" if failed else f"bundle {load_bundle(bundle).sha256[:SHORT]}"
        change_of(visitor, address, records, COMMAND, product, after)

    words = [COMMAND, "--config", str(folder / _SETTINGS), "--product", product, "--samples", str(folder)]
    # all are there: nothing is left to be taken from what stands for a camera
    words += ["--camera", str(folder / "train" / "good"), "--count", str(count), "--out", str(bundle), "--yes"]
    words += ["--trust"] if form_of(request).get("trust") else []
    # the audit first: what is not on record must not happen
    note_change(request, line, "teach begun", product, f"{count} samples")
    try:
        settings = _line_settings(line).model_dump(mode="json", include=set(_SECTIONS))
        write_atomic(folder / _SETTINGS, json.dumps(settings).encode(), FILE_MODE)
        begun = jobs.begin(line.name, COMMAND, words, product, over, folder / SAID)
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror or error}. The samples are kept."
        raise Refusal(507, "It was not begun", text, "Free some space, and try again.") from error
    if not begun:
        raise BUSY


def _values(request: Request, line: WebLine, product: str, teaching: Teaching, folder: Path) -> dict[str, Any]:
    jobs: Jobs = request.app.state.jobs
    least, missing = 0, None
    try:
        least = teaching.samples.require_all()
    except EdgeInspectError as error:
        missing = error
    job = jobs.of(line.name, COMMAND)
    own = job if job is not None and job.about == product else None
    bundle = folder / BUNDLE if (folder / BUNDLE / "manifest.json").exists() else None
    live, busy = view_of(line).live, jobs.busy(line.name)
    results, said = _read(said_in(folder / SAID), product)
    taught = Taught(product, folder, teaching.samples.count, least, missing, live, own, busy, bundle, results, said)
    # as they are now: another browser may take a picture while this page is made
    return {
        "line": line, "taught": taught, "wanted": WANTED, "shots": teaching.shots, "trouble": teaching.trouble,
    }  # fmt: skip


def _read(said: list[str], product: str) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The results, and what was said before them; no results where the command has not come so far."""
    heads = [at for at, text in enumerate(said) if text.startswith((f"{product} is ready:", f"{product} is made,"))]
    if not heads:
        return (), tuple(said)
    results = []
    for text in said[heads[-1] + 1 :]:
        found = _RESULT.fullmatch(text)
        name, words = ("", text) if found is None else found.groups()
        if name not in _NOT_SHOWN:
            results.append((name, words))
    # where it finds little, the head says so
    head = said[heads[-1]].rpartition(": ")[0]
    return (("made", head), *results), tuple(said[: heads[-1]])


def _teaching(request: Request, line: WebLine, product: str) -> tuple[Teaching, Path]:
    """The product, and its folder. Raises Refusal for what is no name of one."""
    if not _PRODUCT.fullmatch(product):
        raise Refusal(
            400, "No such product", f"{product!r} cannot name a product here.",
            "Use up to 40 letters, digits, - and _, such as bracket-2.",
        )  # fmt: skip
    teachings: Teachings = request.app.state.teachings
    folder = _records(line) / FOLDER / product
    settings: Callable[[], Settings] = lambda: _line_settings(line)  # noqa: E731
    return teachings.of(folder, settings), folder


def _records(line: WebLine) -> Path:
    if line.records is None:
        raise Refusal(
            409, "No place for samples", f"Line {line.name} keeps no records, so there is no audit either.",
            "Set record.directory of the line, or records of its entry in web.lines.",
        )  # fmt: skip
    return line.records.absolute()


def _products(line: WebLine) -> list[str]:
    """Those that samples were taken of."""
    found: list[str] = []
    with suppress(OSError):
        found = sorted(each.name for each in (_records(line) / FOLDER).iterdir() if each.is_dir())
    return [name for name in found if _PRODUCT.fullmatch(name)]


def _line_settings(line: WebLine) -> Settings:
    """Those of the newest run that decide what a sample is; the region of another recipe is none of this product."""
    try:
        with records_of(line) as store:
            rows = store.query("SELECT config FROM runs ORDER BY id DESC LIMIT 1")
        values: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
        recipes = (values.get("recipes") or {}).get("file") is not None
        return Settings.model_validate(
            {name: values[name] for name in _SECTIONS if name in values and not (name == "roi" and recipes)}
        )
    # no run is on record, or one of another version of this software
    except (RecordError, ValidationError, ValueError, AttributeError):
        return Settings()
