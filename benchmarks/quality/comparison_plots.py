"""What a comparison shows: ROC curves, latency against accuracy, maps side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.quality.comparison import NETWORK, Contender
from edge.core.datatypes import U8
from edge.metrics import roc_curve
from edge.pages.chart import BLUE, GREEN, GREY, OCHRE, ORANGE, PINK, VIOLET, Chart
from edge.pages.pictures import heat

# told apart without colour as well: networks are solid and filled, the others dashed and open
_PALETTE = (BLUE, ORANGE, VIOLET, GREEN, PINK, OCHRE, GREY)
_WIDTH_PX, _HEIGHT_PX = 540, 400
_THUMB_HEIGHT_PX = 150


def colours(contenders: Sequence[Contender]) -> dict[str, str]:
    """One colour per detector; what stands lower in the table may share a grey."""
    return {c.name: _PALETTE[min(index, len(_PALETTE) - 1)] for index, c in enumerate(contenders)}


def roc_chart(contenders: Sequence[Contender]) -> Chart:
    """ROC curves of the first seed."""
    colour = colours(contenders)
    key = [(colour[c.name], f"{c.name} ({c.figures[0]['image_auroc']:.3f})") for c in contenders]
    axes = "good parts rejected", "defects found"
    chart = Chart((0, 1), (0, 1), *axes, key=key, width=_WIDTH_PX, height=_HEIGHT_PX)
    chart.line([0, 1], [0, 1], GREY, 0.5)
    for contender in contenders:
        curve = roc_curve(contender.predictions.labels, contender.predictions.scores)
        network = contender.group == NETWORK
        style = (2.2, "") if network else (1.4, "5 3")
        chart.line(curve.fpr.tolist(), curve.recall.tolist(), colour[contender.name], *style)
    return chart


def latency_chart(contenders: Sequence[Contender]) -> Chart:
    """Median milliseconds per picture against image AUROC, means over seeds, with the deviation over seeds."""
    colour = colours(contenders)
    places = {c.name: (c.mean("score_ms_p50") or 0.0, c.auroc, c.deviation("image_auroc") or 0.0) for c in contenders}
    times = [ms for ms, _, _ in places.values()]
    aurocs = [auroc + sign * spread for _, auroc, spread in places.values() for sign in (-1, 1)]
    space = max(0.12 * (max(aurocs) - min(aurocs)), 0.005)
    axes = "milliseconds per picture (median, logarithmic)", "image AUROC"
    ends = (min(times) / 1.5, max(times) * 1.5), (min(aurocs) - space, max(aurocs) + space)
    chart = Chart(*ends, *axes, log_x=True, width=_WIDTH_PX, height=_HEIGHT_PX)
    for contender in contenders:
        ms, auroc, spread = places[contender.name]
        words = f"{contender.name}: {ms:.1f} ms, {auroc:.3f}"
        chart.line([ms, ms], [auroc - spread, auroc + spread], colour[contender.name], 1.2)
        chart.dot(ms, auroc, colour[contender.name], words, hollow=contender.group != NETWORK, radius=5)
        chart.label(ms, auroc, contender.name, colour[contender.name])
    return chart


def truth_picture(contender: Contender, index: int, picture: U8) -> U8 | None:
    """Where the defect of this test picture is; None without a mask."""
    truth = contender.predictions.truths[index]
    if truth is None:
        return None
    return thumbnail(np.repeat((truth.mask * np.uint8(255))[..., None], 3, axis=2), picture)


def map_picture(contender: Contender, index: int, picture: U8) -> U8:
    """The anomaly map on one scale for all pictures of this detector: dark is ordinary."""
    maps = [values for values in contender.predictions.maps if values is not None]
    low, high = np.quantile(np.stack([each[::4, ::4] for each in maps]), [0.5, 0.999])
    return thumbnail(heat((contender.predictions.maps[index] - low) / max(float(high - low), 1e-9)), picture)


def thumbnail(image: U8, picture: U8) -> U8:
    """At one height; as wide as the picture it belongs to, within reason."""
    height, width = picture.shape[:2]
    shown = int(np.clip(_THUMB_HEIGHT_PX * width / height, 50, 260))
    return np.asarray(cv2.resize(image, (shown, _THUMB_HEIGHT_PX), interpolation=cv2.INTER_AREA), np.uint8)
