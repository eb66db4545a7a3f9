"""A report as one HTML file that needs nothing else: distributions, tail, stages, timeline, machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from benchmarks.timing.report.figures import NAMES
from benchmarks.timing.report.svg import BLUE, GREY, HEIGHT, ORANGE, RED, WIDTH, Chart
from benchmarks.timing.report.table import latency_lines, run_line, slope_lines
from edge import __version__

_TIMELINE_COLUMNS = 340
_SHOWN_OUTLIERS = 10
_SERIES = {BLUE: "end to end", ORANGE: "bare engine"}
_COLUMNS = (*NAMES, "max", "mean")

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1d2327; background: #fff; margin: 0 auto;
  max-width: 860px; padding: 28px 24px 60px; }
h1 { font-size: 25px; margin: 0 0 2px; } h2 { font-size: 18px; margin: 34px 0 6px; }
.quiet { color: #5c666e; font-size: 13px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0; }
.tiles div { flex: 1 1 130px; background: #eef5f8; padding: 10px 14px; } .tiles b { display: block; font-size: 22px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th { font-weight: 600; border-bottom: 1.5px solid #1d2327; } td { border-bottom: 1px solid #e6e9eb; }
th, td { text-align: right; padding: 4px 9px; white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; } tr.total td { font-weight: 700; }
table.facts td { text-align: left; white-space: normal; }
svg { width: 100%; height: auto; font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #1d2327; }
svg .grid { stroke: #e6e9eb; } svg .axis { stroke: #1d2327; } svg .mark { font-size: 11px; }
.key i { display: inline-block; width: 11px; height: 11px; margin: 0 5px 0 14px; }
"""


def report_page(report: dict[str, Any]) -> str:
    """The page of any report of `edge-inspect benchmark`."""
    bodies = {"latency": _latency, "throughput": _throughput, "curves": _curves}
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>edge-inspect benchmark</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>How fast: {escape(report["mode"])}</h1>
<p class="quiet">{escape(run_line(report))}; edge-inspect {__version__}</p>
{bodies[report["mode"]](report)}
<h2>Machine</h2>{_machine(report)}
</body></html>
"""


def _latency(report: dict[str, Any]) -> str:
    whole, bare = report["end_to_end_ms"], report["engine_ms"]
    tiles = {
        "end to end, p50": f"{whole['p50']:.2f} ms",
        "p99": f"{whole['p99']:.2f} ms",
        "worst": f"{whole['max']:.2f} ms",
        "bare engine, p50": f"{bare['p50']:.2f} ms",
        "ratio": f"{report['overhead_ratio_p50']:.3f}",
        "frames/s": f"{report['frames_per_s']:.0f}",
    }
    lines = "".join(f"<li>{escape(line)}</li>" for line in latency_lines(report))
    drift = "".join(f"<li>{escape(line)}</li>" for line in slope_lines(report))
    marks = (f'<i style="background:{colour}"></i>{name}' for colour, name in _SERIES.items())
    key = f'<p class="quiet key">{"".join(marks)}</p>'
    return f"""{_tiles(tiles)}<ul>{lines}</ul>
<h2>Stages</h2><div class="wide">{_stages(report)}</div>
<h2>Distribution</h2>{key}{_distribution(report)}
<p class="quiet">Every frame is in it; bins widen with the time.</p>
<h2>Tail</h2>{key}{_tail(report)}
<p class="quiet">How long the slowest of so many frames takes.</p>
<h2>Timeline</h2>{_timeline(report)}
<p class="quiet">Bars reach from the fastest to the slowest frame of each stretch of time, the line is their median;
 red: the slowest frames of all.</p>
<h2>Slowest frames</h2><div class="wide">{_outliers(report)}</div>
{f"<h2>Drift</h2><ul>{drift}</ul>" if report["run"]["soak"] else ""}"""


def _throughput(report: dict[str, Any]) -> str:
    rounds = report["rounds"]
    tiles = {
        "frames/s": f"{report['frames_per_s']:.1f}",
        "bare engine, calls/s": f"{report['engine_per_s']:.1f}",
        "share of its limit": f"{report['share_of_engine_limit']:.1%}",
    }
    numbers = list(range(1, len(rounds["frames_per_s"]) + 1))
    highest = max(*rounds["frames_per_s"], *rounds["engine_per_s"])
    chart = Chart((1, len(numbers)), (0, highest * 1.05), "round", "per second")
    chart.line(numbers, rounds["engine_per_s"], ORANGE)
    chart.line(numbers, rounds["frames_per_s"], BLUE)
    return f"{_tiles(tiles)}<h2>Rounds</h2>{chart.text}<p class='quiet'>Blue: frames; orange: bare engine calls.</p>"


def curves_picture(report: dict[str, Any]) -> str:
    """The curves alone, as an SVG file that any page can show."""
    step = HEIGHT + 34
    parts = []
    for place, (title, chart, _) in enumerate(_curve_charts(report)):
        parts.append(f'<text x="16" y="{place * step + 20}" class="title">{escape(title)}</text>')
        inside = f'<svg y="{place * step + 26}" width="{WIDTH}" height="{HEIGHT}" '
        parts.append(chart.text.replace("<svg ", inside, 1))
    height = len(parts) // 2 * step
    rules = "svg { font: 12px sans-serif; fill: #1d2327; } .grid { stroke: #e6e9eb; } .axis { stroke: #1d2327; }"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f"<style>{rules} .title {{ font-size: 14px; font-weight: 600; }}</style>"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _curves(report: dict[str, Any]) -> str:
    return "".join(f"<h2>{escape(title)}</h2>{chart.text}{table}" for title, chart, table in _curve_charts(report))


def _curve_charts(report: dict[str, Any]) -> Iterable[tuple[str, Chart, str]]:
    """Title, chart and table of every curve."""
    legend = "blue: end to end, p50; grey: p99; orange: bare engine, p50"
    for title, key, x_key, x_title in (
        ("Side of the frame", "frame_sides", "side_px", "frame side, px"),
        ("Streams", "streams", "streams", "streams at once"),
    ):
        points = report[key]
        xs = [point[x_key] for point in points]
        top = max(point["end_to_end_p99_ms"] for point in points)
        labels = {float(x): str(x) for x in xs}
        chart = Chart((xs[0], xs[-1]), (0, top * 1.05), x_title, "ms", log_x=True, x_labels=labels)
        for name, colour in (("end_to_end_p99_ms", GREY), ("engine_p50_ms", ORANGE), ("end_to_end_p50_ms", BLUE)):
            chart.line(xs, [point[name] for point in points], colour)
        head = [x_title, "end to end p50", "p99", "engine p50", "preprocess p50", "ratio p50", "frames/s"]
        keys = ("end_to_end_p50_ms", "end_to_end_p99_ms", "engine_p50_ms", "preprocess_p50_ms", "overhead_ratio_p50",
                "frames_per_s")  # fmt: skip
        rows = [[str(point[x_key]), *(f"{point[name]:.2f}" for name in keys)] for point in points]
        yield f"{title} ({legend})", chart, _table(head, rows)
    points = report["network_sides"]
    if points:
        xs = [point["side_px"] for point in points]
        top = max(point["engine_p50_ms"] for point in points)
        chart = Chart((xs[0], xs[-1]), (0, top * 1.05), "side of the network's field, px", "ms")
        chart.line(xs, [point["engine_p50_ms"] for point in points], ORANGE)
        rows = [[str(p["side_px"]), f"{p['engine_p50_ms']:.2f}", f"{p['ms_per_megapixel']:.1f}"] for p in points]
        table = _table(["side, px", "bare engine p50, ms", "ms per megapixel"], rows)
        yield "Side of the network's field (bare engine, p50)", chart, table


def _tiles(values: dict[str, str]) -> str:
    tiles = "".join(f"<div>{escape(name)}<b>{escape(value)}</b></div>" for name, value in values.items())
    return f'<div class="tiles">{tiles}</div>'


def _stages(report: dict[str, Any]) -> str:
    rows = [[name, *_numbers(levels)] for name, levels in report["stages_ms"].items()]
    table = _table(["ms", *_COLUMNS], rows)
    total = _row("td", ["end to end", *_numbers(report["end_to_end_ms"])], "total")
    rest = _row("td", ["all but infer", *_numbers(report["loop_ms"])])
    bare = _row("td", ["bare engine", *_numbers(report["engine_ms"])])
    return table.replace("</table>", f"{total}{rest}{bare}</table>")


def _distribution(report: dict[str, Any]) -> str:
    histograms = report["histograms"]
    bins = [*histograms["end_to_end"], *histograms["engine"]]
    most = max(count for _, _, count in bins)
    lowest, highest = min(low for low, _, _ in bins), max(high for _, high, _ in bins)
    # one frame among thousands must still be seen
    chart = Chart((lowest * 0.95, highest * 1.05), (0.5, most * 1.5), "ms", "frames", log_x=True, log_y=True)
    for name, colour in (("engine", ORANGE), ("end_to_end", BLUE)):
        for low, high, count in histograms[name]:
            if count:
                chart.bar(low, high, count, colour)
    for row, level in enumerate(("p50", "p99", "max")):
        value = report["end_to_end_ms"][level]
        chart.upright(value, f"{level} {value:.2f} ms", BLUE, row)
    if report["deadline"]:
        allowed = report["deadline"]["allowed_ms"]["min"]
        if lowest < allowed < highest:
            chart.upright(allowed, f"deadline {allowed:.4g} ms", RED, 3)
    return chart.text


def _tail(report: dict[str, Any]) -> str:
    series = {BLUE: report["samples"]["end_to_end_ms"], ORANGE: report["samples"]["engine_ms"]}
    count = max(len(values) for values in series.values())
    lowest, highest = min(map(min, series.values())), max(map(max, series.values()))
    labels = {float(10**power): f"1 in {10**power}" for power in range(9) if 10**power <= count}
    chart = Chart((1, count), (lowest * 0.95, highest * 1.05), "", "ms", log_x=True, log_y=True, x_labels=labels)
    for colour, values in series.items():
        worst = np.sort(values)[::-1]
        ranks = np.unique(np.geomspace(1, len(worst), 200).astype(int))
        chart.line([len(worst) / rank for rank in ranks], [float(worst[rank - 1]) for rank in ranks], colour)
    return chart.text


def _timeline(report: dict[str, Any]) -> str:
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
        chart.span(centres[-1], float(inside.min()), float(inside.max()), "#9cc3d1")
    chart.line(centres, medians, BLUE, 1.4)
    for outlier in slowest:
        words = f"{outlier['end_to_end_ms']:.2f} ms at {outlier['at_s']:.1f} s, most of it in {outlier['most_in']}"
        chart.dot(outlier["at_s"], outlier["end_to_end_ms"], RED, words)
    return chart.text


def _outliers(report: dict[str, Any]) -> str:
    names = list(report["outliers"][0]["stages_ms"])
    rows = [
        [
            f"{outlier['at_s']:.2f} s",
            f"{outlier['end_to_end_ms']:.2f}",
            outlier["most_in"],
            *(f"{outlier['stages_ms'].get(name, 0):.2f}" for name in names),
        ]
        for outlier in report["outliers"][:_SHOWN_OUTLIERS]
    ]
    return _table(["at", "end to end, ms", "most above usual in", *names], rows)


def _machine(report: dict[str, Any]) -> str:
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
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in named.items() if v)
    return f'<table class="facts">{rows}</table>'


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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<table>{_row('th', head)}{''.join(_row('td', row) for row in rows)}</table>"


def _row(cell: str, values: Iterable[str], style: str = "") -> str:
    mark = f' class="{style}"' if style else ""
    return f"<tr{mark}>{''.join(f'<{cell}>{escape(value)}</{cell}>' for value in values)}</tr>"


def _numbers(levels: dict[str, float]) -> Iterable[str]:
    return (f"{levels[name]:.2f}" for name in _COLUMNS)
