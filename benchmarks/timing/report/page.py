"""A report as one HTML file: distributions, tail, stages, timeline, machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.timing.report.figures import NAMES
from benchmarks.timing.report.table import latency_lines, run_line
from edge.pages.chart import BLUE, GREY, ORANGE, PALE, RED, Chart
from edge.pages.kit import render

_TIMELINE_COLUMNS = 340
_SHOWN_OUTLIERS = 10
_LINES = (
    ("end_to_end_p99_ms", GREY, "end to end, p99"),
    ("engine_p50_ms", ORANGE, "bare engine, p50"),
    ("end_to_end_p50_ms", BLUE, "end to end, p50"),
)
_CELLS = {
    "end to end p50": "end_to_end_p50_ms",
    "p99": "end_to_end_p99_ms",
    "engine p50": "engine_p50_ms",
    "preprocess p50": "preprocess_p50_ms",
    "ratio p50": "overhead_ratio_p50",
    "frames/s": "frames_per_s",
    "ms per megapixel": "ms_per_megapixel",
}
_SERIES = ((BLUE, "end to end"), (ORANGE, "bare engine"))


def report_page(report: dict[str, Any]) -> str:
    """The page of any report of `edge-inspect benchmark`."""
    shown = {"latency": _latency, "throughput": _throughput, "curves": _curves}[report["mode"]](report)
    return render("benchmark.html", report=report, run=run_line(report), machine=_machine(report), **shown)


def curves_picture(report: dict[str, Any]) -> str:
    """The curves alone, as an SVG file that any page can show."""
    return render("curves.svg", **_curves(report))


def _latency(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "columns": (*NAMES, "max", "mean"),
        "lines": latency_lines(report),
        "distribution": _distribution(report),
        "tail": _tail(report),
        "timeline": _timeline(report),
        "outliers": report["outliers"][:_SHOWN_OUTLIERS],
    }


def _throughput(report: dict[str, Any]) -> dict[str, Any]:
    rounds = report["rounds"]
    numbers = list(range(1, len(rounds["frames_per_s"]) + 1))
    highest = max(*rounds["frames_per_s"], *rounds["engine_per_s"])
    key = ((BLUE, "frames"), (ORANGE, "bare engine calls"))
    chart = Chart((1, len(numbers)), (0, highest * 1.05), "round", "per second", key=key)
    chart.line(numbers, rounds["engine_per_s"], ORANGE)
    chart.line(numbers, rounds["frames_per_s"], BLUE)
    return {"rounds": chart}


def _curves(report: dict[str, Any]) -> dict[str, Any]:
    """Title, chart, head and rows of each curve; a network that cannot be stretched has no third one."""
    curves = []
    for title, name_of_points, x_key, x_title in (
        ("Side of the frame", "frame_sides", "side_px", "frame side, px"),
        ("Streams", "streams", "streams", "streams at once"),
        ("Side of the network's field", "network_sides", "side_px", "side of the network's field, px"),
    ):
        points = report[name_of_points]
        if not points:
            continue
        lines = [line for line in _LINES if line[0] in points[0]]
        cells = {heading: name for heading, name in _CELLS.items() if name in points[0]}
        xs = [point[x_key] for point in points]
        top = max(point[name] for point in points for name, _, _ in lines)
        labels, key = {float(x): str(x) for x in xs}, [line[1:] for line in lines[::-1]]
        chart = Chart((xs[0], xs[-1]), (0, top * 1.05), x_title, "ms", log_x=True, x_labels=labels, key=key)
        for name, colour, _ in lines:
            chart.line(xs, [point[name] for point in points], colour)
        rows = [[str(point[x_key]), *(f"{point[name]:.2f}" for name in cells.values())] for point in points]
        curves.append({"title": title, "chart": chart, "head": [x_title, *cells], "rows": rows})
    return {"curves": curves}


def _distribution(report: dict[str, Any]) -> Chart:
    histograms = report["histograms"]
    bins = [*histograms["end_to_end"], *histograms["engine"]]
    most = max(count for _, _, count in bins)
    lowest, highest = min(low for low, _, _ in bins), max(high for _, high, _ in bins)
    # one frame among thousands must still be seen
    ends = (lowest * 0.95, highest * 1.05)
    chart = Chart(ends, (0.5, most * 1.5), "ms", "frames", log_x=True, log_y=True, key=_SERIES)
    for name, colour in (("engine", ORANGE), ("end_to_end", BLUE)):
        for low, high, count in histograms[name]:
            if count:
                chart.box((low, high), (0.5, count), colour)
    for row, level in enumerate(("p50", "p99", "max")):
        value = report["end_to_end_ms"][level]
        chart.upright(value, f"{level} {value:.2f} ms", BLUE, row)
    if report["deadline"]:
        allowed = report["deadline"]["allowed_ms"]["min"]
        if lowest < allowed < highest:
            chart.upright(allowed, f"deadline {allowed:.4g} ms", RED, 3)
    return chart


def _tail(report: dict[str, Any]) -> Chart:
    series = {BLUE: report["samples"]["end_to_end_ms"], ORANGE: report["samples"]["engine_ms"]}
    count = max(len(values) for values in series.values())
    lowest, highest = min(map(min, series.values())), max(map(max, series.values()))
    labels = {float(10**power): f"1 in {10**power}" for power in range(9) if 10**power <= count}
    ends = (lowest * 0.95, highest * 1.05)
    chart = Chart((1, count), ends, "", "ms", log_x=True, log_y=True, x_labels=labels, key=_SERIES)
    for colour, values in series.items():
        worst = np.sort(values)[::-1]
        ranks = np.unique(np.geomspace(1, len(worst), 200).astype(int))
        chart.line([len(worst) / rank for rank in ranks], [float(worst[rank - 1]) for rank in ranks], colour)
    return chart


def _timeline(report: dict[str, Any]) -> Chart:
    samples = report["samples"]
    at, times = np.array(samples["at_s"]), np.array(samples["end_to_end_ms"])
    slowest = report["outliers"]
    end = max(float(at[-1]), max(outlier["at_s"] for outlier in slowest))
    top = max(outlier["end_to_end_ms"] for outlier in slowest)
    chart = Chart((float(at[0]), end), (float(times.min()) * 0.95, top * 1.1), "s", "ms", log_y=True)
    columns = np.minimum(((at - at[0]) / max(end - at[0], 1e-9) * _TIMELINE_COLUMNS).astype(int), _TIMELINE_COLUMNS - 1)
    centres, medians = [], []
    for column in np.unique(columns):
        inside = times[columns == column]
        centres.append(float(at[columns == column].mean()))
        medians.append(float(np.median(inside)))
        chart.line([centres[-1]] * 2, [float(inside.min()), float(inside.max())], PALE, 1)
    chart.line(centres, medians, BLUE, 1.4)
    for outlier in slowest:
        words = f"{outlier['end_to_end_ms']:.2f} ms at {outlier['at_s']:.1f} s, most of it in {outlier['most_in']}"
        chart.dot(outlier["at_s"], outlier["end_to_end_ms"], RED, words)
    return chart


def _machine(report: dict[str, Any]) -> dict[str, str | None]:
    facts = report["machine"]
    named = {
        "processor": f"{facts['processor']}, {facts['usable_cores'] or facts['cores']} cores"
        + (", virtual machine" if facts["virtual"] else ""),
        "instructions": ", ".join(facts["features"]),
        "board": facts["board"] or facts["jetson"],
        "GPUs": ", ".join(facts["gpus"]),
        "memory": f"{facts['memory_mb']} MB" if facts["memory_mb"] else None,
        "system": facts["system"],
        "power": ", ".join(f"{name} {value}" for name, value in facts["power"].items() if value)
        or "governor and power mode not readable",
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "commit": facts["commit"],
    }
    for when in ("before", "after"):
        state = report.get(when)
        if state:
            named[when] = "; ".join(_state(state)) or None
    return named


def _state(state: dict[str, Any]) -> Iterable[str]:
    if state["clocks_mhz"]:
        yield f"clocks {', '.join(map(str, state['clocks_mhz']))} MHz"
    if state["temperatures_c"]:
        hottest = max(state["temperatures_c"], key=lambda name: float(state["temperatures_c"][name]))
        yield f"hottest {hottest} {state['temperatures_c'][hottest]:.0f} °C"
    for gpu in state["gpus"]:
        yield ", ".join(f"{name} {value}" for name, value in gpu.items())
    if state["gpu_clock_mhz"]:
        yield f"GPU {state['gpu_clock_mhz']} MHz"
    if state["load_average"]:
        yield f"load {state['load_average'][0]}"
