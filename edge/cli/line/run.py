"""run: inspect a source, until it ends, a limit is reached or a signal comes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.exit_codes import INTERRUPTED, UNRECORDED
from edge.cli.options import positive, positive_int, share
from edge.cli.process_end import forget_starts, leave, start_again, times_started_again
from edge.core.config import Settings
from edge.core.errors import EngineError, MissingDependency, ModelError
from edge.system.stop_signals import stop_requests

if TYPE_CHECKING:
    from edge.bundles.bundle import ModelBundle
    from edge.core.datatypes import U8
    from edge.inspection.line import Line, RunRequest

# between the attempts of a program that lost its device
AGAIN_FIRST_S, AGAIN_MAX_S = 2.0, 60.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera",
        help="camera number or device path, RTSP or HTTP URL, GStreamer pipeline, video file, "
        "folder or glob of pictures, or `demo` (default: camera.source of the settings)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="--camera is a folder: wait for more pictures instead of ending with it"
    )
    add_inspection(parser)


def add_inspection(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", "--reference", "--backend", "--precision", "--engines", "--uncalibrated")
    parser.add_argument("--frames", type=positive_int, help="stop after this many verdicts")
    parser.add_argument("--duration", type=positive, metavar="SECONDS", help="stop after this many seconds")
    parser.add_argument("--once", action="store_true", help="one verdict, then stop")
    parser.add_argument("--fps", type=positive, help="ask the camera for this rate; show files at this rate")
    parser.add_argument("--record-dir", type=Path, help="where verdicts and pictures are kept (default: ./records)")
    parser.add_argument("--no-record", action="store_true", help="keep no records")
    share(parser, "--line", "--run-directory")
    parser.add_argument("--json", action="store_true", help="one JSON object per verdict on standard output")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """0; 130 after a signal; 5 when verdicts are neither on record nor delivered as they should be.

    Does not return where the device needs a new process: this one becomes it.
    """
    from edge.inspection.line import RunRequest

    frames = 1 if options.once else options.frames
    request = RunRequest(options.camera, frames, options.duration, sys.stdout if options.json else None)
    line = _opened(request, settings)
    with stop_requests() as requests:
        result = line.run(requests)
    for text in result.summary:
        print(text, file=sys.stderr)
    if result.start_again:
        start_again()
    code = INTERRUPTED if requests.interrupted else 0
    code = UNRECORDED if result.unrecorded else code
    if result.hangs:
        leave(code)
    line.close()
    return code


def _opened(request: RunRequest, settings: Settings) -> Line:
    """The line. A program that became a new process for its device goes on trying, as it did before."""
    from edge.inspection.line import Line

    try:
        line = Line(request, settings, _empty_place)
    except (EngineError, MissingDependency, ModelError) as error:
        times = times_started_again()
        if times == 0:
            raise
        wait_s = min(AGAIN_FIRST_S * 2 ** (times - 1), AGAIN_MAX_S)
        print(f"edge-inspect: {error.message}; the next attempt in {wait_s:.0f} s", file=sys.stderr, flush=True)
        time.sleep(wait_s)
        start_again()
    forget_starts()
    return line


def _empty_place(bundle: ModelBundle) -> Callable[[U8], bool] | None:
    from calibration.samples.empty_place import empty_place

    return empty_place(bundle)
