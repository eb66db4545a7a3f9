"""Pictures of good parts from any source; at a terminal a person says when one is taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.capture.capture import Capture
from edge.capture.sources import open_source
from edge.capture.triggers.motion_trigger import MotionTrigger
from edge.cli.keyboard import Keyboard, show_keys
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Reason
from edge.core.errors import UsageError
from edge.core.progress import say, working

if TYPE_CHECKING:
    from calibration.samples.collection import Collection

_WAIT_S = 0.1
# without a new sample for so long, a person is told that it still waits
_QUIET_S = 30.0
_LOOKED_AT = 100
# refusals of one kind among files that are told one by one
_TOLD_OF_A_KIND = 6


class Stopped(Exception):
    """A person wants no more pictures now, and no training either."""


@dataclass(frozen=True)
class Taking:
    """How pictures are taken from a source that does not end: by itself, every so often, or when Enter is pressed."""

    by_itself: bool = False
    interval_s: float | None = None


def collect_files(collection: Collection, camera: str, settings: Settings, taking: Taking) -> None:
    """Every picture of a folder; of a video each time a part lies still, or every interval."""
    # a folder is waited at for more only where it is known how many are wanted
    waits = settings.camera.watch and collection.wanted is not None
    source = open_source(camera, settings.camera.model_copy(update={"watch": waits}))
    watch, next_s = MotionTrigger(), 0.0
    frames_per_s = source.recorded_fps
    looked_at = 0
    try:
        while not collection.full and (frame := source.read()) is not None:
            looked_at += 1
            if looked_at % _LOOKED_AT == 0:
                say(f"  {looked_at} pictures looked at, {len(collection.kept)} samples")
            if frames_per_s is not None and frame.image is not None:
                at_s = frame.index / frames_per_s
                if taking.interval_s is None and not watch.is_new_and_still(frame.image, at_s):
                    continue
                if taking.interval_s is not None and at_s < next_s:
                    continue
                next_s = at_s + (taking.interval_s or 0.0)
            name = frame.source if frames_per_s is None else f"{frame.source}, frame {frame.index + 1}"
            fault = "" if frame.fault is None else frame.fault.detail.removeprefix(f"{Path(name).name}: ")
            if not collection.offer(frame.image, fault, name):
                rejected = collection.turned_away[-1]
                seen = sum(each.reason is rejected.reason for each in collection.turned_away)
                if seen <= _TOLD_OF_A_KIND:
                    say(f"  {Path(name).name}: {rejected}")
                elif seen == _TOLD_OF_A_KIND + 1:
                    say(f"  ... and more that are {rejected.reason}")
    finally:
        source.close()


def collect_live(collection: Collection, camera: str, settings: Settings, taking: Taking, keyboard: Keyboard) -> None:
    """Pictures of a live source until there are enough, or a person says so; raises Stopped."""
    with working("waiting for the camera to answer"):
        capture = Capture(
            lambda: open_source(camera, settings.camera), settings.camera, settings.freshness, RunCounters()
        )
    try:
        _Live(collection, taking, keyboard).run(_frames(capture))
    finally:
        capture.close()


def _frames(capture: Capture) -> Iterator[Frame | None]:
    while not capture.ended:
        yield capture.take(_WAIT_S)


class _Live:
    def __init__(self, collection: Collection, taking: Taking, keyboard: Keyboard) -> None:
        self._collection, self._keyboard = collection, keyboard
        self._by_itself, self._interval_s = taking.by_itself, taking.interval_s
        self._watch = MotionTrigger()
        self._asked_ns: int | None = None
        self._next_s = 0.0
        self._camera_fault = self._last_refusal = ""
        self._news_s = time.monotonic()

    def run(self, frames: Iterator[Frame | None]) -> None:
        collection = self._collection
        if self._keyboard.present:
            show_keys()
        for frame in frames:
            if self._obey(self._keyboard.line()):
                return
            if frame is not None and self._look(frame) and collection.full:
                return
            if time.monotonic() - self._news_s > _QUIET_S:
                self._news_s = time.monotonic()
                say(f"  waiting for a new part that lies still; {self._count()} so far, Ctrl-C keeps them")

    def _obey(self, typed: str | None) -> bool:
        """Do what was typed; True when it means that there are enough."""
        if typed is None:
            return False
        if typed == "":
            self._asked_ns = time.perf_counter_ns()
        elif typed == "a":
            self._by_itself = not self._by_itself
            say(
                "  a picture is taken each time a new part lies still" if self._by_itself else "  Enter takes a picture"
            )
        elif typed == "u":
            removed = self._collection.undo()
            say("  there is none to undo" if removed is None else f"  {removed.name} is out again; {self._count()}")
        elif typed == "d":
            return True
        elif typed == "q":
            raise Stopped
        else:
            show_keys()
        return False

    def _look(self, frame: Frame) -> bool:
        """Whether this frame brought a sample."""
        fault = frame.fault
        if frame.image is None or (fault is not None and fault.reason is Reason.FROZEN):
            assert fault is not None
            if fault.detail != self._camera_fault:
                self._camera_fault = fault.detail
                say(f"  camera: {fault.detail}")
            return False
        self._camera_fault = ""
        at_s = frame.captured_ns / 1e9
        # asked every time: the watch must see every picture
        new_part = self._watch.is_new_and_still(frame.image, at_s)
        asked = self._asked_ns is not None and frame.captured_ns >= self._asked_ns
        every = self._interval_s is not None and at_s >= self._next_s
        if not asked and not every and not (self._by_itself and new_part):
            return False
        self._asked_ns = None
        self._next_s = at_s + (self._interval_s or 0.0)
        if self._collection.offer(frame.image):
            self._last_refusal = ""
            self._message(f"  {self._count()}")
            return True
        rejected = self._collection.turned_away[-1]
        # a part that stays where it is would be told again and again
        if asked or str(rejected.reason) != self._last_refusal:
            self._last_refusal = str(rejected.reason)
            self._message(f"     not taken, {rejected}")
        return False

    def _message(self, text: str) -> None:
        self._news_s = time.monotonic()
        say(text)

    def _count(self) -> str:
        wanted = "" if self._collection.wanted is None else f" of {self._collection.wanted}"
        return f"{len(self._collection.kept)}{wanted}"


def require_way(live: bool, taking: Taking, keyboard: Keyboard) -> None:
    """Raises UsageError when nobody can press Enter and nothing else says when to take a picture."""
    if live and not keyboard.present and not taking.by_itself and taking.interval_s is None:
        raise UsageError(
            "when shall a picture be taken? There is no terminal on which Enter could be pressed",
            fix="give --auto (each time a new part lies still) or --interval SECONDS",
        )
