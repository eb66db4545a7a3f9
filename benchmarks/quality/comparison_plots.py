"""Pictures of a comparison, as PNG bytes: ROC curves, latency against accuracy, maps side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.quality.comparison import NETWORK, Contender
from benchmarks.quality.labelled import LabelledPicture
from edge.capture.images.image_reader import read_image
from edge.core.datatypes import U8
from edge.metrics import roc_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# told apart without colour as well: networks are solid and filled, the others dashed and open
PALETTE = ("#0b6e8e", "#c2571a", "#5b4a9c", "#3d7d2f", "#a8326b", "#8a6d00", "#444444", "#777777")
_THUMB_HEIGHT_PX = 150


def colours(contenders: Sequence[Contender]) -> dict[str, str]:
    """One colour per detector; what stands lower in the table may share a grey."""
    return {c.name: PALETTE[min(index, len(PALETTE) - 1)] for index, c in enumerate(contenders)}


def roc_png(contenders: Sequence[Contender]) -> bytes:
    """ROC curves of the first seed."""
    figure, axes = _axes()
    for contender in contenders:
        curve = roc_curve(contender.observed.labels, contender.observed.scores)
        network = contender.group == NETWORK
        axes.plot(
            curve.fpr,
            curve.recall,
            color=colours(contenders)[contender.name],
            linestyle="-" if network else "--",
            linewidth=2.2 if network else 1.4,
            label=f"{contender.name} ({contender.figures[0]['image_auroc']:.3f})",
        )
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    axes.set(xlabel="good parts rejected", ylabel="defects found", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return _png(figure)


def latency_png(contenders: Sequence[Contender]) -> bytes:
    """Median milliseconds per picture against image AUROC, means over seeds."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    figure, axes = _axes()
    for contender in contenders:
        x, y = contender.mean("score_ms_p50"), contender.auroc
        colour = colours(contenders)[contender.name]
        network = contender.group == NETWORK
        axes.scatter(
            [x], [y], s=70, facecolor=colour if network else "white", edgecolor=colour, linewidth=1.8, zorder=3
        )
        spread = contender.deviation("image_auroc")
        if spread:
            axes.errorbar([x], [y], yerr=[spread], color=colour, capsize=3, linewidth=1.2)
        axes.annotate(contender.name, (x, y), textcoords="offset points", xytext=(8, 4), fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.35, y=0.12)
    axes.set(xlabel="milliseconds per picture (median, logarithmic)", ylabel="image AUROC")
    return _png(figure)


def _axes() -> tuple[Figure, Any]:
    # drawn by the canvas alone: no window system, and no state shared with anybody else's figures
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


# --- pictures and maps


def picture_png(picture: LabelledPicture) -> bytes:
    """The test picture, small."""
    return _encoded(_thumb(read_image(picture.path)))


def truth_png(contender: Contender, index: int) -> bytes | None:
    """Where the defect is; None without a mask."""
    truth = contender.observed.truths[index]
    if truth is None:
        return None
    mask = np.repeat((truth.mask * np.uint8(255))[..., None], 3, axis=2)
    return _encoded(_thumb(mask, like=contender.observed.pictures[index]))


def map_png(contender: Contender, index: int) -> bytes | None:
    """The anomaly map on one scale for all pictures of this detector: dark is ordinary; None without a map."""
    maps = [values for values in contender.observed.maps if values is not None]
    values = contender.observed.maps[index]
    if values is None:
        return None
    sample = np.stack([each[::4, ::4] for each in maps])
    low, high = np.quantile(sample, [0.5, 0.999])
    scaled = np.clip((values - low) / max(float(high - low), 1e-9), 0, 1)
    heat = np.asarray(cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_INFERNO), np.uint8)
    return _encoded(_thumb(heat, like=contender.observed.pictures[index]))


def _thumb(image: U8, like: LabelledPicture | None = None) -> U8:
    """At one height; as wide as the picture it belongs to, within reason."""
    height, width = (image if like is None else read_image(like.path)).shape[:2]
    shown = int(np.clip(_THUMB_HEIGHT_PX * width / height, 50, 260))
    return np.asarray(cv2.resize(image, (shown, _THUMB_HEIGHT_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _encoded(image: U8) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])
