"""What a group's line begins with, and what follows it: the bundle of each camera, its versions, its drift."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge.bundles.bundle import ModelBundle
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict
from edge.core.errors import EdgeInspectError
from edge.inspection.drift_watch import drift_monitor
from edge.inspection.group.inspector import GroupInspector, group_inspector
from edge.inspection.inspector import Inspector
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.inspectors import live_bundle, make_inspectors
from edge.inspection.recipes.opening import version_watch
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.drift_monitor import DriftMonitor
from edge.records.store import CAMERA_BUNDLES, RunInfo


@dataclass(frozen=True)
class CameraBundle:
    """A bundle, and the cameras that are judged by it. settings: of a line that has one of them alone."""

    cameras: tuple[str, ...]
    settings: Settings
    bundle: ModelBundle


@dataclass(frozen=True)
class LoadedGroup:
    """names: of the cameras, in their order."""

    names: tuple[str, ...]
    bundles: tuple[CameraBundle, ...]
    pool: InspectorPool

    @property
    def products(self) -> str:
        return ", ".join(dict.fromkeys(each.bundle.manifest.product for each in self.bundles))

    @property
    def judging(self) -> list[tuple[ModelBundle, Inspector]]:
        """Each camera's bundle and inspector, in the order of the cameras."""
        bundle_of = {name: each.bundle for each in self.bundles for name in each.cameras}
        (group, *_) = _groups(self.pool)
        return [(bundle_of[name], group.inspector_of(name)) for name in self.names]

    def in_records(self, info: RunInfo) -> RunInfo:
        """What the records say of the run, with the places of the cameras' bundles, for replay."""
        places = {name: str(each.bundle.path.resolve()) for each in self.bundles for name in each.cameras}
        return replace(info, config=json.dumps({**json.loads(info.config), CAMERA_BUNDLES: places}))

    def version_watch(self, counters: RunCounters) -> GroupVersions:
        return GroupVersions(self, counters)

    def drift_watch(self, counters: RunCounters, alarms: AlarmLog) -> GroupDrift:
        return GroupDrift(self, counters, alarms)


def open_group(settings: Settings, count: int) -> LoadedGroup:
    """Load the bundles of the settings' group for `count` inspection threads. Cameras that have the same bundle share
    its network: their pictures are judged one after the other.

    Raises BundleError and CalibrationMismatch, which name the camera.
    """
    shared: dict[tuple[str | None, str | None], list[str]] = {}
    for name in settings.group.names:
        inspection = settings.of_camera(name).inspection
        shared.setdefault((inspection.bundle, inspection.reference), []).append(name)
    bundles, inspectors = [], []
    try:
        for names in shared.values():
            own = settings.of_camera(names[0])
            try:
                bundle = live_bundle(own)
                inspectors.append(make_inspectors(bundle, own, count))
            except EdgeInspectError as error:
                raise type(error)(f"camera {' and '.join(names)}: {error.message}", fix=error.fix) from error
            bundles.append(CameraBundle(tuple(names), own, bundle))
    except BaseException:
        for inspector in (each for made in inspectors for each in made):
            inspector.backend.close()
        raise
    of_camera = {name: made for each, made in zip(bundles, inspectors, strict=True) for name in each.cameras}
    groups = [group_inspector([(name, of_camera[name][k]) for name in settings.group.names]) for k in range(count)]
    return LoadedGroup(settings.group.names, tuple(bundles), InspectorPool(groups))


class CameraPool:
    """The inspectors of some cameras in a group's pool, as a pool of their own."""

    def __init__(self, pool: InspectorPool, cameras: Sequence[str]) -> None:
        self._pool, self._cameras = pool, tuple(cameras)

    @property
    def inspectors(self) -> tuple[Inspector, ...]:
        return tuple(group.inspector_of(self._cameras[0]) for group in _groups(self._pool))

    def replace(self, inspectors: Sequence[Inspector]) -> None:
        """From the next part on these judge for the cameras; for the others nothing changes."""
        following = zip(_groups(self._pool), inspectors, strict=True)
        self._pool.replace([group.with_inspector(self._cameras, inspector) for group, inspector in following])

    def close_retired(self) -> None:
        self._pool.close_retired()


def _groups(pool: InspectorPool) -> list[GroupInspector]:
    groups = [group for group in pool.inspectors if isinstance(group, GroupInspector)]
    assert len(groups) == len(pool.inspectors), "a group's pool holds nothing else"
    return groups


class GroupVersions:
    """A job of the poller, and a sink: each bundle of a group is followed as that of a line with one camera is."""

    name = "bundle"

    def __init__(self, group: LoadedGroup, counters: RunCounters) -> None:
        self._line = counters
        self._counters = {each.cameras: RunCounters() for each in group.bundles}
        self._watches = {
            each.cameras: version_watch(
                each.settings, each.bundle, CameraPool(group.pool, each.cameras), self._counters[each.cameras]
            )
            for each in group.bundles
        }

    def write(self, frame: Frame, verdict: Verdict) -> None:
        judged = {each.camera: each.verdict for each in verdict.cameras}
        for view in frame.views:
            for cameras, watch in self._watches.items():
                if view.camera in cameras and view.camera in judged:
                    watch.write(view.frame, judged[view.camera])

    def close(self) -> None:
        """The pool stays open, for who made it."""

    def poll(self) -> None:
        failures = []
        for watch in self._watches.values():
            try:
                watch.poll()
            # of one bundle; the others are followed nevertheless
            except Exception as error:  # noqa: BLE001
                failures.append(error)
        self._line.switches = sum(own.switches for own in self._counters.values())
        self._line.bundle_state = _told({names: own.bundle_state for names, own in self._counters.items()})
        self._line.learning_state = _told({names: own.learning_state for names, own in self._counters.items()})
        if failures:
            raise failures[0]

    def end(self) -> None:
        for watch in self._watches.values():
            watch.end()


class GroupDrift:
    """A sink: each camera's pictures and scores are compared with its own bundle's calibration."""

    def __init__(self, group: LoadedGroup, counters: RunCounters, alarms: AlarmLog) -> None:
        self._line = counters
        self._monitors: dict[str, DriftMonitor] = {}
        self._counters: dict[str, RunCounters] = {}
        for each in group.bundles:
            for camera in each.cameras:
                self._counters[camera] = RunCounters()
                self._monitors[camera] = drift_monitor(
                    each.bundle, each.settings, self._counters[camera], alarms.of(f"camera {camera}")
                )

    def write(self, frame: Frame, verdict: Verdict) -> None:
        judged = {each.camera: each.verdict for each in verdict.cameras}
        for view in frame.views:
            if view.camera in judged:
                self._monitors[view.camera].write(view.frame, judged[view.camera])
        self._line.unmeasured = sum(own.unmeasured for own in self._counters.values())
        self._line.drift_state = _told({(name,): own.drift_state for name, own in self._counters.items()})

    def close(self) -> None:
        """At the same time, within a second."""
        closing = [threading.Thread(target=monitor.close) for monitor in self._monitors.values()]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()


def _told(states: dict[tuple[str, ...], str]) -> str:
    """`left: …; right: …`; once where all say the same, and empty where none says anything."""
    told = {", ".join(names): state for names, state in states.items() if state}
    if len(set(told.values())) == 1 and len(told) == len(states):
        return next(iter(told.values()))
    return "; ".join(f"{names}: {state}" for names, state in told.items())
