"""Options and kinds of values that several commands share."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from edge.core.config import Settings
from edge.core.errors import UsageError

METHODS = ("kist", "sparsity_prior", "isstad", "slsg")
CPU_BACKENDS = ("auto", "openvino", "onnxruntime")
BACKENDS = (*CPU_BACKENDS, "tensorrt", "tensorrt-rtx")
GOOD_PARTS = "folder with train/good/, or a folder of pictures of good parts"


Request = TypeVar("Request")


def request_from(kind: type[Request], options: argparse.Namespace, **others: Any) -> Request:
    """The dataclass `kind` with the options of the same names, and with `others`."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{**{name: value for name, value in vars(options).items() if name in names}, **others})


def add_uncalibrated(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--uncalibrated",
        action="store_true",
        help="run a network whose statistics are another's; every verdict says so",
    )


def add_bundle(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    default = "" if required else " (default: the setting, else the shipped sample bundle)"
    parser.add_argument("--bundle", type=Path, required=required, help=f"model bundle directory{default}")


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=BACKENDS, help="network runtime (default: auto)")
    parser.add_argument(
        "--precision",
        choices=("auto", "int8", "fp16", "fp32"),
        help="which network (default: auto, what passed the gate); fp16: engines only",
    )
    add_engines(parser)


def add_engines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engines", type=Path, help="folder of built engines (default: BUNDLE.engines)")


def add_compute_capabilities(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compute-capability",
        dest="capabilities",
        type=compute_capability,
        action="append",
        metavar="N",
        help="tensorrt-rtx: a GPU generation to build for, such as 86 or 8.6; repeatable (default: 75, 86, 89, 120)",
    )


def add_data(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--data", type=Path, required=True, help=text)


def add_product(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--product", help="name of the part, shown on the line (default: the name of OUT)")


def add_align(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--align",
        choices=("none", "phase", "template", "ecc"),
        help="find the part before it is inspected: its shift, its turn too, or its size too (default: the setting)",
    )


def add_false_reject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--false-reject", type=percent, default=0.005, metavar="PERCENT", help="false-reject budget (default: 0.5)"
    )


def add_review(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--review", type=percent, metavar="PERCENT",
        help="share of good parts, above --false-reject, that may be marked for review (default: no unsure band)",
    )  # fmt: skip


def add_records(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record-dir", type=Path, help="where the records lie (default: ./records)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def records_directory(settings: Settings) -> Path:
    """Where the records lie; raises UsageError where none are kept."""
    if settings.record.directory is None:
        raise UsageError("record.directory is null: there are no records", fix="give --record-dir")
    return Path(settings.record.directory)


def positive(text: str) -> float:
    """A number above zero; like all of these, raises ArgumentTypeError saying what is wrong."""
    value = number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def positive_int(text: str) -> int:
    value = whole_number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def compute_capability(text: str) -> int:
    """8.6 and 86 → 86."""
    if not re.fullmatch(r"\d{1,2}\.\d|\d{2,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a compute capability such as 8.6")
    return int(text.replace(".", ""))


def percent(text: str) -> float:
    """A percentage between 0 and 100, as a share: 0.5 → 0.005."""
    value = number(text)
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return value / 100


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
