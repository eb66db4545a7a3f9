"""What a calibrated network makes of defects, drawn ones and known ones: a file of the bundle, for every threshold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundles.bundle import CPU, ModelBundle
from edge.bundles.calibration import RECALIBRATE, Calibration
from edge.core.errors import BundleError

KEY, NAME = "findings", "findings.json"
_MOST = 100_000
Kind = Annotated[str, Field(max_length=200)]


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DrawnDefect(_Values):
    """A defect drawn on a good part: length in pixels of the frame, percent of the inspected area, score."""

    kind: Kind
    length_px: float
    percent: float
    score: float


class KnownDefect(_Values):
    """A part known to be defective, under the name of its folder; in_training: the network was trained with it."""

    kind: Kind
    score: float
    in_training: bool = False


class Findings(_Values):
    """Scores under one calibration, which model_sha256 and calibrated_utc name.

    mm_per_px: millimetres that a pixel of the frame shows; None: not known.
    """

    model_sha256: str
    calibrated_utc: str
    drawn: Annotated[tuple[DrawnDefect, ...], Field(max_length=_MOST, strict=False)]
    known: Annotated[tuple[KnownDefect, ...], Field(max_length=_MOST, strict=False)] = ()
    mm_per_px: Annotated[float, Field(gt=0)] | None = None

    def fits(self, calibration: Calibration) -> bool:
        """Whether they are of this calibration; another threshold of it is no other one."""
        return (self.model_sha256, self.calibrated_utc) == (calibration.model_sha256, calibration.created_utc)

    def file(self) -> dict[str, tuple[str, bytes]]:
        """The file of a bundle that holds them."""
        return {KEY: (NAME, self.model_dump_json(indent=1).encode())}


def findings_of(bundle: ModelBundle, precision: str, target: str = CPU) -> Findings | None:
    """What the bundle knows of defects in this precision; None where nothing was measured, or with other statistics.

    Raises BundleError when the file cannot be read.
    """
    if KEY not in bundle.manifest.files:
        return None
    try:
        found = Findings.model_validate_json(bundle.read(KEY))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or NAME
        raise BundleError(f"{bundle.path / NAME}: {where}: {problem['msg']}", fix=RECALIBRATE) from error
    return found if found.fits(bundle.calibration(precision, target=target)) else None
