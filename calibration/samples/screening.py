"""Which pictures are fit to be samples of good parts: every one is taken, or turned away with the numbers that say why.

Needs numpy and cv2 alone. Pictures pass one at a time; of each a few kilobytes are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from calibration.samples.features import FEATURE, FEATURES, SampleFeatures, measure_sample
from calibration.samples.statistics import DISTANCES, ENOUGH, SampleStatistics, common_size, statistics_of
from edge.capture.freshness import FreshnessCheck
from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.capture.images.rejected_images import MOST_REMEMBERED, RejectedImages
from edge.capture.triggers.motion_trigger import SAME_LEVELS, levels_apart, same_moment_slack
from edge.core.config import FreshnessSettings
from edge.core.datatypes import F32, U8

# robust standard deviations from which on a sample is no longer believed: far out, because the tail of good parts is
# what a threshold must know
_FAR = 5.0
_SIGNATURE_SIDE = 16
# where less than this share of the part's contrast is left, there is no part
_ABSENT = 0.35
# parts that always lie the same way correlate so with their typical picture; another product falls so far below
_ALIGNED, _FALL = 0.75, 0.25
# judged before focus, which bad light spoils
_LIGHT, _SHARPNESS = ("brightness", "green to red", "blue to yellow"), ("focus", "edges")
# for parts that vary: colour and detail that no change of light explains
_OTHER_COLOUR_LEVELS, _OTHER_EDGES = 25.0, np.log(3)


class Reason(str, Enum):
    """Why a picture is no sample. Those after DUPLICATE are suspicions, which a person may overrule."""

    UNREADABLE = "unreadable"
    WRONG_SIZE = "wrong size"
    BLACK = "black"
    SATURATED = "saturated"
    DUPLICATE = "duplicate"
    EMPTY = "no part"
    BLURRED = "blurred"
    INCONSISTENT = "inconsistent"
    OTHER_PRODUCT = "other product"

    def __str__(self) -> str:
        return self.value

    @property
    def suspicion(self) -> bool:
        return self in (Reason.EMPTY, Reason.BLURRED, Reason.INCONSISTENT, Reason.OTHER_PRODUCT)


@dataclass(frozen=True)
class Sample:
    """A picture, uint8 (H, W, 3) BGR, or None and what is wrong with it; name: its file, or what people call it.

    origin: what people call it, where that is another file than the one it is to be kept in.
    """

    name: str
    picture: U8 | None
    trouble: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Rejected:
    """A picture that is no sample; detail has the numbers."""

    name: str
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class Screening:
    """Names of the samples, in the order they came, and of what was turned away.

    statistics: of the accepted ones, None for fewer than ENOUGH; the `Screener` of later samples takes it as reference.
    """

    accepted: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    statistics: SampleStatistics | None

    @property
    def suspicious(self) -> tuple[Rejected, ...]:
        return tuple(each for each in self.rejected if each.reason.suspicion)

    def counts(self) -> dict[Reason, int]:
        """How many were rejected, by reason, the most frequent first."""
        found = {reason: sum(each.reason is reason for each in self.rejected) for reason in Reason}
        return dict(sorted(((reason, n) for reason, n in found.items() if n), key=lambda item: -item[1]))

    def summary(self) -> str:
        """60 accepted, 5 rejected: 3 duplicate, 2 blurred."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts().items())
        return f"{len(self.accepted)} accepted, {len(self.rejected)} rejected{': ' if reasons else ''}{reasons}"


def read_samples(paths: Iterable[Path], reader: ImageReader = PLAIN) -> Iterator[Sample]:
    """The pictures of these files, one at a time; a file that cannot be read is a sample with its trouble."""
    for path in paths:
        frame = reader.look(path)
        trouble = "" if frame.fault is None else frame.fault.detail.removeprefix(f"{path.name}: ")
        yield Sample(str(path), frame.image, trouble)


class Screener:
    """Looks at samples as they come, and once more at all of them together.

    reference: statistics of known good parts, so that samples of another product are seen; their light may differ.
    rectangle: x, y, width, height of what is inspected, in px; only that is judged. invalid: samples that the line
    would not judge.
    """

    def __init__(
        self,
        reference: SampleStatistics | None = None,
        *,
        freshness: FreshnessSettings | None = None,
        rectangle: tuple[int, int, int, int] | None = None,
    ) -> None:
        self._reference = reference
        # not live: its check of sizes and of frozen pictures is another here
        self._check = FreshnessCheck(freshness or FreshnessSettings(), live=False)
        self.invalid = RejectedImages(freshness or FreshnessSettings())
        self._rectangle = rectangle
        self._samples: list[SampleFeatures] = []
        self._hashes: dict[str, str] = {}
        self._signatures = np.empty((0, _SIGNATURE_SIDE**2), np.float32)
        self._rejected: deque[Rejected] = deque(maxlen=MOST_REMEMBERED)
        self._known: SampleStatistics | None = None

    @property
    def turned_away(self) -> tuple[Rejected, ...]:
        """What `add` rejected; a screening tells these first."""
        return tuple(self._rejected)

    def forget(self, name: str) -> None:
        """Take a sample out again, as if it had never come."""
        for index in [index for index, sample in enumerate(self._samples) if sample.name == name]:
            del self._hashes[self._samples.pop(index).sha256]
            self._signatures = np.delete(self._signatures, index, 0)

    def add(self, sample: Sample, *, at_once: bool = False) -> Rejected | None:
        """Why the picture is no sample, or None so far; one that is told here is not looked at again.

        at_once: hold it against those before it, too, once there are enough; else only `screening` does.
        """
        found = self._fault(sample)
        if isinstance(found, SampleFeatures) and at_once and len(self._samples) >= ENOUGH:
            found = self._against_earlier(found) or found
        if isinstance(found, Rejected):
            self._rejected.append(found)
            return found
        self._samples.append(found)
        self._remember(found)
        return None

    def screening(self) -> Screening:
        """Judge all that were added by what they have in common. May be called again after more were added."""
        rejected = list(self._rejected)
        size = common_size(self._samples)
        fitting = []
        for sample in self._samples:
            if size not in (None, (sample.height_px, sample.width_px)):
                detail = f"{sample.width_px}x{sample.height_px} px, most are {size[1]}x{size[0]} px"
                rejected.append(Rejected(sample.name, Reason.WRONG_SIZE, detail))
            else:
                fitting.append(sample)
        accepted = fitting
        if len(fitting) >= ENOUGH:
            known = statistics_of(fitting)
            verdicts = [_strangeness(sample, known) for sample in fitting]
            rejected += [verdict for verdict in verdicts if verdict is not None]
            accepted = [sample for sample, verdict in zip(fitting, verdicts, strict=True) if verdict is None]
        statistics = statistics_of(accepted) if len(accepted) >= ENOUGH else None
        return Screening(tuple(sample.name for sample in accepted), tuple(rejected), statistics)

    def _fault(self, sample: Sample) -> Rejected | SampleFeatures:
        """What can be said of a picture alone, and of two."""
        if sample.picture is None:
            return Rejected(sample.name, Reason.UNREADABLE, sample.trouble)
        picture = sample.picture
        height, width = picture.shape[:2]
        known = self._reference
        if known is not None and known.height_px and (height, width) != (known.height_px, known.width_px):
            detail = f"{width}x{height} px, known good parts have {known.width_px}x{known.height_px} px"
            return Rejected(sample.name, Reason.WRONG_SIZE, detail)
        x, y, across, down = self._rectangle or (0, 0, width, height)
        if x + across > width or y + down > height:
            detail = f"{width}x{height} px; the region {self._rectangle} does not lie inside"
            return Rejected(sample.name, Reason.WRONG_SIZE, detail)
        fault = self._check.fault(picture)
        if fault is not None:
            self.invalid.add(sample.origin or Path(sample.name).name, picture, fault)
            return Rejected(sample.name, Reason(str(fault.reason).replace("_", " ")), fault.detail)
        found = measure_sample(sample.name, picture, picture[y : y + down, x : x + across])
        if found.sha256 in self._hashes:
            return Rejected(
                sample.name, Reason.DUPLICATE, f"the same pixels as {Path(self._hashes[found.sha256]).name}"
            )
        same = self._same_moment(found)
        if same is not None:
            return Rejected(sample.name, Reason.DUPLICATE, same)
        return found if known is None else _foreign(found, known) or found

    def _remember(self, sample: SampleFeatures) -> None:
        self._hashes[sample.sha256] = sample.name
        count = len(self._samples)
        if count > len(self._signatures):
            more = np.empty((max(64, len(self._signatures)), self._signatures.shape[1]), np.float32)
            self._signatures = np.concatenate([self._signatures, more])
        self._signatures[count - 1] = _signature(sample.small)

    def _same_moment(self, sample: SampleFeatures) -> str | None:
        """What an earlier picture has in common with this one if it shows the same part, not moved."""
        signature = _signature(sample.small)
        earlier = self._signatures[: len(self._samples)]
        # the mean of cells differs by no more than the cells do: no pair is missed
        slack = same_moment_slack(float(np.sqrt((signature**2).mean())))
        near = np.flatnonzero(((earlier - signature) ** 2).mean(1) <= slack**2)
        for index in near:
            difference = levels_apart(sample.small, self._samples[index].small)
            if difference <= SAME_LEVELS:
                earlier_name = Path(self._samples[index].name).name
                return (
                    f"shows what {earlier_name} shows: {difference:.2f} grey levels apart, "
                    f"noise alone makes up to {SAME_LEVELS:g}"
                )
        return None

    def _against_earlier(self, sample: SampleFeatures) -> Rejected | None:
        if self._known is None or len(self._samples) >= 1.25 * self._known.count:
            self._known = statistics_of(self._samples)
        known = self._known
        if known.height_px and (sample.height_px, sample.width_px) != (known.height_px, known.width_px):
            detail = f"{sample.width_px}x{sample.height_px} px, most are {known.width_px}x{known.height_px} px"
            return Rejected(sample.name, Reason.WRONG_SIZE, detail)
        return _strangeness(sample, known)


def _signature(small: U8) -> F32:
    """Grey, every cell of four, and without its mean."""
    half = small.shape[0] // _SIGNATURE_SIDE
    cells = small.reshape(_SIGNATURE_SIDE, half, _SIGNATURE_SIDE, half, 3).mean((1, 3, 4)).ravel()
    return np.asarray(cells - cells.mean(), np.float32)


def _strangeness(sample: SampleFeatures, known: SampleStatistics) -> Rejected | None:
    """The first and gravest way in which the sample is unlike the others."""
    # where parts do not lie the same way, the centre of what is seen says nothing
    everything = tuple(name for name in FEATURE if known.likeness >= _ALIGNED or not name.startswith("place"))
    return (
        _empty(sample, known)
        or _far_feature(sample, known, Reason.INCONSISTENT, _LIGHT)
        or _far_feature(sample, known, Reason.BLURRED, _SHARPNESS)
        or _far_feature(sample, known, Reason.INCONSISTENT, everything)
        or _unlike(sample, known, Reason.INCONSISTENT)
        or _far_distance(sample, known)
    )


def shows_no_part(picture: U8, region: U8, known: SampleStatistics) -> bool:
    """Whether little is left of what stands out from the background in the samples; region: what is inspected."""
    return _empty(measure_sample("", picture, region), known) is not None


def _empty(sample: SampleFeatures, known: SampleStatistics) -> Rejected | None:
    if known.presence > 0:
        presence = known.presence_of(sample)
        fall = np.log((known.presence + 1) / (presence + 1))
        if fall < -np.log(_ABSENT) or fall < _FAR * known.presence_spread:
            return None
        detail = (
            f"where the others show the part, it stands out from the background by {presence:.0f} levels; "
            f"theirs by {known.presence:.0f}"
        )
        return Rejected(sample.name, Reason.EMPTY, detail)
    edges = FEATURE["edges"]
    fall = known.centre[edges] - sample.values[edges]
    if fall < -np.log(_ABSENT) or fall < _FAR * known.spread[edges]:
        return None
    return Rejected(sample.name, Reason.EMPTY, _against(sample, known, edges))


def _far_feature(
    sample: SampleFeatures, known: SampleStatistics, reason: Reason, names: Sequence[str]
) -> Rejected | None:
    """The feature of these that is furthest out; a picture is blurred by too little focus or edges, not by too much."""
    deviations = (sample.values - known.centre) / known.spread
    if reason is Reason.BLURRED:
        deviations = np.minimum(deviations, 0)
    worst = max((FEATURE[name] for name in names), key=lambda index: abs(deviations[index]))
    if abs(deviations[worst]) <= _FAR:
        return None
    return Rejected(sample.name, reason, _against(sample, known, worst))


def _far_distance(sample: SampleFeatures, known: SampleStatistics) -> Rejected | None:
    distances = known.distances(sample)
    deviations = (distances - known.distance_centre) / known.distance_spread
    worst = int(np.argmax(deviations))
    if deviations[worst] <= _FAR:
        return None
    times = float(np.exp(distances[worst] - known.distance_centre[worst]))
    allowed = float(np.exp(_FAR * known.distance_spread[worst]))
    where = {"difference": "the whole picture is", "spot": "its most unusual spot is"}[DISTANCES[worst]]
    detail = f"{where} {times:.1f} times as far from the typical one as usual, {allowed:.1f} times is the limit"
    return Rejected(sample.name, Reason.INCONSISTENT, detail)


def _unlike(sample: SampleFeatures, known: SampleStatistics, reason: Reason) -> Rejected | None:
    """A picture whose bright and dark places are others than those of parts that always lie the same way."""
    limit = known.likeness - max(_FALL, _FAR * known.likeness_spread)
    likeness = known.likeness_of(sample)
    if known.likeness < _ALIGNED or likeness >= limit:
        return None
    detail = (
        f"correlation {likeness:.2f} with the typical picture; {known.likeness:.2f} is usual, {limit:.2f} would pass"
    )
    return Rejected(sample.name, reason, detail)


def _foreign(sample: SampleFeatures, known: SampleStatistics) -> Rejected | None:
    """A sample of another product than the known one; only what no change of light or place explains counts."""
    if known.likeness >= _ALIGNED:
        return _unlike(sample, known, Reason.OTHER_PRODUCT)
    colours = [FEATURE["green to red"], FEATURE["blue to yellow"]]
    apart = np.abs(sample.values - known.centre)
    colour = float(np.hypot(*np.maximum(apart[colours] - _FAR * known.spread[colours], 0)))
    if colour > _OTHER_COLOUR_LEVELS:
        worst = max(colours, key=lambda index: apart[index])
        return Rejected(sample.name, Reason.OTHER_PRODUCT, _against(sample, known, worst))
    edges = FEATURE["edges"]
    if apart[edges] > max(_OTHER_EDGES, _FAR * known.spread[edges]):
        return Rejected(sample.name, Reason.OTHER_PRODUCT, _against(sample, known, edges))
    return None


def _against(sample: SampleFeatures, known: SampleStatistics, index: int) -> str:
    """brightness 52 levels; 128 is usual here, 104 to 152 would pass."""
    feature, value, usual = FEATURES[index], sample.values[index], known.centre[index]
    reach = _FAR * known.spread[index]
    if feature.logarithmic:
        share, least, most = (100 * float(np.exp(by)) for by in (value - usual, -reach, reach))
        return f"{feature.name} is {share:.3g} % of what is usual here; {least:.3g} to {most:.3g} % would pass"
    return (
        f"{feature.name} {value:.3g}{feature.unit}; {usual:.3g} is usual here, "
        f"{usual - reach:.3g} to {usual + reach:.3g} would pass"
    )
