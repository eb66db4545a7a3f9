"""Reports for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.timing.report.figures import NAMES
from benchmarks.timing.report.regression import Comparison, explanation

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_COLUMNS = (*NAMES, "max", "mean")


def latency_table(report: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    times = _table("ms", _COLUMNS)
    for name, levels in report["stages_ms"].items():
        times.add_row(name, *_numbers(levels), end_section=name == "sink")
    times.add_row(Text("end to end", "bold"), *_numbers(report["end_to_end_ms"]))
    times.add_row("all but infer", *_numbers(report["loop_ms"]), end_section=True)
    times.add_row("bare engine", *_numbers(report["engine_ms"]))
    return Group(Text(run_line(report), "bold"), Text(), times, Text(), *(Text(line) for line in latency_lines(report)))


def run_line(report: dict[str, Any]) -> str:
    """What was timed, in one line."""
    run = report["run"]
    height, width = run["frame_px"]
    streams = "" if run["streams"] == 1 else f", {run['streams']} streams"
    return (
        f"{report['bundle']['method']} {report['bundle']['variant']}, {run['backend']} {run['precision']}, "
        f"frames of {width}x{height} px, {run['cadence']}{streams}"
    )


def latency_lines(report: dict[str, Any]) -> list[str]:
    """Everything that is no table of percentiles."""
    cpu, memory = report["cpu"], report["memory"]
    lines = [
        f"{report['frames']} frames after {(report['warm_up'] or {}).get('frames', 0)} of warm-up"
        + (f" (the first took {report['warm_up']['first_ms']:.1f} ms)" if report["warm_up"] else ""),
        f"end to end over bare engine, p50: {report['overhead_ratio_p50']:.3f} "
        f"(of neighbours: {report['overhead_ratio_paired']:.3f}); "
        f"decoded frame to verdict: {report['verdict_ratio_p50']:.3f}",
        f"{report['frames_per_s']:.1f} frames/s, were they back to back",
    ]
    deadline = report["deadline"]
    if deadline:
        lines.append(
            f"deadline {deadline['allowed_ms']['p50']:.4g} ms: {deadline['missed']} of {deadline['of']} missed "
            f"({deadline['dropped']} of them never looked at); 95 % interval "
            f"{deadline['share_low_95']:.2%} to {deadline['share_high_95']:.2%}"
        )
    lines += [f"INVALID: {name} {count}" for name, count in report["invalid"].items()]
    per_frame = f", {cpu['ms_per_frame']['p50']:.1f} ms of processor time per frame" if cpu["ms_per_frame"] else ""
    lines.append(f"processor {cpu['cores_busy']:.2f} cores busy{per_frame}")
    lines += [_memory_line(memory)] if memory else []
    allocations = report.get("allocations")
    if allocations:
        lines.append(
            f"allocations {allocations['peak_kb_per_frame']['p50']:.0f} KB at most at once per frame, "
            f"{allocations['kept_blocks_per_1000_frames']:.0f} objects kept per 1000 frames"
        )
    return [*lines, *slope_lines(report)] if report["run"]["soak"] else lines


def _memory_line(memory: dict[str, Any]) -> str:
    return f"memory {memory['start_mb']:.0f} MB at first, {memory['max_mb']:.0f} MB at most"


def slope_lines(report: dict[str, Any]) -> list[str]:
    """How times and memory drift, each with its 95 % interval."""
    found = {f"{name.removesuffix('_ms')}, ms": slope for name, slope in report["slopes_per_hour"].items()}
    found["memory, MB"] = (report["memory"] or {}).get("slope_mb_per_hour")
    lines = [
        f"drift per hour: {name} {slope['per_unit']:+.3g} ({slope['low_95']:+.3g} to {slope['high_95']:+.3g})"
        for name, slope in found.items()
        if slope
    ]
    return lines or ["too short to tell a drift"]


def throughput_table(report: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    low, high = report["share_range"]
    return Group(
        Text(run_line(report), "bold"),
        Text(f"{report['frames_per_s']:.1f} frames/s with {report['inspectors']} inspectors side by side"),
        Text(f"{report['engine_per_s']:.1f} calls/s of the bare engine under its own throughput settings"),
        Text(
            f"share of the engine's limit {report['share_of_engine_limit']:.1%} "
            f"(rounds from {low:.1%} to {high:.1%}), {report['cores_busy']:.2f} cores busy"
        ),
    )


def program_table(report: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    rate, memory = report["frames_per_s"], report["memory"]
    lines = [
        f"first verdict {report['first_verdict_s']:.2f} s after the start of the program",
        f"{report['frames']} frames, records {'on' if report['run']['records'] else 'off'}"
        + ("" if rate is None else f": {rate:.1f} frames/s"),
    ]
    if memory:
        growth = memory["slope_kb_per_1000_frames"]
        lines.append(_memory_line(memory))
        if growth:
            low, high = growth["low_95"], growth["high_95"]
            lines.append(f"memory per 1000 frames: {growth['per_unit']:+.0f} KB ({low:+.0f} to {high:+.0f})")
    return Group(Text(run_line(report), "bold"), *map(Text, lines))


def plc_table(report: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    cost = report["cost"]
    times = _table("ms", ("p50", "p95", "p99"))
    for name in ("without", "with"):
        times.add_row(f"{name} PLC and outputs", *(f"{value:.2f}" for value in cost[name].values()))
    ratio = cost["ratio_of_medians"]
    low, high = ratio["quartiles"]
    fine = ratio["median_of_pairs"] <= report["limit"]
    rates = _table("trigger to result, ms", ("p50", "p99", "p99.9", "max", "parts"))
    for each in report["trigger_to_result"]:
        levels = [f"{value:.2f}" for value in each["trigger_to_result_ms"].values()]
        rates.add_row(f"{each['rate_per_s']:g} parts a second", *levels, str(each["parts"]))
    lines = [
        f"with / without, of neighbouring blocks: {ratio['median_of_pairs']:.3f} ({low:.3f} to {high:.3f}), "
        f"at most {report['limit']:g}: {'fine' if fine else 'TOO MUCH'}",
        "with a publisher" if cost["published"] is not None else "without a publisher: mosquitto or paho is missing",
        *(trouble for each in report["trigger_to_result"] for trouble in each["troubles"]),
    ]
    return Group(Text(run_line(report), "bold"), Text(), times, Text(), rates, Text(), *map(Text, lines))


def curves_table(report: dict[str, Any]) -> Group:
    from rich.console import Group, RenderableType
    from rich.text import Text

    parts: list[RenderableType] = [Text(run_line(report), "bold")]
    for title, key, first in (("frame side", "frame_sides", "side_px"), ("streams", "streams", "streams")):
        table = _table(title, ("end to end p50", "p99", "engine p50", "ratio", "frames/s"))
        for point in report[key]:
            cells = ("end_to_end_p50_ms", "end_to_end_p99_ms", "engine_p50_ms", "overhead_ratio_p50", "frames_per_s")
            table.add_row(str(point[first]), *(f"{point[cell]:.2f}" for cell in cells))
        parts += [Text(), table]
    table = _table("network side", ("bare engine p50", "ms per megapixel"))
    for point in report["network_sides"]:
        table.add_row(str(point["side_px"]), f"{point['engine_p50_ms']:.2f}", f"{point['ms_per_megapixel']:.1f}")
    return Group(*parts, Text(), table) if report["network_sides"] else Group(*parts)


def comparison_table(comparison: Comparison) -> Group:
    from rich.console import Group
    from rich.text import Text

    table = _table("B over A", ("A", "B", "ratio", "95 % interval", ""))
    for change in comparison.changes:
        interval = f"{change.low:.3f} to {change.high:.3f}"
        mark = Text("worse", "bold red") if change.worse else Text("")
        table.add_row(change.name, f"{change.before:.3f}", f"{change.after:.3f}", f"{change.ratio:.3f}", interval, mark)
    lines = [f"not alike: {text}" for text in comparison.differences]
    lines += [f"also differs: {text}" for text in comparison.notes]
    return Group(table, Text(), Text(explanation(comparison), "bold"), *map(Text, lines))


def _table(first: str, columns: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _numbers(levels: dict[str, float]) -> Iterable[str]:
    return (f"{levels[name]:.2f}" for name in _COLUMNS)
