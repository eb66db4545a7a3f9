import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import pytest

from edge.capture.capture import Capture
from edge.capture.file_sources import PictureFiles
from edge.capture.frame_slot import NewestFrameSlot
from edge.capture.freshness import FreshnessCheck
from edge.capture.images.image_reader import ImageReader
from edge.core.config import CameraSettings, FreshnessSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Fault, Reason
from edge.core.errors import CameraError
from tests.fakes import WAIT_S, ScriptedSource, eventually, frame, picture, write_picture

FAST = CameraSettings(read_timeout_ms=120, reopen_first_ms=1, reopen_max_ms=4)
PATIENT = CameraSettings(read_timeout_ms=60_000, reopen_first_ms=1, reopen_max_ms=4)


class Opener:
    """Gives one source or one failure per opening; counts them and remembers when."""

    def __init__(self, *openings):
        self.openings = list(openings)
        self.opened_at = []

    def __call__(self):
        self.opened_at.append(time.perf_counter())
        opening = self.openings.pop(0) if len(self.openings) > 1 else self.openings[0]
        if isinstance(opening, Exception):
            raise opening
        return opening


@contextmanager
def capturing(*openings, camera=PATIENT, counters=None, **freshness):
    capture = Capture(Opener(*openings), camera, FreshnessSettings(**freshness), counters or RunCounters())
    try:
        yield capture
    finally:
        # a moment later, so that the source finds capture already stopping
        drivers = [opening for opening in openings if isinstance(opening, ScriptedSource)]
        threading.Timer(0.01, lambda: [driver.release() for driver in drivers]).start()
        capture.close()


def take(capture):
    """The next frame that comes, or None when the source is through."""
    end = time.perf_counter() + WAIT_S
    while time.perf_counter() < end and not capture.ended:
        taken = capture.take(0.1)
        if taken is not None:
            return taken
    return None


def waits():
    return threading.Event()


# the slot


def test_a_frame_waiting_too_long_is_replaced_and_counted():
    slot = NewestFrameSlot()
    slot.put(frame(1))
    slot.put(frame(2))
    assert slot.take().index == 2
    assert slot.dropped == 1
    assert slot.take() is None


def test_a_slot_that_keeps_all_lets_the_writer_wait():
    slot = NewestFrameSlot(keep_all=True)
    slot.put(frame(1))
    writer = threading.Thread(target=slot.put, args=(frame(2),))
    writer.start()
    assert slot.take().index == 1
    writer.join(WAIT_S)
    assert slot.take().index == 2
    assert slot.dropped == 0


def test_taking_waits_for_a_frame_that_is_on_its_way():
    slot = NewestFrameSlot()
    threading.Timer(0.02, slot.put, args=(frame(7),)).start()
    assert slot.take(WAIT_S).index == 7


def test_closing_releases_a_waiting_writer_and_a_waiting_reader():
    full, empty = NewestFrameSlot(keep_all=True), NewestFrameSlot()
    full.put(frame(1))
    waiting = [threading.Thread(target=full.put, args=(frame(2),)), threading.Thread(target=empty.take, args=(WAIT_S,))]
    for thread in waiting:
        thread.start()
    full.close()
    empty.close()
    for thread in waiting:
        thread.join(1)
    assert not any(thread.is_alive() for thread in waiting)


# files


def test_every_file_arrives_in_order_however_slow_the_reader(tmp_path):
    paths = [write_picture(tmp_path / f"{number}.png", picture(number)) for number in range(12)]
    counters = RunCounters()
    with capturing(PictureFiles(paths, None, ImageReader(), "parts"), counters=counters) as capture:
        indexes = []
        while (taken := take(capture)) is not None:
            assert (taken.image == picture(taken.index)).all()
            indexes.append(taken.index)
        assert capture.ended
    assert indexes == list(range(12))
    assert (counters.grabbed, counters.dropped, counters.stalls) == (12, 0, 0)


def test_a_pause_between_files_is_no_missing_frame():
    quiet = waits()
    with capturing(ScriptedSource([quiet, frame(0)], live=False), camera=FAST) as capture:
        assert capture.take(0.2) is None
        quiet.set()
        assert take(capture).fault is None


def test_a_reader_that_breaks_ends_a_file_source_with_a_fault():
    with capturing(ScriptedSource([frame(0), RuntimeError("bad sector")], live=False)) as capture:
        taken = [take(capture), take(capture), take(capture)]
    assert taken[1].fault == Fault(Reason.UNDECODABLE, "reading stopped early: RuntimeError: bad sector")
    assert taken[2] is None


# a live source that works


def test_a_busy_reader_gets_the_newest_frame_and_the_others_are_counted():
    counters = RunCounters()
    with capturing(ScriptedSource([frame(number) for number in range(5)] + [waits()]), counters=counters) as capture:
        assert eventually(lambda: counters.grabbed == 5)
        assert (take(capture).image == picture(4)).all()
    assert counters.dropped == 4


def test_indexes_are_consecutive_over_what_is_delivered():
    goes = [waits(), waits()]
    script = [frame(5), goes[0], frame(6), frame(7), goes[1], frame(9), waits()]
    counters = RunCounters()
    with capturing(ScriptedSource(script), counters=counters) as capture:
        indexes = [take(capture).index]
        goes[0].set()
        assert eventually(lambda: counters.grabbed == 3)
        indexes.append(take(capture).index)
        goes[1].set()
        indexes.append(take(capture).index)
    assert indexes == [0, 1, 2]


def test_what_the_freshness_check_finds_comes_with_the_picture():
    with capturing(ScriptedSource([frame(0, picture(0) // 100), waits()])) as capture:
        taken = take(capture)
    assert taken.fault.reason is Reason.BLACK
    assert taken.image is not None


def test_a_fault_of_the_source_is_passed_on():
    fault = Fault(Reason.UNDECODABLE, "torn")
    with capturing(ScriptedSource([frame(0, fault=fault), waits()])) as capture:
        assert take(capture).fault == fault


def test_a_camera_that_is_not_there_is_an_error_at_once():
    with pytest.raises(CameraError, match="gone"), capturing(CameraError("gone", fix="plug it in")):
        pass


# a live source that fails


def test_a_driver_that_hangs_gives_a_no_frame_fault_per_time_out():
    counters = RunCounters()
    hang = waits()
    with capturing(ScriptedSource([frame(0), hang, frame(1), waits()]), camera=FAST, counters=counters) as capture:
        taken = [take(capture) for _ in range(4)]
        assert counters.camera_state == "stalled"
        hang.set()
        while taken[-1].fault is not None:
            taken.append(take(capture))
        assert eventually(lambda: counters.camera_state == "running")
    faults = [one.fault for one in taken]
    assert faults[0] is None and {fault.reason for fault in faults[1:4]} == {Reason.NO_FRAME}
    assert "no frame for 120 ms: the camera sends no picture" in faults[1].detail
    stamps = [one.captured_ns for one in taken[:4]]
    assert all(later - earlier >= 120e6 for earlier, later in pairwise(stamps))
    assert [one.index for one in taken] == list(range(len(taken)))
    assert counters.stalls == len(taken) - 2
    assert counters.reconnects == 0


def test_a_camera_that_never_gives_a_first_frame_is_not_silent():
    with capturing(ScriptedSource([waits()]), camera=FAST) as capture:
        assert take(capture).fault.reason is Reason.NO_FRAME


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (CameraError("cable out", fix="plug it in"), "the camera was lost: cable out"),
        (ZeroDivisionError("in the binding"), "the camera was lost: ZeroDivisionError: in the binding"),
    ],
)
def test_a_lost_camera_is_told_at_once_and_opened_again(trouble, said):
    counters = RunCounters()
    taken_first = waits()
    first, second = ScriptedSource([frame(0), taken_first, trouble]), ScriptedSource([frame(1), waits()])
    with capturing(first, second, counters=counters) as capture:
        taken = [take(capture)]
        taken_first.set()
        taken += [take(capture), take(capture)]
        assert eventually(lambda: counters.camera_state == "running")
    assert [one.fault and one.fault.detail for one in taken] == [None, said, None]
    assert (taken[2].image == picture(1)).all()
    assert first.closed
    assert (counters.reconnects, counters.stalls) == (1, 1)


def test_a_loss_is_told_even_when_frames_are_back_before_anyone_looks():
    counters = RunCounters()
    sources = [ScriptedSource([CameraError("cable out", fix="")]), ScriptedSource([frame(1), waits()])]
    with capturing(*sources, counters=counters) as capture:
        assert eventually(lambda: counters.reconnects == 1)
        assert [take(capture).fault is not None for _ in range(2)] == [True, False]


def test_a_frame_grabbed_before_the_loss_is_delivered_before_it():
    counters = RunCounters()
    failing = [ScriptedSource([frame(0), CameraError("out", fix="")]), CameraError("still out", fix="")]
    with capturing(*failing, counters=counters) as capture:
        assert eventually(lambda: counters.camera_state == "lost")
        assert [take(capture).fault is not None for _ in range(2)] == [False, True]


def test_a_live_stream_that_ends_is_lost_not_finished():
    taken_first = waits()
    with capturing(ScriptedSource([frame(0), taken_first]), ScriptedSource([frame(1), waits()])) as capture:
        taken = [take(capture)]
        taken_first.set()
        taken += [take(capture), take(capture)]
        assert not capture.ended
    assert taken[1].fault.detail == "the camera was lost: the stream ended"


def test_while_the_camera_is_away_every_time_out_says_why():
    counters = RunCounters()
    openings = [ScriptedSource([CameraError("cable out", fix="")]), CameraError("no such camera", fix="")]
    with capturing(*openings, camera=FAST, counters=counters) as capture:
        taken = [take(capture), take(capture), take(capture)]
        assert counters.camera_state == "lost"
    assert [one.fault.reason for one in taken] == [Reason.NO_FRAME] * 3
    assert "no frame for 120 ms: opening it again failed: no such camera" in taken[2].fault.detail


def test_attempts_double_their_distance_up_to_the_maximum_and_never_end():
    camera = CameraSettings(read_timeout_ms=60_000, reopen_first_ms=8, reopen_max_ms=32)
    opener = Opener(ScriptedSource([CameraError("out", fix="")]), CameraError("out", fix=""))
    capture = Capture(opener, camera, FreshnessSettings(), RunCounters())
    assert eventually(lambda: len(opener.opened_at) >= 7)
    capture.close()
    gaps_ms = [1000 * (later - earlier) for earlier, later in pairwise(opener.opened_at)]
    for gap_ms, least_ms in zip(gaps_ms, (8, 16, 32, 32, 32, 32), strict=False):
        assert gap_ms >= least_ms - 0.5
    # 64 would be next without the maximum; waking up late is what the room is for
    assert min(gaps_ms[3:6]) < 60


def test_a_camera_that_opens_but_gives_nothing_does_not_reset_the_waiting():
    camera = CameraSettings(read_timeout_ms=60_000, reopen_first_ms=4, reopen_max_ms=10_000)
    opener = Opener(*(ScriptedSource([CameraError("nothing", fix="")]) for _ in range(6)), ScriptedSource([waits()]))
    capture = Capture(opener, camera, FreshnessSettings(), RunCounters())
    assert eventually(lambda: len(opener.opened_at) >= 6)
    capture.close()
    assert opener.opened_at[5] - opener.opened_at[0] >= 0.004 * (1 + 2 + 4 + 8 + 16) - 0.001


def test_a_driver_that_repeats_its_last_picture_is_frozen_and_then_opened_again():
    # what OpenCV does with some cameras after an unplug: read() succeeds for ever, with the same picture, at once
    counters = RunCounters()

    class Unplugged(ScriptedSource):
        def read(self):
            return super().read() or frame(0, picture(0))

    sources = [Unplugged([]), ScriptedSource([frame(1), waits()])]
    with capturing(*sources, camera=FAST, counters=counters) as capture:
        faults = []
        while (taken := take(capture)).image is None or not (taken.image == picture(1)).all():
            faults.append(taken.fault)
    reasons = [fault.reason for fault in faults if fault is not None]
    assert Reason.FROZEN in reasons and Reason.NO_FRAME in reasons
    assert any("frozen for 120 ms" in fault.detail for fault in faults if fault)
    assert counters.reconnects == 1
    # the pause between frozen looks keeps a spinning driver from filling the records
    assert counters.grabbed < 60


# the end


def test_closing_ends_the_thread_and_closes_the_source(tmp_path):
    counters = RunCounters()
    source = ScriptedSource([frame(number) for number in range(3)], live=False)
    with capturing(source, counters=counters):
        assert eventually(lambda: counters.grabbed >= 1)
    assert source.closed
    assert counters.camera_state == "closed"


def test_closing_does_not_wait_for_a_driver_that_hangs():
    with capturing(ScriptedSource([waits()])) as capture:
        started = time.perf_counter()
        capture.close()
        assert time.perf_counter() - started < 1


def test_closing_does_not_wait_for_the_next_attempt_to_open():
    camera = CameraSettings(reopen_first_ms=60_000, reopen_max_ms=60_000)
    counters = RunCounters()
    with capturing(ScriptedSource([CameraError("out", fix="")]), camera=camera, counters=counters) as capture:
        assert eventually(lambda: counters.camera_state == "lost")
        started = time.perf_counter()
        capture.close()
        assert time.perf_counter() - started < 0.4


def test_a_blank_frame_is_numbered_like_the_others():
    fault = Fault(Reason.DEADLINE_MISSED, "")
    with capturing(ScriptedSource([frame(0), waits()])) as capture:
        assert [take(capture).index, capture.blank(fault).index, capture.blank(fault).index] == [0, 1, 2]


# the first pictures after an opening


def test_the_first_pictures_after_each_opening_are_left_out_and_counted():
    counters = RunCounters()
    frames = [frame(image=picture(number)) for number in range(4)]
    # lost only when its picture has been taken, which the next camera's would replace
    first = ScriptedSource([*frames, waits(), CameraError("gone", fix="")])
    again = ScriptedSource([*(frame(image=picture(number)) for number in range(10, 14)), waits()])
    camera = PATIENT.model_copy(update={"skip_first_frames": 3})
    with capturing(first, again, camera=camera, counters=counters) as capture:
        seen = [take(capture)]
        first.release()
        seen += [take(capture) for _ in range(2)]
    assert [None if each.image is None else each.image.tolist() for each in seen] == [
        picture(3).tolist(), None, picture(13).tolist(),
    ]  # fmt: skip
    assert seen[1].fault.reason is Reason.NO_FRAME
    assert counters.skipped == 6 and counters.dropped == 0


def test_of_files_no_picture_is_left_out(tmp_path):
    paths = [write_picture(tmp_path / f"{number}.png", picture(number)) for number in range(2)]
    camera = PATIENT.model_copy(update={"skip_first_frames": 3})
    with capturing(PictureFiles(paths, None, ImageReader(), "folder"), camera=camera) as capture:
        assert [take(capture) is None for _ in range(3)] == [False, False, True]


def test_a_picture_that_cannot_be_checked_is_invalid_and_the_next_is_looked_at(tmp_path, monkeypatch):
    paths = [write_picture(tmp_path / f"{number}.png", picture(number)) for number in range(3)]
    whole, calls = FreshnessCheck._found, []

    def found(self, image):
        calls.append(image)
        if len(calls) == 2:
            raise MemoryError
        return whole(self, image)

    monkeypatch.setattr(FreshnessCheck, "_found", found)
    with capturing(PictureFiles(paths, None, ImageReader(), "folder")) as capture:
        seen = [take(capture) for _ in range(3)]
    assert [each.fault is None for each in seen] == [True, False, True]
    assert "not enough memory" in seen[1].fault.detail


def test_losses_that_nobody_takes_are_bounded():
    # a model that hangs takes no frame while a loose cable is plugged in and out
    counters = RunCounters()
    lost = [ScriptedSource([CameraError("cable out", fix="")]) for _ in range(40)]
    with capturing(*lost, ScriptedSource([frame(1), waits()]), counters=counters) as capture:
        assert eventually(lambda: counters.camera_state == "running")
        assert len(capture._losses) == 16
        assert [take(capture).fault is not None for _ in range(2)] == [True, False]
