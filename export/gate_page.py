"""The gate's report as one HTML file: figures, a plot of both judges' scores, and the parts that changed most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.pages.chart import GREEN, GREY, RED, Chart
from edge.pages.kit import render
from edge.pages.pictures import heat
from export.gate import GateReport
from export.paired_scores import ScorePair

_SHOWN = 12
_PLOT_PX = 420


def gate_page(report: GateReport, pairs: Sequence[ScorePair]) -> bytes:
    """The page of one comparison; pairs: what the report was made from."""
    # other verdicts first, then by how far the score moved
    moved = sorted(pairs, key=lambda part: (not part.flipped, -abs(part.candidate_excess - part.reference_excess)))
    parts = [_shown(part, report.margin) for part in moved[:_SHOWN]]
    return render("gate.html", report=report, plot=_plot(pairs), parts=parts).encode()


def _plot(pairs: Sequence[ScorePair]) -> Chart:
    """Reference across, candidate up, in score minus threshold."""
    values = [value for part in pairs for value in (part.reference_excess, part.candidate_excess)]
    low, high = min(*values, -0.01), max(*values, 0.01)
    space = 0.05 * (high - low)
    ends = low - space, high + space
    key = ((GREEN, "good parts"), (RED, "defective parts"))
    chart = Chart(ends, ends, "reference", "candidate", key=key, width=_PLOT_PX, height=_PLOT_PX)
    chart.box((ends[0], 0), (0, ends[1]), RED, 0.12)
    chart.box((0, ends[1]), (ends[0], 0), RED, 0.12)
    chart.line(ends, ends, GREY, 1)
    for part in pairs:
        chart.dot(part.reference_excess, part.candidate_excess, RED if part.defective else GREEN, part.name)
    return chart


def _shown(part: ScorePair, margin: float) -> dict[str, Any]:
    """A part with both maps on one scale."""
    maps = [judged.values for judged in (part.reference, part.candidate)]
    high = max(1e-6, *(float(values.max()) for values in maps))
    verdicts = " → ".join("NG" if excess > 0 else "OK" for excess in (part.reference_excess, part.candidate_excess))
    shift = (part.candidate_excess - part.reference_excess) / margin
    kind = "defective" if part.defective else "good"
    return {
        "thumbnail": part.thumbnail,
        "maps": [heat(values / high) for values in maps],
        "caption": f"{part.name} ({kind}): {verdicts}, moved by {shift:+.1%} of the margin",
    }
