"""The versions of a line's bundle: what changed when and why, what the gate said, and the way back."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.history import Audit, HistoryEntry, read_history, took_effect
from edge.bundles.signature import is_signed
from edge.bundles.versions import SHORT, find_version, kept_versions, roll_back
from edge.core.errors import EdgeInspectError
from edge.core.files.safe_file import read_safe
from edge.web.engineer.changes import note_change
from edge.web.engineer.judging import bundle_path
from edge.web.page import Refusal, chosen_line, form_of, line_named, show, to, visitor_of

if TYPE_CHECKING:
    from starlette.requests import Request

_GATE = "gate.json"
_LARGEST_GATE = 8_000_000
_MOST_LISTED = 50


@dataclass(frozen=True)
class Change:
    """An entry of the history. happened: False for what was prepared or refused only. kept: it can be gone back to."""

    entry: HistoryEntry
    happened: bool

    @property
    def version(self) -> str:
        return self.entry.after[:SHORT]


def bundles_page(request: Request) -> Response:
    """History, gate and kept versions."""
    line = chosen_line(request)
    path = bundle_path(line)
    live, versions, entries = load_bundle(path), kept_versions(path), read_history(path)
    changes = [
        Change(entry, done) for entry, done in zip(entries, took_effect(entries, live.sha256), strict=True)
    ]  # fmt: skip
    return show(
        request,
        "bundles.html",
        line=line,
        short=SHORT,
        about=_about(live),
        changes=list(reversed(changes))[:_MOST_LISTED],
        versions=[version for version in versions if not version.live],
        gates=_gates(live),
    )


def _about(bundle: ModelBundle) -> dict[str, object]:
    """For a table of facts: what runs, and by which threshold."""
    found: dict[str, object] = {
        "product": bundle.manifest.product,
        "version": bundle.sha256[:SHORT],
        "signature": "signed" if _signed(bundle) else "not signed",
        "folder": bundle.path,
    }
    for precision in ("int8", "fp32"):
        # a bundle has one or both
        with suppress(EdgeInspectError):
            runs = " (runs)" if bundle.precision("auto") == precision else ""
            found[precision.upper() + runs] = f"threshold {bundle.calibration(precision).threshold:.4f}"
    return found


def _signed(bundle: ModelBundle) -> bool:
    try:
        return is_signed(bundle)
    except EdgeInspectError:
        return False


def _gates(bundle: ModelBundle) -> list[dict[str, Any]]:
    """What the gate said of this bundle; empty where it said nothing that can be read."""
    try:
        values = json.loads(read_safe(bundle.path, _GATE, _LARGEST_GATE))
    except (OSError, ValueError):
        return []
    known = {"passed", "target", "precision", "normals", "new_rejects", "defective", "missed", "exceeded"}
    listed = values if isinstance(values, list) else []
    return [each for each in listed if isinstance(each, dict) and known <= each.keys()]


def go_back(request: Request) -> Response:
    """Make an earlier version live; a line that runs takes it up between two parts."""
    form = form_of(request)
    line = line_named(request, form.get("line", ""))
    path = bundle_path(line)
    live, wanted = load_bundle(path), find_version(path, form.get("version", ""))
    if wanted.sha256 == live.sha256:
        raise Refusal(400, "Nothing was changed", "This version is live already.")
    note_change(request, line, "rollback", live.sha256[:SHORT], wanted.sha256[:SHORT])
    who = Audit("rollback").who
    roll_back(path, wanted.sha256, Audit("rollback", note="on the pages", who=f"{visitor_of(request).name}, {who}"))
    return to(f"/engineer/bundles?line={line.name}")
