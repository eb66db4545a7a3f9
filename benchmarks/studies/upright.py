"""How exactly parts that lie anyhow are stood upright, and what that takes.

Drawn parts of five kinds, on six grounds, at every turn and with noise, good and defective: the turn's error against
the drawn one, and how far the canvas's middle moves upon the part. Parts of each kind and ground teach the reference.
The time is that of finding parts and taking their canvases, on one thread, beside one cv2.warpAffine of the frame.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.program import SEED, Values, option, program
from benchmarks.studies.drawn_parts import DEFECTS, KINDS, SCENES, Lying, Scene, frame_of, part_drawn, picture_of
from edge.core.config import AlignSettings
from edge.core.datatypes import U8
from edge.core.errors import PartNotFound
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.upright import UprightAligner
from edge.preprocessing.upright_reference import outlines_of, upright_spec

CANVAS = (192, 640)
HEIGHT, WIDTH, LENGTH_PX = 480, 640, 300.0
NOISES = (2.0, 8.0)
TAUGHT = 20
# of the timed pictures: frame size, length of a part and parts in the frame
TIMED = {
    "640x480": (480, 640, 300.0, 1),
    "1920x1080": (1080, 1920, 900.0, 1),
    "1920x1080, 4 parts": (1080, 1920, 400.0, 4),
}
_REPEATS = 30

F64 = NDArray[np.float64]


def taught(kind: str, scene: Scene, seed: int) -> UprightAligner:
    pictures = [picture_of(kind, seed + number, scene)[0] for number in range(TAUGHT)]
    outlines = outlines_of(pictures, [FieldOfView(0, 0, WIDTH, HEIGHT)] * TAUGHT)
    assert not isinstance(outlines, str), f"{kind}: the parts {outlines}"
    return UprightAligner(upright_spec(outlines, CANVAS, AlignSettings(mode="upright")))


def errors(kind: str, scene: Scene, noise: float, step_deg: int, seed: int) -> dict[str, Any]:
    """Of good parts at every turn, and of defective ones: the errors, and how many were not found."""
    aligner, view = taught(kind, scene, 1000 + seed), FieldOfView(0, 0, WIDTH, HEIGHT)
    noisy = replace(scene, noise=noise)
    turns, places, lost = [], [], 0
    for number, turn in enumerate(range(0, 360, step_deg)):
        # the same part good and defective: what a defect moves shows
        for defect in (None, DEFECTS[kind][number % len(DEFECTS[kind])]):
            random = np.random.default_rng((seed, turn))
            x, y = WIDTH / 2 + float(random.uniform(-80, 80)), HEIGHT / 2 + float(random.uniform(-30, 30))
            lying = Lying(x, y, turn + float(random.uniform(0, step_deg)), LENGTH_PX)
            picture = frame_of([(part_drawn(kind, random, defect), lying)], noisy, random, HEIGHT, WIDTH)
            try:
                ((_, pose),) = aligner.placed(picture, view)
            except PartNotFound:
                lost += 1
                continue
            matrix = np.array(pose.matrix).reshape(2, 3)
            middle = matrix @ ((WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1) - (lying.x, lying.y)
            radians = np.radians(lying.turn_deg)
            upon = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]]) @ middle
            turns.append((pose.angle_deg - lying.turn_deg, defect is None))
            places.append(upon)
    good = np.array([is_good for _, is_good in turns])
    # a kind whose ends are alike may stand either way, but always the same
    usual = np.angle(np.exp(1j * np.radians([turn for turn, _ in turns])).sum())
    turned = np.degrees(np.angle(np.exp(1j * (np.radians([turn for turn, _ in turns]) - usual))))
    moved = np.linalg.norm(np.array(places) - np.median(places, axis=0), axis=1)
    return {
        "turned_round": int((np.abs(turned) > 90).sum()),
        "not_found": lost,
        "good": _summary(np.abs(turned[good]), moved[good]),
        "defective": _summary(np.abs(turned[~good]), moved[~good]),
    }


def _summary(turned_deg: F64, moved_px: F64) -> dict[str, float]:
    values = {"turn_deg": turned_deg, "place_px": moved_px}
    return {
        f"{name}_{quantile}": round(float(np.quantile(value, share)), 2)
        for name, value in values.items()
        for quantile, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    }


def times(seed: int) -> dict[str, dict[str, float]]:
    """Milliseconds of finding and taking all parts of a frame, and of one warpAffine of the frame."""
    cv2.setNumThreads(1)
    found = {}
    for name, (height, width, length, count) in TIMED.items():
        random = np.random.default_rng(seed)
        view = FieldOfView(0, 0, width, height)

        def shown(random: np.random.Generator, height: int = height, width: int = width, length: float = length,
                  count: int = count) -> U8:  # fmt: skip
            parts = [
                Lying(width * (0.5 + place) / count, height / 2, float(random.uniform(0, 360)), length)
                for place in range(count)
            ]
            return frame_of([(part_drawn("screw", random), each) for each in parts], Scene(), random, height, width)

        pictures = [shown(random) for _ in range(8)]
        outlines = outlines_of(pictures, [view] * len(pictures))
        assert not isinstance(outlines, str), outlines
        aligner = UprightAligner(upright_spec(outlines, CANVAS, AlignSettings(mode="upright")))
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 30.0, 1.0)
        upright = _median_ms(lambda picture, aligner=aligner, view=view: aligner.placed(picture, view), pictures)  # type: ignore[misc]
        warp = _median_ms(lambda picture, turn=turn: cv2.warpAffine(picture, turn, picture.shape[1::-1]), pictures)  # type: ignore[misc]
        found[name] = {"upright_ms": upright, "warp_ms": warp, "ratio": round(upright / warp, 1)}
    return found


def _median_ms(work: Callable[[U8], object], pictures: list[U8]) -> float:
    work(pictures[0])
    taken = []
    for number in range(_REPEATS):
        started = time.perf_counter_ns()
        work(pictures[number % len(pictures)])
        taken.append((time.perf_counter_ns() - started) / 1e6)
    return round(float(np.median(taken)), 2)


def measure(step_deg: int, seed: int) -> dict[str, Any]:
    poses = {
        kind: {
            name: {f"noise {noise:g}": errors(kind, scene, noise, step_deg, seed) for noise in NOISES}
            for name, scene in SCENES.items()
        }
        for kind in KINDS
    }
    return {"canvas": CANVAS, "length_px": LENGTH_PX, "step_deg": step_deg, "poses": poses, "times": times(seed)}


def text(values: dict[str, Any]) -> str:
    """A line for each kind and ground, at the highest noise; then the times."""
    lines = [f"{'kind':<9}{'ground':<26}{'turn p95, max':>15}{'place p95, max':>17}{'round':>7}{'lost':>6}"]
    for kind, grounds in values["poses"].items():
        for ground, by_noise in grounds.items():
            row = by_noise[f"noise {NOISES[-1]:g}"]
            for which in ("good", "defective"):
                part = row[which]
                turn = f"{part['turn_deg_p95']:.2f}, {part['turn_deg_max']:.2f}"
                place = f"{part['place_px_p95']:.1f}, {part['place_px_max']:.1f}"
                ends = f"{row['turned_round']:>7}{row['not_found']:>6}" if which == "good" else " " * 13
                lines.append(f"{kind:<9}{ground:<26}{turn:>15}{place:>17}{ends}  {which}")
    for name, row in values["times"].items():
        lines.append(f"{name}: {row['upright_ms']} ms, {row['ratio']} times one cv2.warpAffine of {row['warp_ms']} ms")
    return "\n".join(lines)


@program(option("--step", type=int, default=10, help="degrees from turn to turn (default: 10)"), SEED, show=text)
def main(options: argparse.Namespace) -> Values:
    """Measure poses and times."""
    return measure(options.step, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
