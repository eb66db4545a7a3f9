"""A group's frame → one verdict: each picture is judged by the inspector of its camera's bundle, the worst counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from edge.backends.base import NeedsNewProcess
from edge.core.datatypes import (
    STAGES,
    U8,
    AnomalyMap,
    CameraVerdict,
    CameraView,
    Decision,
    Fault,
    Frame,
    PartScore,
    Reason,
    Region,
    StageTimes,
    Verdict,
)  # fmt: skip
from edge.core.latency import StageClock
from edge.inspection.inspector import Inspector
from edge.preprocessing.regions import FieldOfView

_SEVERITY = {Decision.INVALID: 0, Decision.NG: 1, Decision.OK: 2}


class GroupBackend:
    """The backends of a group as one, as far as lines know backends beside scoring."""

    def __init__(self, inspectors: Sequence[Inspector]) -> None:
        self._inspectors = list(dict.fromkeys(inspectors))
        self._passed_on: set[Inspector] = set()
        self.name = inspectors[0].backend.name
        self.model_sha256 = inspectors[0].backend.model_sha256

    @property
    def needs_new_process(self) -> bool:
        backends = (inspector.backend for inspector in self._inspectors)
        return any(isinstance(backend, NeedsNewProcess) and backend.needs_new_process for backend in backends)

    def pass_on(self, inspectors: Sequence[Inspector]) -> None:
        """Another group has these now: they stay open when this one is closed."""
        self._passed_on.update(inspectors)

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        raise NotImplementedError("a group's picture is judged camera by camera")

    def close(self) -> None:
        for inspector in self._inspectors:
            if inspector not in self._passed_on:
                with suppress(Exception):
                    inspector.backend.close()


@dataclass(eq=False)
class GroupInspector(Inspector):
    """Judges the frames of a group. Made by `group_inspector`; cameras with the same bundle share an inspector.

    What it has in common with an inspector of one camera (thresholds, hashes) is the first camera's; each verdict has
    those of the camera that decided.
    """

    cameras: tuple[tuple[str, Inspector], ...] = ()

    def inspect(self, frame: Frame) -> Verdict:
        """The worst verdict of the cameras: INVALID over NG over OK; among equals, that of the highest score in
        proportion to its threshold. A part that one camera could not show is INVALID."""
        if frame.fault is not None or not frame.views:
            fault = Fault(Reason.NO_FRAME, "the frame is of one camera, and this line's parts are seen by several")
            return self.invalid(frame, frame.fault or fault)
        clock = StageClock(frame.captured_ns)
        judged = [self._judged(view, inspector) for view, inspector in self._paired(frame.views)]
        clock.lap("decide")
        return _joined(frame, judged, clock.times())

    def invalid(self, frame: Frame, fault: Fault, clock: StageClock | None = None) -> Verdict:
        """The verdict on a part that was not, or not in time, inspected; each camera's own fault stays its own.

        What a camera did not show comes first: waiting for it has made the other pictures old.
        """
        whole = super().invalid(frame, _with_cameras(frame, fault), clock)
        frames = {view.camera: view.frame for view in frame.views}
        cameras = []
        for name, inspector in self.cameras:
            own = frames.get(name, frame)
            cameras.append(CameraVerdict(name, inspector.invalid(own, own.fault or fault)))
        return replace(whole, cameras=tuple(cameras))

    def try_on(self, frame: Frame, times: int) -> None:
        for view, inspector in self._paired(frame.views):
            inspector.try_on(view.frame, times)

    def field_of_view(self, height: int, width: int) -> FieldOfView | None:
        """None: each camera's verdict says what its map covers."""
        return None

    @property
    def rest_every_s(self) -> float | None:
        every = [inspector.rest_every_s for _, inspector in self.cameras]
        return min((each for each in every if each is not None), default=None)

    def rest(self) -> None:
        for inspector in dict.fromkeys(inspector for _, inspector in self.cameras):
            inspector.rest()

    def with_inspector(self, names: Sequence[str], inspector: Inspector) -> GroupInspector:
        """A group in which this inspector judges for these cameras. The others' go over to it."""
        cameras = [(name, inspector if name in names else own) for name, own in self.cameras]
        assert isinstance(self.backend, GroupBackend)
        self.backend.pass_on([own for name, own in cameras if name not in names])
        return group_inspector(cameras)

    def inspector_of(self, camera: str) -> Inspector:
        return dict(self.cameras)[camera]

    def _paired(self, views: Sequence[CameraView]) -> list[tuple[CameraView, Inspector]]:
        return [(view, self.inspector_of(view.camera)) for view in views]

    def _judged(self, view: CameraView, inspector: Inspector) -> CameraVerdict:
        frame = view.frame
        try:
            verdict = inspector.inspect(frame)
        # any failure of one camera's model is the verdict of its picture; it is told with the camera's name
        except Exception as error:  # noqa: BLE001
            verdict = inspector.invalid(frame, Fault(Reason.MODEL_ERROR, f"{type(error).__name__}: {error}"))
        field = None
        if frame.image is not None and verdict.score is not None:
            seen = inspector.field_of_view(*frame.image.shape[:2])
            field = None if seen is None else (seen.x, seen.y, seen.width, seen.height)
        return CameraVerdict(view.camera, verdict, field)


def group_inspector(cameras: Sequence[tuple[str, Inspector]]) -> GroupInspector:
    """One inspector of those of the cameras, in their order."""
    first = cameras[0][1]
    return GroupInspector(
        backend=GroupBackend([inspector for _, inspector in cameras]),
        preprocess=first.preprocess,
        threshold=first.threshold,
        pixel_threshold=first.pixel_threshold,
        bundle_sha256=first.bundle_sha256,
        recipe=first.recipe,
        cameras=tuple(cameras),
    )


def _with_cameras(frame: Frame, fault: Fault) -> Fault:
    own = [(view.camera, view.frame.fault) for view in frame.views if view.frame.fault is not None]
    # without any picture the frame's own fault names them
    if not own or frame.image is None:
        return fault
    told = "; ".join(f"camera {camera}: {each.detail}" for camera, each in own)
    return Fault(own[0][1].reason, f"{told}; {fault.detail}")


def _joined(frame: Frame, judged: Sequence[CameraVerdict], times: StageTimes) -> Verdict:
    worst = min(judged, key=severity)
    decided = worst.verdict
    places = {view.camera: view.x for view in frame.views}
    regions = [_moved(region, places[each.camera]) for each in judged for region in each.verdict.regions]
    parts = [_moved_part(part, places[each.camera]) for each in judged for part in each.verdict.parts]
    stages = {
        stage: sum(getattr(each.verdict.times, stage) for each in judged) for stage in STAGES if stage not in _WHOLE
    }
    return replace(
        decided,
        frame_index=frame.index,
        detail=_detail(worst, judged),
        regions=tuple(sorted(regions, key=lambda region: -region.peak)),
        parts=tuple(sorted(parts, key=lambda part: -part.score)),
        times=replace(times, **stages),
        anomaly_map=None,
        review=decided.decision is Decision.OK and any(each.verdict.review for each in judged),
        cameras=tuple(judged),
    )


# of a part, and not of each of its pictures
_WHOLE = ("wait", "total")


def severity(judged: CameraVerdict) -> tuple[int, float]:
    """The lowest decides: INVALID, then NG, and of those the highest score in proportion to its threshold."""
    verdict = judged.verdict
    share = 0.0 if verdict.score is None else verdict.score / max(verdict.threshold, 1e-12)
    return _SEVERITY[verdict.decision], -share


def _detail(worst: CameraVerdict, judged: Sequence[CameraVerdict]) -> str:
    """The camera that decided; of an INVALID part every camera that could not show it, and those that found it NG."""
    if worst.verdict.decision is not Decision.INVALID:
        return f"camera {worst.camera}: {worst.verdict.detail}"
    told = sorted((each for each in judged if each.verdict.decision is not Decision.OK), key=severity)
    return "; ".join(
        f"camera {each.camera}: {'NG, ' * (each.verdict.decision is Decision.NG)}{each.verdict.detail}" for each in told
    )


def _moved(region: Region, x: int) -> Region:
    return replace(region, x=region.x + x)


def _moved_part(part: PartScore, x: int) -> PartScore:
    return replace(part, x=part.x + x)
