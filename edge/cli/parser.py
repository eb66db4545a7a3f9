"""The command line: every command, option and exit code."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from edge import __version__
from edge.cli.bundles.history_options import add_history, add_rollback
from edge.cli.bundles.threshold_options import add_threshold
from edge.cli.line.challenge_options import add_challenge
from edge.cli.making.recalibrate_options import add_recalibrate
from edge.cli.measuring.benchmark_options import add_benchmark
from edge.cli.options import (
    BACKENDS,
    CPU_BACKENDS,
    GOOD_PARTS,
    METHODS,
    add_align,
    add_backend,
    add_bundle,
    add_compute_capabilities,
    add_data,
    add_engines,
    add_false_reject,
    add_product,
    add_records,
    add_review,
    add_uncalibrated,
    percent,
    positive,
    positive_int,
    seeds,
    verdict_name,
    whole_number,
)
from edge.cli.teach.options import add_teach
from edge.core.config import at_home
from edge.core.errors import UsageError

TARGETS = ("tensorrt", "tensorrt-rtx", "openvino", "onnxruntime")
BLENDS = ("product", "wsum", "max", "noisy_or", "gate")

_EXIT_CODES = """exit codes:
  0    finished
  1    a check failed (replay differs, the gate refuses, the line is not ready for its shift, doctor found something
       that prevents inspection)
  2    wrong command line, configuration or data; something not installed
  3    camera: not there, busy, or no frames to read
  4    bundle: missing, damaged, of another version, or calibrated for another engine or region of interest
  5    verdicts that are not on record, whatever the reason, or that the reader of --json did not get
  130  interrupted (Ctrl-C, SIGTERM, SIGHUP); everything up to then is on record"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=f"see `{self.prog} --help`")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line; without a command it is `run`. Raises UsageError."""
    parser = build_parser()
    first = arguments[0] if arguments else "--camera"
    if first not in COMMANDS and not first.startswith("-"):
        raise UsageError(f"unknown command {first!r}", fix=_nearest(first, COMMANDS, "edge-inspect --help"))
    if first not in (*COMMANDS, "-h", "--help", "--version"):
        arguments = ["run", *arguments]
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [f"--{name.replace('_', '-')}" for name in vars(options)]
        raise UsageError(
            f"`{options.command}` knows no {unknown[0]!r}",
            fix=_nearest(unknown[0], known, f"edge-inspect {options.command} --help"),
        )
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, _at_home(value))
    return options


def _at_home(path: Path) -> Path:
    """A service file, or a quoted word, brings its ~ along."""
    try:
        return Path(at_home(str(path)))
    except ValueError as error:
        raise UsageError(str(error), fix="give the whole path") from error


def _nearest(word: str, known: Iterable[str], manual: str) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean `{found[0]}`?" if found else f"see `{manual}`"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `parse` adds the default one."""
    parser = _Parser(
        prog="edge-inspect",
        description="Visual inspection at the edge: a camera in, a verdict per frame out, every verdict on record.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-inspect {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, (text, add) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=_EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # a shortened option in somebody's service file would change its meaning with the next option we add
            allow_abbrev=False,
        )
        command.add_argument("--config", type=Path, help="settings file (default: ./config.yaml if there is one)")
        add(command)
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera",
        help="camera number or device path, RTSP or HTTP URL, GStreamer pipeline, video file, "
        "folder or glob of pictures, or `demo` (default: camera.source of the settings)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="--camera is a folder: wait for more pictures instead of ending with it"
    )
    _inspection(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(camera="demo")
    _inspection(parser)


def _inspection(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_backend(parser)
    add_uncalibrated(parser)
    parser.add_argument("--frames", type=positive_int, help="stop after this many verdicts")
    parser.add_argument("--duration", type=positive, metavar="SECONDS", help="stop after this many seconds")
    parser.add_argument("--once", action="store_true", help="one verdict, then stop")
    parser.add_argument("--fps", type=positive, help="ask the camera for this rate; show files at this rate")
    parser.add_argument("--record-dir", type=Path, help="where verdicts and pictures are kept (default: ./records)")
    parser.add_argument("--no-record", action="store_true", help="keep no records")
    parser.add_argument("--json", action="store_true", help="one JSON object per verdict on standard output")


_TRAINING_DATA = f"{GOOD_PARTS}; optional: train/weak/<kind>/, rules.yaml, textures/"


def _train(parser: argparse.ArgumentParser) -> None:
    _training(parser)
    parser.add_argument("--run-dir", dest="run_directory", type=Path, help="checkpoint and losses (default: OUT.run)")
    add_product(parser)
    parser.add_argument("--out", type=Path, required=True, help="the bundle to make; an older one is kept")
    parser.add_argument("--backend", choices=CPU_BACKENDS, help="backend to calibrate on")
    add_false_reject(parser)


def _fit(parser: argparse.ArgumentParser) -> None:
    _training(parser)
    parser.add_argument("--run-dir", dest="run_directory", type=Path, required=True, help="where the run is written")


def _training(parser: argparse.ArgumentParser) -> None:
    add_data(parser, _TRAINING_DATA)
    add_align(parser)
    parser.add_argument("--method", choices=METHODS, default="kist", help="default: kist")
    parser.add_argument(
        "--variant",
        default="edge",
        help="edge (256 px, at most 2 GMAC, default), tiny (128 px, minutes on a CPU), full (a GPU); smoke, to try out",
    )
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument(
        "--numbers",
        choices=("float32", "bfloat16"),
        help="compute in these; the same seed and numbers give the same network (default: timed, the quicker ones)",
    )
    parser.add_argument(
        "--layout",
        choices=("aligned", "free"),
        help="do parts always lie the same way, or vary (textures)? default: found out from the good parts",
    )
    parser.add_argument(
        "--rules",
        metavar="FILE",
        help="what experts know of defects: a rules file, or the name of a starter (default: DATA/rules.yaml if there)",
    )
    parser.add_argument(
        "--ablate", action="append", default=[], metavar="PART", help="leave a part of the method out, to see its worth"
    )
    parser.add_argument("--blend", choices=BLENDS, help="how error and probability maps join (default: the best)")
    parser.add_argument(
        "--smallest-defect",
        type=percent,
        metavar="PERCENT",
        help="smallest defect that matters, in percent of the inspected area (default: 0.03); decides the score path",
    )
    parser.add_argument(
        "--field",
        type=positive_int,
        metavar="PX",
        help="side of the inspected field; kist and isstad learn parts of a free layout from crops of a larger one "
        "(default: the variant's, tiny with a free layout 256)",
    )
    parser.add_argument(
        "--defects", metavar="PRESET", help="artificial defects to learn from (see `defects`; default: the method's)"
    )
    parser.add_argument("--fresh", action="store_true", help="start anew instead of going on with an interrupted run")
    parser.add_argument("--steps", type=positive_int, help="optimiser steps of all stages (default: the variant's)")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-dir", dest="run_directory", type=Path, help="a run made by `fit`, to make a bundle of")
    add_product(parser)
    parser.add_argument("--data", type=Path, help=f"check the graph on {GOOD_PARTS} (default: on noise)")
    parser.add_argument("--report", action="store_true", help="print how every operator runs on every target")
    parser.add_argument("--out", type=Path, help="the bundle to make")
    parser.add_argument("--bundle", type=Path, help="a bundle that is there already, to prepare for a target")
    parser.add_argument(
        "--target", choices=TARGETS, help="what will run the network: an engine is built, or a trial run"
    )
    parser.add_argument(
        "--precision",
        dest="rung",
        choices=("auto", "int8", "int8_float_ends", "fp16", "fp32"),
        default="auto",
        help="auto: what the bundle says, for engines the first of these that can be built (default)",
    )
    add_compute_capabilities(parser)
    add_engines(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="prove again that the verdicts of --bundle survive on --data, as `gate` does",
    )
    _gate_report(parser)


def _quantize(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    add_data(parser, GOOD_PARTS)


def _calibrate(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    add_data(parser, GOOD_PARTS)
    parser.add_argument("--backend", choices=BACKENDS, help="backend to calibrate on; a GPU's engines are built for it")
    add_align(parser)
    add_false_reject(parser)
    add_compute_capabilities(parser)
    add_engines(parser)
    add_review(parser)
    parser.add_argument("--ng", type=Path, help="folder of known defective parts: show what thresholds find of them")


def _gate(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    add_data(parser, GOOD_PARTS)
    add_backend(parser)
    _gate_report(parser)


def _gate_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ng", type=Path, help="folder of defective parts to replay (default: artificial defects)")
    parser.add_argument("--json", action="store_true", help="print the gate's report as JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the gate's picture page, an .html file")


def _defects(parser: argparse.ArgumentParser) -> None:
    add_data(parser, GOOD_PARTS)
    parser.add_argument("--preset", default="surface", help="which mixture of defects (default: surface)")
    parser.add_argument("--size", type=positive_int, default=256, help="side of each picture in px (default: 256)")
    parser.add_argument("--count", type=positive_int, default=32, help="how many defects (default: 32)")
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the sheet to write, a .png file")


def _bundle_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("show", "verify", "sign", "keygen"),
        help="what it is; whether every file is whole, and who signed; sign it; make a pair of keys",
    )
    parser.add_argument("--bundle", type=Path, help="model bundle directory")
    parser.add_argument("--key", type=Path, help="private key: sign with it, or the file keygen makes (and .pub)")
    parser.add_argument("--version", help="sign: first digits of a version that is not live (default: the live one)")
    parser.add_argument("--public-key", type=Path, help="verify: only a signature by this key will do")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_data(parser, "folder with test/good/, test/<defect>/ and, for pixel metrics, ground_truth/<defect>/")
    add_backend(parser)
    parser.add_argument("--compare-precisions", action="store_true", help="INT8 and FP32 side by side")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def _compare(parser: argparse.ArgumentParser) -> None:
    add_data(
        parser, "folder with train/good/, test/good/, test/<defect>/ and, for pixel metrics, ground_truth/<defect>/"
    )
    parser.add_argument("--methods", default="all", help="method names separated by commas (default: all)")
    parser.add_argument("--variant", default="tiny", help="size of the networks, as for `train` (default: tiny)")
    parser.add_argument("--seeds", type=seeds, default=[0], help="separated by commas (default: 0)")
    parser.add_argument("--steps", type=positive_int, help="optimiser steps (default: the variant's)")
    parser.add_argument("--out", type=Path, required=True, help="bundles, compare.html and compare.json go here")
    parser.add_argument("--backend", choices=CPU_BACKENDS, help="backend to calibrate and measure on")
    add_false_reject(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _doctor(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def _rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "list", "show"), help="check a file, list the starters, print one")
    parser.add_argument("rules", nargs="?", metavar="FILE", help="rules file, or the name of a starter")
    parser.add_argument("--data", type=Path, help=f"also try the rules on good parts: {GOOD_PARTS}; and on train/weak/")


def _replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "verdict",
        type=verdict_name,
        metavar="VERDICT",
        help="its number (12-004711), as JSON, `report --ng` and the names of pictures show it; or its picture",
    )
    add_records(parser)
    add_bundle(parser)
    parser.add_argument("--backend", choices=BACKENDS, help="default: the recorded one")
    add_uncalibrated(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    add_records(parser)
    parser.add_argument("--since", metavar="TIME", help="ISO time, or an age such as 8h, 30m, 7d")
    parser.add_argument("--until", metavar="TIME", help="ISO time, or an age")
    parser.add_argument("--run", type=positive_int, metavar="ID", help="only this run")
    parser.add_argument("--ng", action="store_true", help="also list the NG verdicts: number, time, score, picture")
    parser.add_argument("--source", help="only this camera")


COMMANDS = {
    "run": ("inspect a camera, stream, video or folder (what edge-inspect does without a command)", _run),
    "demo": ("inspect the shipped sample line", _demo),
    "teach": ("from good parts to a running inspection, step by step", add_teach),
    "train": ("good parts in, calibrated bundle out: fit, export, quantize, calibrate", _train),
    "fit": ("train a network on good parts", _fit),
    "export": ("write a trained network as FP32 ONNX into a new bundle; build the engine of a target", _export),
    "quantize": ("write the INT8 network of a bundle, from ranges on good parts", _quantize),
    "calibrate": ("fit statistics and threshold through the backend that will run", _calibrate),
    "recalibrate": ("new good parts in, a new version of the bundle out, checked, beside the old", add_recalibrate),
    "gate": ("do verdicts survive? replay good and defective parts through FP32 and what runs", _gate),
    "threshold": ("what the threshold promises; change it without export, under a running inspection", add_threshold),
    "defects": ("draw artificial defects on good parts, on a contact sheet", _defects),
    "history": ("who changed a bundle, when, from what, and what the gate said", add_history),
    "rollback": ("go back to the previous version of a bundle, or another one", add_rollback),
    "bundle": ("show what a bundle is, verify it, sign it", _bundle_command),
    "evaluate": ("measure a bundle on labelled test pictures", _evaluate),
    "rules": ("check an expert's rules about defects, or look at the starters", _rules),
    "compare": ("train every method on the same parts and recommend one", _compare),
    "benchmark": ("how long a frame takes, where the time goes, and what changed", add_benchmark),
    "doctor": ("tell what this machine can run, and what to mend", _doctor),
    "challenge": ("start of shift: golden parts must be OK and defects NG before the line is ready", add_challenge),
    "replay": ("judge a recorded picture again; it must give the recorded verdict", _replay),
    "report": ("counts, defect rate and latency from the records", _report),
}
