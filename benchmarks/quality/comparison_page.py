"""A comparison as one HTML file that needs nothing else, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from benchmarks.quality.comparison import NETWORK, TRIVIAL, Contender, Recommendation
from benchmarks.quality.comparison_plots import latency_chart, map_picture, roc_chart, thumbnail, truth_picture
from benchmarks.quality.labelled import EVALUATION_SIDE, LabelledPicture
from edge.capture.images.image_reader import read_image
from edge.core.hardware import read_processor
from edge.pages.kit import number, render

_SHOWN_PICTURES = 6
# heading, key, format, whether more is better
_COLUMNS = (
    ("image AUROC", "image_auroc", ".3f", True),
    ("image AP", "image_ap", ".3f", True),
    ("pixel AUROC", "pixel_auroc", ".3f", True),
    ("pixel AP", "pixel_ap", ".3f", True),
    ("AUPRO 0.3", "aupro_30", ".3f", True),
    ("AUPRO 0.05", "aupro_05", ".3f", True),
    ("false rejects at 95 % recall", "fpr_at_95", ".1%", False),
    ("false rejects at 99 % recall", "fpr_at_99", ".1%", False),
    ("found at the threshold", "recall", ".1%", True),
    ("good parts rejected", "false_reject_rate", ".1%", False),
    ("ms per picture", "score_ms_p50", ".1f", False),
)
_GROUPS = {NETWORK: "trained networks, INT8", "network-free": "without a network", TRIVIAL: "one number per picture"}


def comparison_page(data: str, variant: str, contenders: Sequence[Contender], advice: Recommendation) -> str:
    """The whole page; all pictures are inside it."""
    shown = _shown(contenders)
    networks = [contender for contender in contenders if contender.group == NETWORK]
    drawn = [*networks, *_best_others(contenders)]
    mapped = [contender for contender in drawn if contender.predictions.maps[0] is not None]
    rows = _rows(mapped)
    best = {}
    for _, key, _, more in _COLUMNS:
        values = [value for contender in shown if (value := contender.mean(key)) is not None]
        best[key] = (max if more else min)(values, default=None)
    # the fastest is always a single number: no achievement
    del best["score_ms_p50"]
    return render(
        "compare.html",
        data=data,
        variant=variant,
        advice=advice,
        predictions=networks[0].predictions,
        seeds=len(networks[0].figures),
        processor=read_processor(),
        when=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        columns=_COLUMNS,
        groups={title: [each for each in shown if each.group == group] for group, title in _GROUPS.items()},
        best=best,
        side=EVALUATION_SIDE,
        roc=roc_chart(drawn),
        latency=latency_chart(drawn),
        mapped=mapped,
        rows=rows,
        has_truth=any(part.defective and truth is not None for part, _, truth, _ in rows),
    )


def comparison_text(contenders: Sequence[Contender], advice: Recommendation) -> str:
    """The main columns and the recommendation, for a terminal."""
    columns = [column for column in _COLUMNS if column[1] in ("image_auroc", "aupro_30", "fpr_at_95", "score_ms_p50")]
    contenders = _shown(contenders)
    width = max(len(contender.name) for contender in contenders)
    lines = [" " * width + "".join(f"{heading:>30}" for heading, *_ in columns)]
    for contender in contenders:
        cells = [number(contender.mean(key), form) for _, key, form, _ in columns]
        lines.append(contender.name.ljust(width) + "".join(f"{cell:>30}" for cell in cells))
    return "\n".join([*lines, "", advice.text])


def shown_pictures(pictures: Sequence[LabelledPicture]) -> list[int]:
    """Indexes of up to six: the middle picture of every kind, good parts first, then more from the largest kinds."""
    kinds: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        kinds.setdefault(picture.kind, []).append(index)
    order = sorted(kinds, key=lambda kind: (kind != "good", kind))
    chosen = [kinds[kind][len(kinds[kind]) // 2] for kind in order][:_SHOWN_PICTURES]
    defective = sorted((kind for kind in order if kind != "good"), key=lambda kind: -len(kinds[kind]))
    for share in (1 / 6, 5 / 6, 1 / 3, 2 / 3):
        for kind in defective:
            index = kinds[kind][int(len(kinds[kind]) * share)]
            if len(chosen) < _SHOWN_PICTURES and index not in chosen:
                chosen.append(index)
    return sorted(chosen, key=lambda index: (pictures[index].defective, pictures[index].kind, index))


def _shown(contenders: Sequence[Contender]) -> list[Contender]:
    """Of the directions of one number only the best: the others are the same number upside down."""
    best: dict[str, Contender] = {}
    for contender in contenders:
        key = contender.name.split(" ", 1)[1] if contender.group == TRIVIAL else contender.name
        if key not in best or contender.auroc > best[key].auroc:
            best[key] = contender
    return list(best.values())


def _best_others(contenders: Sequence[Contender]) -> list[Contender]:
    """Detectors without a network, and of the trivial ones only the best: more lines would hide each other."""
    others = [contender for contender in contenders if contender.group == "network-free"]
    trivial = [contender for contender in contenders if contender.group == TRIVIAL]
    return [*others, *sorted(trivial, key=lambda contender: -contender.auroc)[:1]]


def _rows(contenders: Sequence[Contender]) -> list[tuple[Any, ...]]:
    """Of each shown picture: what it is, itself, where the defect is, and (detector, map, score) of every detector."""
    first, rows = contenders[0].predictions, []
    for index in shown_pictures(first.pictures):
        part = first.pictures[index]
        image = read_image(part.path)
        maps = [(each, map_picture(each, index, image), each.predictions.scores[index]) for each in contenders]
        rows.append((part, thumbnail(image, image), truth_picture(contenders[0], index, image), maps))
    return rows
