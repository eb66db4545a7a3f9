"""The page of a re-inspection, its flips with their pictures, and a table of all flips."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

import cv2

from edge.core.datatypes import U8, Region
from edge.core.errors import RecordError
from edge.core.files.atomic_file import PART_END, write_atomic
from edge.core.files.text_names import storable
from edge.core.local_time import local_from_text, local_text
from edge.fleet.archive.judge import read_picture
from edge.fleet.archive.recorded import Outcome
from edge.fleet.archive.reinspect import Reinspection
from edge.fleet.archive.summary import FLIPS, INVALID, NG, OK, Flip, Summary, flipped, judged, summarised
from edge.pages.chart import BLUE, ORANGE, Chart
from edge.pages.kit import render
from edge.pages.pictures import scaled
from edge.review.labels import Label

PAGE, TABLE = "report.html", "flips.csv"
_COLUMNS = (
    "line", "product", "number", "utc", "part_number", "lot", "flip", "recorded_score", "recorded_threshold",
    "new_score", "new_threshold", "new_reason", "new_detail", "label", "picture",
)  # fmt: skip
_THUMBNAIL = (300, 416)
_MOST_ROWS = 40
_LABELS = {
    Label.CONFIRM: ("labelled defective", "bad"),
    Label.ESCAPE: ("labelled defective", "bad"),
    Label.FALSE_REJECT: ("labelled good", "good"),
    Label.OK_CONFIRMED: ("labelled good", "good"),
    Label.UNSURE: ("labelled unsure", ""),
}


@dataclass(frozen=True)
class ShownLabel:
    """A label in words, and the class of its look."""

    words: str
    look: str


@dataclass(frozen=True)
class ShownFlip:
    """A flip as the page shows it; picture: None where it is gone."""

    picture: U8 | None
    number: str
    before: str
    now: str
    label: ShownLabel | None
    words: str


@dataclass(frozen=True)
class ShownKind:
    """The flips of one kind."""

    title: str
    words: str
    flips: Sequence[ShownFlip]


def write_report(made: Reinspection) -> tuple[Summary, Path]:
    """Write the page and the table of flips beside the results; what they say, and where the page is.

    Raises RecordError.
    """
    folder = made.wanted.results.folder
    page = folder / PAGE
    with _explained(folder), _table(folder / TABLE) as write:
        summary = summarised(made.archive.shards, made.wanted.results, made.skipped, made.unseen, write)
    text = _page(made, summary)
    with _explained(folder):
        write_atomic(page, text.encode())
    return summary, page


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"{folder} cannot be written to: {error.strerror or error}",
            fix="make room, and give the same command again: what is judged is not judged anew",
        ) from error


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    """Yields what takes each flip: however many there are, none is held in memory."""
    part = path.with_name(path.name + PART_END)
    with part.open("w", newline="", encoding="utf-8") as file:
        yield _rows_to(file)
    part.replace(path)


def _rows_to(file: TextIO) -> Any:
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)

    def write(flip: Flip) -> None:
        recorded, result = flip.result.recorded, flip.result
        values = (
            recorded.line, recorded.product, recorded.number, recorded.utc, recorded.part_number, recorded.lot,
            result.flip, recorded.score, recorded.threshold, result.score, result.threshold, result.reason,
            result.detail, "" if flip.label is None else flip.label.value,
            next(map(str, flip.shard.pictures(recorded)), ""),
        )  # fmt: skip
        writer.writerow([storable(value) if isinstance(value, str) else value for value in values])

    return write


def _page(made: Reinspection, summary: Summary) -> str:
    total, bundle = summary.total, made.bundle
    count, shards = judged(total), len(made.archive.shards)
    return render(
        "reinspect.html",
        bundle=bundle.manifest.product,
        archive=storable(str(made.archive.root)),
        when=local_text(datetime.now(timezone.utc)),
        figures={
            "pictures judged": f"{count:,}",
            "verdicts changed": f"{flipped(total):,}",
            "share": f"{flipped(total) / count:.2%}" if count else "–",
            f"{OK} to {NG}": f"{total[OK, NG]:,}",
            f"{NG} to {OK}": f"{total[NG, OK]:,}",
            "could not be judged": f"{total.total() - count:,}",
        },
        lines=summary.change_lines(),
        labelled=summary.labelled_lines(),
        worse=summary.is_worse,
        chart=_by_day(summary),
        head=("line", "product", *_HEAD),
        by_line=[(*names, *_cells(counts)) for names, counts in summary.by("line", "product").items()],
        day_head=("line", "product", "day", *_HEAD),
        by_day=_worst_days(summary),
        kinds=[_shown(kind, total, flips) for kind, flips in summary.flips.items()],
        origin={
            "archive": storable(f"{made.archive.root}: {made.archive.kind}, {shards} shard{'s' * (shards != 1)}"),
            "bundle": storable(f"{bundle.path}, {bundle.manifest.method} {bundle.manifest.variant}"),
            "made": local_from_text(bundle.manifest.created_utc),
            "sha256": bundle.sha256,
            "only product": made.wanted.product or "",
            "all flips": storable(str(made.wanted.results.folder / TABLE)),
        },
    )


_HEAD = ("judged", "changed", "share", *FLIPS[:2], f"to {INVALID}", f"from {INVALID}", "not judged")


def _cells(counts: Counter[tuple[str, str]]) -> tuple[str, ...]:
    count, changed = judged(counts), flipped(counts)
    to_invalid = counts[OK, INVALID] + counts[NG, INVALID]
    from_invalid = counts[INVALID, OK] + counts[INVALID, NG]
    share = f"{changed / count:.2%}" if count else "–"
    numbers = counts[OK, NG], counts[NG, OK], to_invalid, from_invalid, counts.total() - count
    return (f"{count:,}", f"{changed:,}", share, *(f"{number:,}" for number in numbers))


def _worst_days(summary: Summary) -> list[tuple[str, ...]]:
    groups = sorted(summary.groups.items(), key=lambda item: (-flipped(item[1]), item[0].day))[:_MOST_ROWS]
    return [(each.line, each.product, each.day, *_cells(counts)) for each, counts in groups if flipped(counts)]


def _by_day(summary: Summary) -> Chart | None:
    """The share of changed verdicts of each day; None where there is but one day."""
    days = {name: counts for (name,), counts in summary.by("day").items() if judged(counts)}
    if len(days) < 2:
        return None
    series = {
        colour: [100 * counts[pair] / judged(counts) for counts in days.values()]
        for colour, pair in ((ORANGE, (OK, NG)), (BLUE, (NG, OK)))
    }
    places = [float(place) for place in range(len(days))]
    step = max(1, len(days) // 6)
    labels = {float(place): name for place, name in enumerate(days) if place % step == 0}
    top = max(max(values) for values in series.values())
    chart = Chart(
        (0.0, places[-1]), (0.0, max(top, 0.1)), "day", "%", x_labels=labels,
        key=((ORANGE, f"{OK} to {NG}"), (BLUE, f"{NG} to {OK}")),
    )  # fmt: skip
    for colour, values in series.items():
        chart.line(places, values, colour)
        if len(days) <= 62:
            for place, value, name in zip(places, values, days, strict=True):
                chart.dot(place, value, colour, f"{name}: {value:.2f} %", radius=2.5)
    return chart


def _shown(kind: str, total: Mapping[tuple[str, str], int], flips: Sequence[Flip]) -> ShownKind:
    before, now = kind.split(" to ")
    count = total[before, now]
    which = "all of them" if count <= len(flips) else f"the {len(flips)} that matter most of {count:,}"
    box = "Boxes: where the new bundle finds a defect." if now == NG else ""
    box = "Boxes: where the recorded verdict saw a defect." if (before, now) == (NG, OK) else box
    words = f"{which[0].upper()}{which[1:]}, labelled ones first, then the farthest from the threshold. {box}"
    return ShownKind(f"{kind}: {count:,}", words, [_figure(flip) for flip in flips])


def _figure(flip: Flip) -> ShownFlip:
    recorded, result = flip.result.recorded, flip.result
    shown = None if flip.label is None else ShownLabel(*_LABELS[flip.label])
    part = "".join(f", {name} {text}" for name, text in (("part", recorded.part_number), ("lot", recorded.lot)) if text)
    words = f"{recorded.line}, {recorded.product}, {recorded.number}{part}, {_local(recorded.utc)}"
    if result.score is None:
        words += f": {result.detail}"
    before = _against(recorded.score, recorded.threshold, recorded.reason)
    now = _against(result.score, result.threshold, result.reason)
    return ShownFlip(_thumbnail(flip), recorded.number, before, now, shown, storable(words))


def _against(score: float | None, threshold: float | None, reason: str) -> str:
    """0.512 > 0.43: a score and its threshold; else the reason."""
    if score is None or threshold is None:
        return reason.replace("_", " ")
    return f"{score:.3f} {'>' if score > threshold else '≤'} {threshold:.3f}"


def _local(utc: str) -> str:
    try:
        return local_from_text(utc)
    except ValueError:
        return utc


def _thumbnail(flip: Flip) -> U8 | None:
    recorded, result = flip.result.recorded, flip.result
    picture = read_picture(flip.shard, recorded) if result.outcome is Outcome.JUDGED else None
    if picture is None:
        return None
    small = scaled(picture, *_THUMBNAIL)
    factor = small.shape[1] / picture.shape[1]
    regions = result.regions if result.decision == NG else recorded.regions
    for region in _regions(regions):
        corner = int(region.x * factor) - 2, int(region.y * factor) - 2
        opposite = int((region.x + region.width) * factor) + 2, int((region.y + region.height) * factor) + 2
        for colour, line in (((30, 30, 30), 3), ((255, 255, 255), 1)):
            cv2.rectangle(small, corner, opposite, colour, line, cv2.LINE_AA)
    return small


def _regions(text: str) -> list[Region]:
    try:
        return [Region(*values) for values in json.loads(text)][:6]
    # a row that somebody changed by hand shows no boxes
    except (ValueError, TypeError):
        return []
