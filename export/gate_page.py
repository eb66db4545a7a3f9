"""The gate's report as one HTML file: figures, a plot of both judges' scores, and the parts that changed most.

Pictures are inside the file; there is no script, and nothing is fetched.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np

from edge.core.datatypes import F32, U8
from edge.core.files.storable import storable
from edge.core.local_time import local_from_text
from export.gate import GateReport
from export.paired_scores import Replayed

_SHOWN = 12
_PLOT_PX = 360
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #1d2126; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .8rem; border: 1px solid #d5d9de }
th { text-align: left; background: #f4f5f7 } .passed { color: #1a7f37 } .refused { color: #b42318 }
figure { display: inline-block; margin: .5rem } figcaption { font-size: 13px; color: #555 } img { height: 128px }
"""


def gate_page(report: GateReport, replayed: Sequence[Replayed]) -> bytes:
    """The page of one comparison; replayed: what the report was made from."""
    state = "passed" if report.passed else "refused"
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in report.exceeded)
    page = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>Gate: {html.escape(report.target)} {state}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(report.target)}, {html.escape(report.rung)}: <span class='{state}'>{state}</span></h1>",
        f"<ul class='refused'>{reasons}</ul>",
        _table(report),
        "<h2>Scores above or below the threshold</h2>",
        "<p>Each dot is a part; 0 is the threshold, above it the part is NG. Off the diagonal the two disagree; in the "
        "marked quarters they give different verdicts.</p>",
        _plot(replayed),
        "<h2>Parts that changed most</h2>",
        *(_figure(part, report.margin) for part in _changed_most(replayed)),
        "</html>",
    ]
    return storable("\n".join(page)).encode()


def _table(report: GateReport) -> str:
    def pair(values: tuple[float, float] | None) -> str:
        return "not known" if values is None else f"{values[0]:.4f} → {values[1]:.4f}"

    reference, candidate = (
        f"{judge['backend']}, engine {judge['engine_sha256'][:12]}, threshold {judge['threshold']:.4f}"
        for judge in (report.reference, report.candidate)
    )
    limits = ", ".join(f"{name} {value}" for name, value in report.limits.items())
    rows = [
        ("when", local_from_text(report.created_utc)),
        ("reference", f"FP32 on {reference}"),
        ("candidate", candidate),
        ("good parts", f"{report.normals}: {report.new_rejects} newly rejected ({report.flips_allowed} allowed), "
         f"{report.fewer_rejects} no longer"),
        ("defective parts", f"{report.defective} {report.defects}: {report.missed} newly missed, "
         f"{report.found} newly found"),
        ("image AUROC", pair(report.auroc)),
        ("AUPRO at 0.3", pair(report.aupro)),
        ("score shift", f"{report.score_shift_mean:.1%} of the margin on average, "
         f"{report.score_shift_max:.1%} at most; the margin is {report.margin:.4f}"),
        ("maps", f"correlation {report.map_correlation:.4f}, largest difference {report.map_difference_max:.4f}"),
        ("limits", limits),
    ]  # fmt: skip
    cells = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{cells}</table>"


def _plot(replayed: Sequence[Replayed]) -> str:
    """Reference across, candidate up, in score minus threshold."""
    values = np.array([(part.reference_excess, part.candidate_excess) for part in replayed])
    low, high = min(float(values.min()), -0.01), max(float(values.max()), 0.01)
    space = 0.05 * (high - low)
    low, high = low - space, high + space

    def at(value: float) -> float:
        return (value - low) / (high - low) * _PLOT_PX

    zero, end = at(0.0), _PLOT_PX
    dots = "".join(
        f"<circle cx='{at(part.reference_excess):.1f}' cy='{end - at(part.candidate_excess):.1f}' r='4' "
        f"fill='{'#d1242f' if part.defective else '#2da44e'}' fill-opacity='.6'>"
        f"<title>{html.escape(part.name)}</title></circle>"
        for part in replayed
    )
    return (
        f"<svg width='{end}' height='{end}' viewBox='0 0 {end} {end}' role='img' "
        f"aria-label='scores of both judges'><rect width='{end}' height='{end}' fill='#f8f9fa'/>"
        f"<rect x='0' y='0' width='{zero:.1f}' height='{end - zero:.1f}' fill='#fdecea'/>"
        f"<rect x='{zero:.1f}' y='{end - zero:.1f}' width='{end - zero:.1f}' height='{zero:.1f}' fill='#fdecea'/>"
        f"<path d='M0 {end}L{end} 0' stroke='#adb5bd'/>{dots}</svg>"
        "<p>Reference across, candidate up; green: good parts, red: defective ones.</p>"
    )


def _changed_most(replayed: Sequence[Replayed]) -> list[Replayed]:
    """Other verdicts first, then by how far the score moved."""
    moved = sorted(replayed, key=lambda part: -abs(part.candidate_excess - part.reference_excess))
    return sorted(moved, key=lambda part: not part.flipped)[:_SHOWN]


def _figure(part: Replayed, margin: float) -> str:
    high = max(float(part.reference.values.max()), float(part.candidate.values.max()), 1e-6)
    pictures = [part.thumbnail, _heat(part.reference.values / high), _heat(part.candidate.values / high)]
    images = "".join(
        f"<img src='data:image/png;base64,{_png(picture)}' alt='{alt}'> "
        for picture, alt in zip(pictures, ("the part", "map of the reference", "map of the candidate"), strict=True)
    )
    verdicts = " → ".join("NG" if excess > 0 else "OK" for excess in (part.reference_excess, part.candidate_excess))
    shift = (part.candidate_excess - part.reference_excess) / margin
    kind = "defective" if part.defective else "good"
    caption = f"{html.escape(part.name)} ({kind}): {verdicts}, moved by {shift:+.1%} of the margin"
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def _heat(plane: F32) -> U8:
    levels = np.clip(plane * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), np.uint8)


def _png(picture: U8) -> str:
    _, data = cv2.imencode(".png", picture)
    return base64.b64encode(data.tobytes()).decode()
