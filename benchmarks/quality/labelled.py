"""Labelled test pictures of an MVTec-style folder: what is in them, where, and which of them a bundle has seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from benchmarks.quality.mask_files import Mask, marked, mask_levels, mask_path
from edge.capture.images.image_io import class_folders, list_pictures
from edge.capture.images.image_reader import PLAIN, ImageReader, read_image
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.manifest import Manifest
from edge.metrics import DefectChannel
from edge.preprocessing.normal_samples import image_sha256
from edge.preprocessing.regions import FieldOfView

# maps and masks are compared at this side, whatever side a method's own map has: figures of methods stay comparable
EVALUATION_SIDE = 256
DEFECTS_CONFIG = "defects_config.json"


@dataclass(frozen=True)
class LabelledPicture:
    """One picture of test/, its class folder, where its mask or its folder of defect channels lies, and its reference.

    None: there is none. reference: the picture at the same place under reference/, a golden sample.
    """

    path: Path
    kind: str
    mask: Path | None
    reference: Path | None

    @property
    def defective(self) -> bool:
        return self.kind.lower() != "good"


def list_test_pictures(data: Path, reader: ImageReader = PLAIN) -> list[LabelledPicture]:
    """test/<class>/* with their masks; raises UsageError unless both good and bad parts are there.

    What is left out of the folders is told by the reader.
    """
    root = data / "test"
    kinds = [folder.name for folder in class_folders(root)]
    reader.emit_loose(root)
    pictures = [
        LabelledPicture(
            path,
            kind,
            mask_path(data / "ground_truth" / kind, path.stem),
            _existing(data / "reference" / path.relative_to(data)),
        )
        for kind in kinds
        for path in reader.pictures_in(root / kind)
    ]
    if not any(picture.defective for picture in pictures) or all(picture.defective for picture in pictures):
        raise UsageError(
            f"{data}: evaluation needs test/good/ and at least one folder of defective parts beside it, found "
            f"{', '.join(kinds) or 'nothing'}",
            fix="arrange the pictures as test/good/ and test/<defect>/, masks as ground_truth/<defect>/<name>_mask.png",
        )
    return pictures


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


# --- masks


class _Saturation(BaseModel):
    """One entry of defects_config.json: how much of a defect of this grey value is enough to have found it."""

    defect_name: str
    pixel_value: Annotated[int, Field(ge=1, le=255)]
    saturation_threshold: Annotated[float, Field(gt=0)]
    relative_saturation: bool

    def share(self, area_px: int) -> float:
        """Of a defect of this area in picture pixels."""
        return min(1.0, self.saturation_threshold / (1 if self.relative_saturation else area_px))


@dataclass(frozen=True)
class Truth:
    """Where a part is defective, at EVALUATION_SIDE; channels: None where the mask does not tell defects apart."""

    mask: Mask
    channels: tuple[DefectChannel, ...] | None


class TruthReader:
    """Reads masks as test pictures ask for them; defects_config.json only when there are channels."""

    def __init__(self, data: Path, reader: ImageReader = PLAIN) -> None:
        self._reader = reader
        self._config = data / DEFECTS_CONFIG
        self._saturations = _saturations(self._config)

    def truth(self, picture: LabelledPicture, image: U8, view: FieldOfView) -> Truth | None:
        """None for a defective picture without a mask; nothing is defective in a good one."""
        side = EVALUATION_SIDE
        if not picture.defective:
            return Truth(np.zeros((side, side), np.bool_), ())
        if picture.mask is None:
            return None
        if picture.mask.is_file():
            levels = self._levels(picture.mask, picture, image, view)
            return Truth(_at_evaluation_side(marked(levels)), None)
        channels = []
        for path in self._reader.pictures_in(picture.mask):
            grey = self._levels(path, picture, image, view)
            area = int(np.count_nonzero(grey))
            # a defect outside the region of interest is none
            if area:
                mask = _at_evaluation_side(grey > 0)
                share = self._share(path, int(grey.max()), area)
                channels.append(DefectChannel(mask, share * int(np.count_nonzero(mask))))
        whole = np.any([channel.mask for channel in channels], axis=0) if channels else np.zeros((side, side), np.bool_)
        return Truth(whole, tuple(channels))

    def _levels(self, path: Path, picture: LabelledPicture, image: U8, view: FieldOfView) -> NDArray[np.uint16]:
        """The mask's levels inside the region of interest."""
        levels = mask_levels(path, self._reader)
        if levels.shape != image.shape[:2]:
            raise UsageError(
                f"{path} is {levels.shape[1]}x{levels.shape[0]} px, "
                f"its picture {picture.path.name} is {image.shape[1]}x{image.shape[0]} px",
                fix="make the mask anew from this picture",
            )
        return levels[view.y : view.y + view.height, view.x : view.x + view.width]

    def _share(self, path: Path, grey: int, area_px: int) -> float:
        """Of the defect, whether in picture or in evaluation pixels; all of it where nothing is configured."""
        if self._saturations is None:
            return 1.0
        if grey not in self._saturations:
            known = ", ".join(str(value) for value in sorted(self._saturations))
            raise UsageError(
                f"{path}: its grey value {grey} is not in {self._config}, which knows {known}",
                fix=f"add the defect to {DEFECTS_CONFIG}, or remove that file to count every defect in full",
            )
        return self._saturations[grey].share(area_px)


def _saturations(config: Path) -> dict[int, _Saturation] | None:
    if not config.exists():
        return None
    try:
        entries = TypeAdapter(list[_Saturation]).validate_json(config.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(
            f"{config}: {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}",
            fix="a list of objects with defect_name, pixel_value, saturation_threshold and relative_saturation",
        ) from error
    return {entry.pixel_value: entry for entry in entries}


def _at_evaluation_side(mask: Mask) -> Mask:
    """Nearest neighbour; a defect that falls between the samples keeps every place it touches."""
    size = (EVALUATION_SIDE, EVALUATION_SIDE)
    grey = mask.astype(np.uint8)
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST) > 0)
    if mask.any() and not small.any():
        small = np.asarray(cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
    return small


def map_at_evaluation_side(values: F32) -> F32:
    """Bilinear at pixel centres."""
    size = (EVALUATION_SIDE, EVALUATION_SIDE)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)


# --- what training has seen


class SeenPictures:
    """Which pictures a bundle was trained on, by their pixels; keeps a list of good test pictures among them."""

    def __init__(self, trained_on: Iterable[str] = (), weak_on: Iterable[str] = ()) -> None:
        self._trained_on, self._weak_on = frozenset(trained_on), frozenset(weak_on)
        self._leaked: list[Path] = []

    @classmethod
    def of(cls, manifest: Manifest) -> SeenPictures:
        compared = () if manifest.golden is None else manifest.golden.calibrated_on
        return cls(manifest.trained_on, (*manifest.weak_on, *compared))

    def leaves_out(self, picture: LabelledPicture, image: U8) -> bool:
        """Whether this test picture must not be counted."""
        if not self._trained_on and not self._weak_on:
            return False
        sha256 = image_sha256(image)
        if sha256 in self._trained_on and not picture.defective:
            self._leaked.append(picture.path)
        return sha256 in self._trained_on or sha256 in self._weak_on

    def refuse_leaks(self) -> None:
        """Raises UsageError when good test pictures were trained on: a leak, not a protocol."""
        if self._leaked:
            names = ", ".join(str(path) for path in self._leaked[:5])
            more = f" and {len(self._leaked) - 5} more" if len(self._leaked) > 5 else ""
            raise UsageError(
                f"the bundle was trained on {len(self._leaked)} of the good test pictures: {names}{more}",
                fix="remove them from test/good/ (they would look better than they are), or train without them",
            )

    def weak_kinds(self, data: Path) -> frozenset[str]:
        """Defect kinds of which training saw labelled examples, from train/weak/<kind>/."""
        root = data / "train" / "weak"
        if not self._weak_on or not root.is_dir():
            return frozenset()
        return frozenset(
            folder.name
            for folder in class_folders(root)
            if any(image_sha256(read_image(path)) in self._weak_on for path in list_pictures(folder))
        )
