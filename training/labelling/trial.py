"""Try rules before a network is trained: on how many good and on how many defective parts does each rule fire?

The difference to the mean good part, in units of its own spread, takes the place of the network's residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.capture.images.image_io import class_folders
from edge.capture.images.image_reader import ImageReader
from edge.core.config import RoiSettings
from edge.core.datatypes import F32, U8
from edge.core.manifest import ScoreSpec
from edge.kernels.statistics import normal_statistics
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from training.data.dataset import load_normal_samples, sample_field
from training.labelling.normal_levels import NormalReference, fit_reference, with_weak_parts
from training.labelling.pseudo_labels import ANOMALOUS_FROM, inspected_mask, pseudo_labels
from training.rules.rulebook import Mask, RuleBook

# the field of the default variant
_SIDE_PX = 256
# enough to see how often a rule fires, and done within a minute
_MOST_PARTS = 100
# a rule that fires this strongly on a region of a part fires on the part
FIRES_FROM = 0.5
# a rule that would label something on more than this share of good parts does not tell defects
SUSPICIOUS_FROM = 0.05


@dataclass(frozen=True)
class RuleTrial:
    """Of one rule: on what share of good parts it fires; on what share such a region would be labelled anomalous; and
    on what share of defective parts it fires, None without any."""

    rule: str
    conclusion: str
    good: float
    labels_good: float
    weak: float | None

    @property
    def suspicious(self) -> bool:
        return self.conclusion == "anomalous" and self.labels_good > SUSPICIOUS_FROM


@dataclass(frozen=True)
class Trial:
    rules: tuple[RuleTrial, ...]
    reference: NormalReference
    normal_samples: int
    weak_parts: int


class MeanPart:
    """The mean of good parts as if it were a reconstruction: z of a picture is its difference to it."""

    def __init__(self, fields: U8) -> None:
        """fields: uint8 (n, s, s, 3), two or more; a part is never compared with a mean that holds it."""
        smooth = np.stack([_smooth(field) for field in fields])
        self._mean: F32 = np.asarray(smooth.mean(0), np.float32)
        count = len(fields)
        # the distance to the mean of the others, from the distance to the mean of all
        errors = np.stack([_error(picture, self._mean) for picture in smooth]) * np.float32(count / (count - 1))
        spec = ScoreSpec()
        self._statistics = normal_statistics(spec, errors, [])
        self._z_max = spec.norm.z_max
        self.normal_zmaps: F32 = self._z(errors)

    def zmap(self, field: U8) -> F32:
        """z (s, s) of a part that is not among the good ones, uint8 (s, s, 3)."""
        return self._z(_error(_smooth(field), self._mean))

    def _z(self, error: F32) -> F32:
        z = (error - self._statistics.mean) * self._statistics.inv_std
        return np.asarray(np.clip(z, 0, self._z_max), np.float32)


def _smooth(field: U8) -> F32:
    # single pixels of noise and edges a pixel off are no deviation
    blurred = np.asarray(cv2.blur(field, (3, 3), borderType=cv2.BORDER_REFLECT), np.float32)
    return np.asarray(blurred / 255, np.float32)


def _error(picture: F32, mean: F32) -> F32:
    return np.asarray(np.abs(picture - mean).mean(-1), np.float32)


def try_rules_on(book: RuleBook, data: Path, roi: RoiSettings, reader: ImageReader) -> Trial:
    """Try rules on the good parts of a folder, and on its defective ones in train/weak/KIND/ if there are any.

    Raises UsageError naming a picture that cannot be used.
    """
    preprocess = Preprocess(_SIDE_PX, _SIDE_PX, *roi.as_tuples)
    fields = load_normal_samples(data, preprocess, reader=reader).fields
    good = fields[np.unique(np.linspace(0, len(fields) - 1, _MOST_PARTS).round().astype(int))]
    kinds = class_folders(data / "train" / "weak")
    weak = [sample_field(path, reader.read(path), preprocess) for kind in kinds for path in reader.pictures_in(kind)]
    polygon = preprocess.weight(*next(read_normal_samples(data, reader)).picture.shape[:2])
    return try_rules(book, good, weak[:_MOST_PARTS], None if polygon is None else polygon > 0)


def try_rules(book: RuleBook, good: U8, weak: Sequence[U8] = (), roi: Mask | None = None) -> Trial:
    """Fit a reference on good parts, uint8 (n, s, s, 3), and judge them and the defective ones by the rules."""
    mean_part = MeanPart(good)
    inspected = inspected_mask(book, roi, good.shape[1], good.shape[2])
    reference = fit_reference(list(good), list(mean_part.normal_zmaps), inspected)
    weak_zmaps = [mean_part.zmap(field) for field in weak]
    if weak:
        reference = with_weak_parts(reference, weak, weak_zmaps, inspected)
    on_good, labelled = _fired(book, reference, list(good), list(mean_part.normal_zmaps), inspected)
    on_weak, _ = _fired(book, reference, weak, weak_zmaps, inspected)
    rules = tuple(
        RuleTrial(
            rule.name,
            rule.conclusion,
            on_good[rule.name] / len(good),
            labelled[rule.name] / len(good),
            on_weak[rule.name] / len(weak) if weak else None,
        )
        for rule in book.rules
    )
    return Trial(rules, reference, len(good), len(weak))


def _fired(
    book: RuleBook, reference: NormalReference, pictures: Sequence[U8], zmaps: Sequence[F32], roi: Mask | None
) -> tuple[dict[str, int], dict[str, int]]:
    """Of how many pictures each rule fires on a region, and on a region that reaches the degree of a defect."""
    fired = {rule.name: 0 for rule in book.rules}
    labelled = dict(fired)
    for picture, zmap in zip(pictures, zmaps, strict=True):
        regions = pseudo_labels(picture, zmap, book, reference, roi=roi).regions
        fired_in = [(f.rule, r.degree) for r in regions for f in r.firings if f.strength >= FIRES_FROM]
        for name in {name for name, _ in fired_in}:
            fired[name] += 1
        for name in {name for name, degree in fired_in if degree >= ANOMALOUS_FROM}:
            labelled[name] += 1
    return fired, labelled
