"""Options and kinds of values that several commands share."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from edge.core.config import Settings
from edge.core.errors import UsageError

MEMORY = "memory"
METHODS = (MEMORY, "kist", "sparsity_prior", "isstad", "slsg")
# trains what the time allows, and takes the best
AUTO = "auto"
# minutes in which `auto` makes a bundle, on two cores
AUTO_MINUTES = 10.0
# the encoder that learned from ImageNet, with what each method puts on it
PRETRAINED = "pretrained"
CPU_BACKENDS = ("auto", "openvino", "onnxruntime")
BACKENDS = (*CPU_BACKENDS, "tensorrt", "tensorrt-rtx")
NORMAL_SAMPLES = "folder with train/good/, or a folder of pictures of good parts"


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


def field_sides(text: str) -> int | tuple[int, int]:
    """256 → 256; 512x256, width first → (256, 512), height first."""
    width, cross, height = text.lower().partition("x")
    return (positive_int(height), positive_int(width)) if cross else positive_int(width)


def compute_capability(text: str) -> int:
    """8.6 and 86 → 86."""
    if not re.fullmatch(r"\d{1,2}\.\d|\d{2,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a compute capability such as 8.6")
    return int(text.replace(".", ""))


@dataclass(frozen=True)
class Length:
    """A length as a person gives it."""

    value: float
    unit: str

    def in_px(self, mm_per_px: float | None) -> float:
        """In pixels of the frame; raises UsageError for millimetres where it is not known what a pixel shows."""
        if self.unit == "px":
            return self.value
        if mm_per_px is None:
            raise UsageError(
                f"{self.value:g}mm: how much a pixel shows is not known", fix="give --mm-per-px, or camera.mm_per_px"
            )
        return self.value / mm_per_px


def length(text: str) -> Length:
    """12 or 12px → 12 px; 0.5mm → 0.5 mm."""
    unit = "mm" if text.endswith("mm") else "px"
    return Length(positive(text.removesuffix(unit).strip()), unit)


def percent(text: str) -> float:
    """A percentage between 0 and 100, as a share: 0.5 → 0.005."""
    value = number(text)
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return value / 100


def percent_or_auto(text: str) -> float:
    """A percentage as a share; `auto` → 0."""
    return 0.0 if text == "auto" else percent(text)


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


_SHARED: dict[str, dict[str, Any]] = {
    "--uncalibrated": {
        "action": "store_true",
        "help": "run a network whose statistics are another's; every verdict says so",
    },
    "--bundle": {"type": Path, "help": "model bundle directory (default: the setting, else the shipped sample bundle)"},
    "--reference": {
        "type": Path,
        "metavar": "PICTURE_OR_FOLDER",
        "help": "golden picture, or folder with one for each picture at the same path (default: the bundle's)",
    },
    "--backend": {"choices": BACKENDS, "help": "network runtime (default: auto)"},
    "--precision": {
        "choices": ("auto", "int8", "fp16", "fp32"),
        "help": "which network (default: auto, what passed the gate); fp16: engines only",
    },
    "--engines": {"type": Path, "help": "folder of built engines (default: BUNDLE.engines)"},
    "--compute-capability": {
        "dest": "capabilities",
        "type": compute_capability,
        "action": "append",
        "metavar": "N",
        "help": "tensorrt-rtx: a GPU generation to build for, such as 86 or 8.6; repeatable (default: 75, 86, 89, 120)",
    },
    "--data": {"type": Path, "required": True, "help": NORMAL_SAMPLES},
    "--product": {"help": "name of the part, shown on the line (default: the name of OUT)"},
    "--align": {
        "choices": ("none", "phase", "template", "ecc", "upright"),
        "help": "find the part before it is inspected: its shift, its turn too, its size too; or stand parts upright "
        "that lie anyhow (default: the setting; train chooses from the good parts)",
    },
    "--false-reject": {
        "type": percent,
        "metavar": "PERCENT",
        "help": "share of good parts that may be rejected (default: what their number supports, 5 for 39, 2 for 220, "
        "at least 0.5); less than that is extrapolated",
    },
    "--review": {
        "type": percent,
        "metavar": "PERCENT",
        "help": "share of good parts, above --false-reject, that may be marked for review (default: none, but where "
        "--false-reject is less than the good parts support)",
    },
    "--mm-per-px": {
        "type": positive,
        "metavar": "MM",
        "help": "millimetres that a pixel of the frame shows, to tell lengths of defects in mm (default: the setting)",
    },
    "--line": {"metavar": "NAME", "help": "name of the line, for other programs of the plant (default: the setting)"},
    "--run-directory": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "where the line keeps status.json while it runs (default: the setting)",
    },
    "--record-dir": {"type": Path, "help": "where the records lie (default: ./records)"},
    "--part": {"metavar": "NUMBER", "default": "", "help": "only this part, as the plant numbers it"},
    "--lot": {"default": "", "help": "only parts of this lot"},
    "--json": {"action": "store_true", "help": "print JSON"},
}


def share(parser: argparse._ActionsContainer, *names: str, **changes: Any) -> None:
    """Add options that several commands have; changes: to what this file says of them."""
    for name in names:
        parser.add_argument(name, **{**_SHARED[name], **changes})


Request = TypeVar("Request")


def request_from(kind: type[Request], options: argparse.Namespace, **others: Any) -> Request:
    """The dataclass `kind` with the options of the same names, and with `others`."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{**{name: value for name, value in vars(options).items() if name in names}, **others})
