"""benchmark: how long a frame takes, where the time goes, and what changed since."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from pathlib import Path

from edge.cli.exit_codes import INTERRUPTED
from edge.cli.options import positive, positive_int, request_from, share, whole_number
from edge.cli.standard_streams import show
from edge.core.config import Settings
from edge.core.redact import redact

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", "--backend", "--precision", "--engines", "--uncalibrated")
    what = parser.add_argument_group("what is shown")
    what.add_argument(
        "--source",
        default="demo",
        help="pictures, a folder or a video to show as a camera would, a real camera, or demo (default: demo)",
    )
    what.add_argument("--frame-size", type=_frame_size, metavar="WxH", help="make the pictures frames of this size")
    pace = parser.add_argument_group("at which pace")
    cadence = pace.add_mutually_exclusive_group()
    cadence.add_argument("--cadence", metavar="RATE", help="2.5/s, 90/min or 400ms (default: back to back)")
    cadence.add_argument("--cadence-from", type=Path, metavar="RECORDS", help="the gaps that a line recorded, idle too")
    pace.add_argument("--deadline", type=positive, metavar="MS", help="what a frame may take (default: until the next)")
    pace.add_argument("--streams", type=positive_int, metavar="N", help="as many cameras at once (default: 1)")
    length = parser.add_argument_group("for how long")
    length.add_argument("--frames", type=positive_int, help="frames of each stream (default: 1000, or for a minute)")
    length.add_argument("--duration", type=_duration, metavar="TIME", help="such as 90s, 10m or 1h")
    length.add_argument("--soak", type=_duration, metavar="TIME", help="the same, and tell how times and memory drift")
    length.add_argument("--warm-up", type=_warm_up, default=20, metavar="N", help="frames told apart (default: 20)")
    kind = parser.add_argument_group("something else than latency").add_mutually_exclusive_group()
    kind.add_argument("--throughput", action="store_true", help="as many frames as the processor can do")
    kind.add_argument(
        "--program", action="store_true", help="the program over a folder: first verdict, rate and memory, records on"
    )
    kind.add_argument("--curves", action="store_true", help="how times grow with frame side and streams")
    kind.add_argument(
        "--plc",
        action="store_true",
        help="what PLC, metrics, status and MQTT cost, and from a PLC's trigger to its result",
    )
    kind.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"), help="what changed between two --out files")
    compared = parser.add_argument_group("with --compare")
    compared.add_argument(
        "--limit",
        type=positive,
        default=1.05,
        metavar="RATIO",
        help="B over A that is still no regression (default: 1.05)",
    )
    compared.add_argument("--across", action="store_true", help="also across machines, bundles or options")
    result = parser.add_argument_group("results")
    result.add_argument(
        # no setting of the line: records of a benchmark are temporary anyway
        "--no-record",
        dest="unrecorded",
        action="store_true",
        help="keep no records, not even temporary ones",
    )
    result.add_argument("--json", action="store_true", help="print the figures as JSON")
    result.add_argument("--out", type=Path, metavar="FILE", help="write the figures, a .json file to compare later")
    result.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="write distributions and timeline, an .html file; of --curves also .svg",
    )


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """Measure, show and write; 1 for a regression or too high a cost, 130 when Ctrl-C cut the run short."""
    from benchmarks.results_file import json_text
    from benchmarks.timing.benchmark import BenchmarkRequest, run_benchmark, write_report
    from benchmarks.timing.report.table import (
        curves_table,
        latency_table,
        plc_table,
        program_table,
        throughput_table,
    )

    if options.compare:
        return _compare(options)
    page = None if options.page is None else options.page.suffix
    report = run_benchmark(request_from(BenchmarkRequest, options, page=page), settings)
    if options.json:
        print(json_text(report))
    else:
        tables = {
            "latency": latency_table, "throughput": throughput_table, "curves": curves_table, "program": program_table,
            "plc": plc_table,
        }  # fmt: skip
        show(tables[report["mode"]](report))
    command = shlex.join(["edge-inspect", *map(redact, sys.argv[1:])])
    write_report(report, command, options.out, options.page)
    return INTERRUPTED if report.get("interrupted") else int(report.get("failed", False))


def _compare(options: argparse.Namespace) -> int:
    from benchmarks.timing.benchmark import read_report
    from benchmarks.timing.report.regression import compare_reports
    from benchmarks.timing.report.table import comparison_table

    before, after = (read_report(path) for path in options.compare)
    comparison = compare_reports(before, after, options.limit, across=options.across)
    if options.json:
        print(json.dumps(comparison.as_json(), indent=1))
    else:
        show(comparison_table(comparison))
    return 1 if comparison.regressed else 0


def _frame_size(text: str) -> tuple[int, int]:
    """640x480 → (480, 640): rows first, as everywhere."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None or not int(found[1]) or not int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 640x480")
    return int(found[2]), int(found[1])


def _duration(text: str) -> float:
    """90s, 10m, 1h or a number of seconds → seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h)?", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 10m or 1h")
    return float(found[1]) * _UNITS[found[2] or "s"]


def _warm_up(text: str) -> int:
    count = whole_number(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return count
