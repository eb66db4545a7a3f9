"""What crosses module borders: frames, anomaly maps, regions, verdicts. Frozen, and checked where data enters."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


class _Word(str, Enum):
    # enum.StrEnum arrived in Python 3.11; JetPack 6 ships 3.10
    def __str__(self) -> str:
        return str(self.value)


class Decision(_Word):
    OK = "OK"
    NG = "NG"
    INVALID = "INVALID"


class Reason(_Word):
    """Why a verdict is what it is. The first two belong to inspected parts, all others to INVALID."""

    BELOW_THRESHOLD = "below_threshold"
    ABOVE_THRESHOLD = "above_threshold"
    NO_FRAME = "no_frame"
    FROZEN = "frozen"
    STALE = "stale"
    BLACK = "black"
    SATURATED = "saturated"
    WRONG_SIZE = "wrong_size"
    UNDECODABLE = "undecodable"
    MODEL_ERROR = "model_error"
    DEADLINE_MISSED = "deadline_missed"
    PART_NOT_FOUND = "part_not_found"
    PART_MOVING = "part_moving"
    NO_REFERENCE = "no_reference"
    OVERRUN = "overrun"
    INCOMPLETE = "incomplete"
    MISSED_FRAME = "missed_frame"


@dataclass(frozen=True)
class Fault:
    """Why a frame must not be inspected; `detail` carries the values, for a person."""

    reason: Reason
    detail: str


# characters of a part's number and lot; of a longer text the rest is left out, and the last one says so
LONGEST_IDENTITY = 64
_CUT = "…"


@dataclass(frozen=True)
class Part:
    """Which part a frame shows, as the plant tells it.

    number, lot: text of the PLC, of MQTT or of a file, as `told` cleans it; empty where nobody told it. trigger: the
    count of the trigger that asked for this part's picture, which its result must name again; None where nobody asked.
    """

    number: str = ""
    lot: str = ""
    trigger: int | None = None

    @classmethod
    def told(cls, number: str, lot: str = "", trigger: int | None = None) -> Part:
        """The part of a number and a lot that came from outside, whatever they hold."""
        return cls(clean_identity(number), clean_identity(lot), trigger)

    @property
    def words(self) -> tuple[str, ...]:
        """What is known of it, for a person: (`part 4711`, `lot L7`)."""
        return tuple(f"{name} {text}" for name, text in (("part", self.number), ("lot", self.lot)) if text)


def clean_identity(text: str) -> str:
    """A number or lot on one line: what can be printed, with single blanks, at most LONGEST_IDENTITY characters."""
    # a hostile text of megabytes is not worked through
    text = unicodedata.normalize("NFC", text[: 16 * LONGEST_IDENTITY])
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    text = " ".join(printable.split())
    return text if len(text) <= LONGEST_IDENTITY else text[: LONGEST_IDENTITY - 1] + _CUT


@dataclass(frozen=True)
class Frame:
    """One look at the line.

    image: uint8 (H, W, 3) BGR, or None when the look brought no picture, and then `fault` says why.
    captured_ns: monotonic clock (`time.perf_counter_ns`) at the grab. utc: wall clock at the grab, timezone-aware.
    source: what was looked at, safe to show and store (no credentials).
    original: the bytes of the PNG or JPEG file that `image` was decoded from; None for anything else.
    part: which part it shows; None where nothing is known of that.
    views: of a group of cameras, what each shows of the part, in their order; then `image` has their pictures side by
    side, and captured_ns is that of the oldest.
    """

    index: int
    captured_ns: int
    utc: datetime
    source: str
    image: U8 | None
    fault: Fault | None = None
    original: bytes | None = None
    part: Part | None = None
    views: tuple[CameraView, ...] = ()

    def __post_init__(self) -> None:
        if self.image is None:
            if self.fault is None:
                raise ValueError(f"frame {self.index} has neither an image nor a fault")
        elif self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"frame {self.index}: need uint8 (H, W, 3), got {self.image.dtype} {self.image.shape}")
        if self.utc.tzinfo is None:
            raise ValueError(f"frame {self.index}: utc needs a time zone")


@dataclass(frozen=True)
class CameraView:
    """What one camera of a group shows of a part. frame: its own picture, or why there is none.

    x, width, height: where its picture stands in that of the group, in pixels from the upper left corner; a camera
    without a picture has a place of its own, which is grey.
    """

    camera: str
    frame: Frame
    x: int
    width: int
    height: int


@dataclass(frozen=True)
class Pose:
    """Where a part lies that was aligned to a reference.

    matrix: (2, 3) by rows, from pixels of the inspected view with the part in its place to frame pixels. quality: its
    match with the reference, 1 at best. angle_deg: clockwise; scale: above 1 when it is nearer.
    """

    matrix: tuple[float, ...]
    quality: float
    angle_deg: float
    scale: float


@dataclass(frozen=True)
class AnomalyMap:
    """How unusual each pixel of the network's field is.

    values: float32 (h, w), 0 = like the normals, larger = more unusual; owned by the receiver. (0, 0) where a backend
    left an inconspicuous map on its device.
    score: the image score. area_px: map pixels above the pixel threshold. pose: of an aligned part, which the map shows
    in its place; None without alignment. others: the maps of the frame's other parts, none of a higher score.
    """

    values: F32
    score: float
    area_px: int
    pose: Pose | None = None
    others: tuple[AnomalyMap, ...] = ()

    def __post_init__(self) -> None:
        if self.values.dtype != np.float32 or self.values.ndim != 2:
            raise ValueError(f"anomaly map: need float32 (h, w), got {self.values.dtype} {self.values.shape}")


@dataclass(frozen=True)
class Region:
    """One connected defect, in frame pixels; `peak` is its highest map value."""

    x: int
    y: int
    width: int
    height: int
    area_px: int
    peak: float


@dataclass(frozen=True)
class PartScore:
    """One of several parts that were found in a frame: its score, and the box around its place in frame pixels."""

    score: float
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds each stage took; `wait` is from the grab to the start of inspection, `total` to the verdict."""

    wait: float = 0.0
    preprocess: float = 0.0
    infer: float = 0.0
    residual: float = 0.0
    decide: float = 0.0
    total: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 4) for name in STAGES}


STAGES = tuple(StageTimes.__dataclass_fields__)


@dataclass(frozen=True)
class Verdict:
    """The decision on one frame, and its reason. `score` and `anomaly_map` are None when nothing was scored.

    bundle_sha256 and model_sha256 name exactly what judged; times are in milliseconds. review: OK, but in the unsure
    band below the threshold: a person should look at the part; regions then say where. parts: where a frame shows
    several, each of them, highest score first; the decision is the worst part's. recipe: the name of the recipe that
    it was judged by; empty without recipes. cameras: of a group, what was said of each camera's picture; then score,
    threshold and hashes are those of the camera that decided, and there is no map of the whole.
    """

    frame_index: int
    decision: Decision
    reason: Reason
    detail: str
    score: float | None
    threshold: float
    regions: tuple[Region, ...]
    times: StageTimes
    bundle_sha256: str
    model_sha256: str
    anomaly_map: AnomalyMap | None = None
    review: bool = False
    parts: tuple[PartScore, ...] = ()
    recipe: str = ""
    cameras: tuple[CameraVerdict, ...] = ()

    def __post_init__(self) -> None:
        inspected = self.reason in (Reason.BELOW_THRESHOLD, Reason.ABOVE_THRESHOLD)
        if inspected == (self.decision is Decision.INVALID):
            raise ValueError(f"verdict {self.frame_index}: {self.decision} cannot have the reason {self.reason}")
        if inspected and self.score is None:
            raise ValueError(f"verdict {self.frame_index}: {self.decision} needs a score")
        if self.review and self.decision is not Decision.OK:
            raise ValueError(f"verdict {self.frame_index}: only an OK part can be for review, not {self.decision}")

    def as_json(self, source: str, part: Part | None = None) -> dict[str, Any]:
        """The object that `--json` prints for this frame. part: what the frame shows, where that is known."""
        shown = part or Part()
        return {
            "frame_index": self.frame_index,
            "source": source,
            "part_number": shown.number,
            "lot": shown.lot,
            "recipe": self.recipe,
            "decision": str(self.decision),
            "reason": str(self.reason),
            "detail": self.detail,
            "score": self.score,
            "threshold": self.threshold,
            "review": self.review,
            "regions": [asdict(region) for region in self.regions],
            "parts": [asdict(part) for part in self.parts],
            "cameras": [each.as_json() for each in self.cameras],
            "times_ms": self.times.as_dict(),
            "bundle_sha256": self.bundle_sha256,
        }


@dataclass(frozen=True)
class CameraVerdict:
    """What was said of the picture of one camera of a group. verdict: in pixels of its own picture.

    field: (x, y, width, height) that its map covers, in the same pixels; None where nothing was scored.
    """

    camera: str
    verdict: Verdict
    field: tuple[int, int, int, int] | None = None

    def as_json(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "camera": self.camera,
            "decision": str(verdict.decision),
            "reason": str(verdict.reason),
            "detail": verdict.detail,
            "score": verdict.score,
            "threshold": verdict.threshold,
            "review": verdict.review,
            "bundle_sha256": verdict.bundle_sha256,
        }
