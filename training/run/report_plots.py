"""Loss curves of a training run, as a picture."""

from __future__ import annotations

from pathlib import Path

CURVES = "curves.png"


def draw_curves(curves: dict[str, dict[str, list[list[float]]]], file: Path) -> None:
    """One plot a stage, every loss of it, on a logarithmic axis where all are positive."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, max(1, len(curves)), figsize=(5 * max(1, len(curves)), 4), squeeze=False)
    for axis, (stage, losses) in zip(axes[0], curves.items(), strict=False):
        for name, points in losses.items():
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, label=name, linewidth=2 if name in ("total", "validation") else 0.8)
        if all(value > 0 for points in losses.values() for _, value in points):
            axis.set_yscale("log")
        axis.set_title(stage)
        axis.set_xlabel("step")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
