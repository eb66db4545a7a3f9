"""Frame → Verdict. No I/O and no threads, so that a replay is the same computation as the line."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from edge.backends.base import Backend, KeptWarm
from edge.backends.golden import GoldenComparison
from edge.core.datatypes import Decision, Fault, Frame, Reason, Verdict
from edge.core.errors import ModelError, NoReference, PartNotFound
from edge.core.latency import StageClock
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView, defect_regions, part_scores

# no defect is so large: of a map above the pixel threshold
_UNLIKE_SHARE = 0.5


@dataclass(eq=False)
class Inspector:
    """Judge frames with one backend and the thresholds that were fitted on it.

    threshold is compared with the image score, pixel_threshold with the map; both are in score units. caveat: what
    every verdict's detail ends with, for a backend that is not the one they were fitted on. review_threshold: parts
    above it are marked for review where they are not NG; None: no unsure band. certain_threshold: the detail of an NG
    part up to it says that it is close; None: of none. golden: what each frame is compared with beside the network;
    None: nothing. recipe: the name of the recipe that it judges by; empty without recipes.
    """

    backend: Backend
    preprocess: Preprocess
    threshold: float
    pixel_threshold: float
    bundle_sha256: str
    caveat: str = ""
    review_threshold: float | None = None
    certain_threshold: float | None = None
    golden: GoldenComparison | None = None
    recipe: str = ""

    def __post_init__(self) -> None:
        self._caveat = f"; {self.caveat}" if self.caveat else ""

    def inspect(self, frame: Frame) -> Verdict:
        """Judge one frame; a fault, a frame that the ROI does not fit, or a failing model gives INVALID."""
        clock = StageClock(frame.captured_ns)
        if frame.fault is not None or frame.image is None:
            assert frame.fault is not None
            return self.invalid(frame, frame.fault, clock)
        view = self.preprocess.field_of_view(frame.image.shape[0], frame.image.shape[1])
        if view is None:
            height, width = frame.image.shape[:2]
            left, top, across, down = self.preprocess.rectangle or (0, 0, 0, 0)
            detail = (
                f"the region of interest does not lie inside the frame of {width}x{height} px: "
                f"roi.rectangle of the bundle is {across}x{down} px from ({left}, {top})"
            )
            return self.invalid(frame, Fault(Reason.WRONG_SIZE, detail), clock)
        try:
            network_map = anomaly_map = self.backend.score(frame.image, clock)
            if self.golden is not None:
                golden = self.golden.pictures.of(frame.source)
                anomaly_map = self.golden.joined(network_map, frame.image, golden)
                clock.lap("residual")
        except PartNotFound as error:
            return self.invalid(frame, Fault(Reason.PART_NOT_FOUND, error.message), clock)
        except NoReference as error:
            return self.invalid(frame, Fault(Reason.NO_REFERENCE, error.message), clock)
        except ModelError as error:
            return self.invalid(frame, Fault(Reason.MODEL_ERROR, error.message), clock)
        score, from_here = anomaly_map.score, self.review_threshold
        defective = score > self.threshold
        unsure = not defective and from_here is not None and score > from_here
        regions = defect_regions(anomaly_map, self.pixel_threshold, view) if defective or unsure else ()
        parts = part_scores(anomaly_map, view)
        clock.lap("decide")
        sign = ">" if defective else "<="
        why = f", > review threshold {from_here:.4g}" if unsure else ""
        if defective and self.certain_threshold is not None and score <= self.certain_threshold:
            why = f", close: unusual good parts reach up to {self.certain_threshold:.4g}"
        if defective and network_map.score <= self.threshold:
            why = "; it differs from its golden picture"
        why += f"; the worst of {len(parts)} parts" if parts else ""
        share = anomaly_map.area_px / max(1, anomaly_map.values.size)
        if defective and share > _UNLIKE_SHARE:
            why += (
                f"; {share:.0%} of the picture is unlike anything taught: an empty place, another part, other light, "
                "or a camera that has just been opened (camera.skip_first_frames)?"
            )
        return Verdict(
            frame_index=frame.index,
            decision=Decision.NG if defective else Decision.OK,
            reason=Reason.ABOVE_THRESHOLD if defective else Reason.BELOW_THRESHOLD,
            detail=f"score {score:.4g} {sign} threshold {self.threshold:.4g}{why}{self._caveat}",
            score=score,
            threshold=self.threshold,
            regions=regions,
            times=clock.times(),
            bundle_sha256=self.bundle_sha256,
            model_sha256=self.backend.model_sha256,
            anomaly_map=anomaly_map if anomaly_map.values.size else None,
            review=unsure,
            parts=parts,
            recipe=self.recipe,
        )

    @property
    def rest_every_s(self) -> float | None:
        """How often `rest` wants to be called while no frame comes; None: it does not matter."""
        return self.backend.keep_warm_every_s if isinstance(self.backend, KeptWarm) else None

    def rest(self) -> None:
        """Called while no frame comes; what the backend does then, if anything."""
        if isinstance(self.backend, KeptWarm):
            self.backend.keep_warm()

    def field_of_view(self, height: int, width: int) -> FieldOfView | None:
        """What the map of a frame of this size covers; see Preprocess."""
        return self.preprocess.field_of_view(height, width)

    def try_on(self, frame: Frame, times: int) -> None:
        """Score a frame that the line saw, so often; one that does not fit, or has no picture, tries nothing.

        Raises what the backend raises, ModelError and others.
        """
        if frame.image is None or self.field_of_view(*frame.image.shape[:2]) is None:
            return
        for _ in range(times):
            # a frame without a part says nothing against the version
            with suppress(PartNotFound):
                self.backend.score(frame.image, StageClock(time.perf_counter_ns()))

    def invalid(self, frame: Frame, fault: Fault, clock: StageClock | None = None) -> Verdict:
        """The verdict on a frame that was not, or not in time, inspected."""
        clock = clock or StageClock(frame.captured_ns)
        clock.lap("decide")
        return Verdict(
            frame_index=frame.index,
            decision=Decision.INVALID,
            reason=fault.reason,
            detail=fault.detail + self._caveat,
            score=None,
            threshold=self.threshold,
            regions=(),
            times=clock.times(),
            bundle_sha256=self.bundle_sha256,
            model_sha256=self.backend.model_sha256,
            recipe=self.recipe,
        )
