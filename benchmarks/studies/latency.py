"""How fast frames become verdicts: `python -m benchmarks.studies.latency [--bundle B] [--out FILE.json]`.

What `edge-inspect benchmark` measures, for every backend, precision and frame size; and what it does not: the program
as a user starts it, over folders, to its first verdict, and over a long run. Rows are measured --repeats times; of
those, the one with the fastest bare engine is reported (the quietest, whatever the inspection did), and all are listed.
Of several folder runs the median is reported.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.results_file import write_result
from benchmarks.studies.program_run import first_verdict_s, run_folder
from benchmarks.timing.measure.bare_engine import open_bare_engines
from benchmarks.timing.measure.run import Plan
from benchmarks.timing.measure.run import measure as measure_frames
from benchmarks.timing.report.figures import percentiles
from benchmarks.timing.report.report import latency_report
from edge.backends import CPU_BACKENDS, installed, open_backend
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.capture.images.image_reader import read_image
from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import EdgeInspectError, MissingDependency
from edge.inspection.inspector import Inspector
from edge.preprocessing.preprocess import Preprocess
from edge.samples import sample_bundle, sample_line

PRECISIONS = ("int8", "fp32")
CAMERA_SIZE = (480, 640)
WARM_UP_FRAMES = 20
_ROW_KEYS = (
    "engine_ms", "end_to_end_ms", "verdict_ms", "loop_ms", "stages_ms", "overhead_ratio_p50", "overhead_ratio_paired",
    "verdict_ratio_p50", "loop_over_engine_p50", "frames_per_s",
)  # fmt: skip
_COMPARED = ("overhead_ratio_p50", "overhead_ratio_paired", "verdict_ratio_p50", "p99_over_p50", "load_average")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table on standard output, write --out; progress goes to standard error."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    try:
        values = measure(options, _say)
    except EdgeInspectError as error:
        print(f"benchmarks.studies.latency: {error}", file=sys.stderr)
        return error.exit_code
    print(table(values))
    if options.out is not None:
        write_result(options.out, " ".join(["python -m benchmarks.studies.latency", *given]), values)
        _say(f"written: {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.latency", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="calibrated bundle (default: the shipped sample bundle)")
    parser.add_argument("--backend", choices=CPU_BACKENDS, help="default: every one that is installed")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: both")
    parser.add_argument("--frames", type=int, default=1000, help="pairs of calls per row (default: 1000)")
    parser.add_argument("--repeats", type=int, default=1, help="times each row and folder is measured (default: 1)")
    parser.add_argument("--folder-frames", type=int, default=1000, help="pictures per folder run (default: 1000)")
    parser.add_argument("--memory-frames", type=int, default=50_000, help="pictures of the long run (default: 50000)")
    parser.add_argument("--starts", type=int, default=5, help="process starts for the first verdict (default: 5)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    return parser


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures as a JSON-able dict; a count of zero leaves its part out."""
    bundle = load_bundle((options.bundle or sample_bundle()).resolve())
    backends = [options.backend] if options.backend else [name for name in CPU_BACKENDS if installed(name)]
    if not backends:
        raise MissingDependency("no CPU backend is installed", fix="pip install 'edge-inspect[cpu]'")
    precisions = [options.precision] if options.precision else list(PRECISIONS)
    size = bundle.preprocess.size
    manifest = bundle.manifest
    values: dict[str, Any] = {
        "bundle": {
            "sha256": bundle.sha256,
            "method": manifest.method,
            "variant": manifest.variant,
            "size": size,
            "score": manifest.score.model_dump(mode="json"),
        },
        "frames": options.frames,
        "inspection": [],
        "resize": resize_times(size, max(1, options.frames)),
    }
    for backend in backends:
        for precision in precisions:
            for height, width in dict.fromkeys(((size, size), CAMERA_SIZE)):
                say(f"{backend} {precision}, frames of {width}x{height} px")
                frames = frames_of_size(height, width)
                rows = [
                    {**inspection_times(bundle, backend, precision, frames, options.frames), **_load()}
                    for _ in range(options.repeats)
                ]
                quietest = min(rows, key=lambda row: row["engine_ms"]["p50"])
                values["inspection"].append({"frame_px": [height, width], **quietest, "repeats": _listed(rows)})
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.folder_frames:
            values["folder"] = [
                median_run(
                    [
                        folder_run(bundle, backends[0], precisions[0], work, suffix, options.folder_frames, say)
                        for _ in range(options.repeats)
                    ]
                )
                for suffix in (".png", ".jpg")
            ]
        if options.starts:
            say(f"first verdict, {options.starts} starts")
            pictures = picture_folder(work / "starts", ".png", 1)
            seconds = [
                first_verdict_s(bundle.path, pictures, backends[0], precisions[0], work) for _ in range(options.starts)
            ]
            values["first_verdict"] = {
                "backend": backends[0], "precision": precisions[0], "seconds": [round(s, 3) for s in seconds],
                "median_s": round(float(np.median(seconds)), 3), "max_s": round(max(seconds), 3),
            }  # fmt: skip
        if options.memory_frames:
            values["memory"] = folder_run(bundle, backends[0], precisions[0], work, ".jpg", options.memory_frames, say)
    return values


def frames_of_size(height: int, width: int) -> list[U8]:
    """The sample line's pictures in its order, at one frame size; a quarter of them show defects."""
    pictures = [read_image(path) for path in sample_line()]
    return [np.asarray(cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA), np.uint8) for p in pictures]


def inspection_times(
    bundle: ModelBundle, backend: str, precision: str, images: Sequence[U8], count: int
) -> dict[str, Any]:
    """Figures of `count` inspections back to back without records, and of as many bare engine calls in between."""
    calibration = bundle.calibration(precision)
    thresholds = calibration.threshold, calibration.pixel_threshold
    inspector = Inspector(open_backend(bundle, backend, precision), bundle.preprocess, *thresholds, bundle.sha256)
    (engine,) = open_bare_engines(bundle, backend, precision, None, 1)
    try:
        plan = Plan(Settings(), images, frames=count, warm_up=min(WARM_UP_FRAMES, count))
        report = latency_report(measure_frames(plan, [inspector], [engine]))
    finally:
        inspector.backend.close()
        engine.close()
    whole = report["end_to_end_ms"]
    return {
        "backend": backend,
        "precision": precision,
        **{key: report[key] for key in _ROW_KEYS},
        "p99_over_p50": round(whole["p99"] / whole["p50"], 3),
    }


def resize_times(size: int, count: int) -> dict[str, Any]:
    """Camera frame → field: cv2.INTER_AREA against ours, alternating."""
    frame = frames_of_size(*CAMERA_SIZE)[0]
    ours = Preprocess(size)

    def by_area() -> None:
        cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)

    def by_field() -> None:
        ours.field(frame)

    methods: dict[str, Callable[[], None]] = {"cv2_inter_area_ms": by_area, "box_then_linear_ms": by_field}
    spent: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(count):
        for name, method in methods.items():
            started = time.perf_counter_ns()
            method()
            spent[name].append((time.perf_counter_ns() - started) / 1e6)
    return {"frame_px": list(CAMERA_SIZE), **{name: percentiles(values) for name, values in spent.items()}}


def folder_run(
    bundle: ModelBundle, backend: str, precision: str, work: Path, suffix: str, count: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """The whole program over `count` pictures on disk, records on: rate and memory."""
    say(f"folder of {count} {suffix} pictures, records on")
    folder = picture_folder(work / "pictures", suffix, count)
    records = work / "records"
    run = run_folder(bundle.path, folder, backend, precision, records, work)
    shutil.rmtree(folder)
    shutil.rmtree(records, ignore_errors=True)
    return {"pictures": suffix.removeprefix("."), "frame_px": list(CAMERA_SIZE), "backend": backend,
            "precision": precision, **run.as_dict(), **_load()}  # fmt: skip


def median_run(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median rate, the lower one of two, with the rates of all."""
    ordered = sorted(runs, key=lambda run: float(run["frames_per_s"]))
    rates = [[run["frames_per_s"], run["load_average"]] for run in runs]
    return {**ordered[(len(ordered) - 1) // 2], "repeats_frames_per_s_and_load": rates}


def _listed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "engine_p50_ms": row["engine_ms"]["p50"],
            "end_to_end_p50_ms": row["end_to_end_ms"]["p50"],
            "end_to_end_p99_ms": row["end_to_end_ms"]["p99"],
            **{key: row[key] for key in _COMPARED},
        }
        for row in rows
    ]


def _load() -> dict[str, Any]:
    """How much else the machine did in the last minute."""
    return {"load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None}


def picture_folder(folder: Path, suffix: str, count: int) -> Path:
    """A folder of `count` names over the sample line's pictures at camera size; each picture is stored once."""
    folder.mkdir(parents=True)
    originals = folder.parent / f"originals{suffix}"
    originals.mkdir(exist_ok=True)
    stored = []
    for index, picture in enumerate(frames_of_size(*CAMERA_SIZE)):
        stored.append(originals / f"{index}{suffix}")
        cv2.imwrite(str(stored[-1]), picture)
    for index in range(count):
        (folder / f"{index:06d}{suffix}").hardlink_to(stored[index % len(stored)])
    return folder


def table(values: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [
        f"{'backend':<12}{'network':<8}{'frame':>9}{'engine p50':>12}{'whole p50':>12}{'p90':>8}{'p95':>8}{'p99':>8}"
        f"{'max':>8}{'ratio':>8}{'paired':>8}{'verdict':>9}{'p99/p50':>9}   ms"
    ]
    for row in values["inspection"]:
        height, width = row["frame_px"]
        whole = row["end_to_end_ms"]
        lines.append(
            f"{row['backend']:<12}{row['precision']:<8}{f'{width}x{height}':>9}{row['engine_ms']['p50']:>12.2f}"
            f"{whole['p50']:>12.2f}{whole['p90']:>8.2f}{whole['p95']:>8.2f}{whole['p99']:>8.2f}{whole['max']:>8.2f}"
            f"{row['overhead_ratio_p50']:>8.3f}{row['overhead_ratio_paired']:>8.3f}"
            f"{row['verdict_ratio_p50']:>9.3f}{row['p99_over_p50']:>9.2f}"
        )
        stages = ", ".join(f"{name} {times['p50']:.3f}" for name, times in row["stages_ms"].items())
        lines.append(f"{'':<20}stages p50: {stages}")
    resize = values["resize"]
    lines.append(
        f"resize 640x480: INTER_AREA {resize['cv2_inter_area_ms']['p50']:.3f} ms, "
        f"box then linear {resize['box_then_linear_ms']['p50']:.3f} ms (p50)"
    )
    for run in [*values.get("folder", []), *([values["memory"]] if "memory" in values else [])]:
        lines.append(
            f"folder of {run['verdicts']} {run['pictures']}: {run['frames_per_s']:.0f} frames/s, records on; memory "
            + (
                f"{run['rss_max_mb']:.0f} MB at most, {run['rss_slope_kb_per_1000_frames']:+.1f} KB per 1000 frames"
                if run["rss_max_mb"] is not None
                else "not known on this system"
            )
        )
    if "first_verdict" in values:
        first = values["first_verdict"]
        lines.append(f"first verdict after {first['median_s']:.2f} s (median), {first['max_s']:.2f} s at most")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
