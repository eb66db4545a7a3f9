"""history: what a bundle was before, who changed it and why, and the versions that can be gone back to."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.options import share
from edge.cli.standard_streams import printable
from edge.core.config import Settings
from edge.core.local_time import local_from_text

if TYPE_CHECKING:
    from edge.bundles.history import HistoryEntry
    from edge.bundles.versions import Version


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", required=True, help="model bundle directory")
    parser.add_argument("--json", action="store_true", help="print every change and every kept version as JSON")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from edge.bundles.bundle import load_bundle
    from edge.bundles.history import read_history, took_effect
    from edge.bundles.versions import kept_versions

    live = load_bundle(options.bundle)
    entries, versions = read_history(options.bundle), kept_versions(options.bundle)
    happened = took_effect(entries, live.sha256)
    if options.json:
        print(json.dumps(_as_json(options.bundle, entries, happened, versions), indent=1))
        return 0
    for line in _described(live.sha256, entries, happened, versions):
        print(printable(line))
    return 0


def _as_json(
    path: Path, entries: list[HistoryEntry], happened: list[bool], versions: list[Version]
) -> dict[str, object]:
    return {
        "bundle": str(path),
        "changes": [
            {**entry.model_dump(mode="json"), "happened": done} for entry, done in zip(entries, happened, strict=True)
        ],
        "kept": [
            {"version": version.bundle.sha256, "live": version.live, "last_utc": version.last_utc}
            for version in versions
        ],
    }


def _described(live: str, entries: list[HistoryEntry], happened: list[bool], versions: list[Version]) -> Iterator[str]:
    from edge.bundles.versions import SHORT

    if not entries:
        yield "no changes on record: the bundle was made before there was a history, or copied without it"
    for entry, done in zip(entries, happened, strict=True):
        start = "made" if entry.before is None else f"{entry.before[:SHORT]} to"
        what = f"{start} {entry.after[:SHORT]}{'' if done else '  NOT MADE'}"
        if entry.refused:
            what = f"REFUSED, {entry.after[:SHORT]} stayed"
        yield f"{local_from_text(entry.utc)}  {entry.action} by {entry.who}: {what}"
        if not done and not entry.refused:
            yield "    prepared only: a candidate that was not switched to, or the process or the power ended first"
        samples = entry.samples
        if samples is not None:
            yield f"    from {samples.count} pictures of {samples.folder}, {samples.sha256[:12]}…"
            for reason, count in sorted(samples.rejected.items()):
                yield f"    {count} refused: {reason}"
            if samples.quarantined:
                yield f"    {len(samples.quarantined)} in quarantine: {', '.join(samples.quarantined)}"
        for text in (*entry.changed, *entry.gate, *([entry.note] if entry.note else [])):
            yield f"    {text}"
    if entries and live not in {entry.after for entry in entries}:
        yield "the live version is not in this history: its manifest was brought from elsewhere"
    yield "kept versions, the live one first:"
    for version in versions:
        mark = "live  " if version.live else "      "
        yield f"  {mark}{version.bundle.sha256[:SHORT]}  live last {local_from_text(version.last_utc)}"
