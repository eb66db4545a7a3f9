"""Old pictures are stamped old, whatever they waited in; fresh ones fresh, however slow or uneven the camera."""

import numpy as np
import pytest

from edge.capture.streams.stream_clock import DRIFT, StreamClock, utc_at

MS = 1_000_000


def steady(clock, count=20, spacing_ms=50, start_ms=0, stream_ms=None):
    """Fresh pictures at a pace; returns the time after the last."""
    now = start_ms
    for _ in range(count):
        now += spacing_ms
        stream_ns = None if stream_ms is None else (stream_ms + now) * MS
        assert age(clock, now, since_ms=now - 2, stream_ns=stream_ns) <= 2
    return now


def age(clock, read_ms, since_ms=None, stream_ns=None):
    since = (read_ms if since_ms is None else since_ms) * MS
    return round((read_ms * MS - clock.stamp(since, read_ms * MS, stream_ns)) / MS)


def test_pictures_at_a_steady_pace_are_as_old_as_their_first_byte(subtests):
    for spacing_ms in [5, 33, 500, 5000]:
        with subtests.test(spacing_ms=spacing_ms):
            steady(StreamClock(), spacing_ms=spacing_ms)


def test_pictures_that_lay_unread_are_as_old_as_the_last_look():
    clock = StreamClock()
    now = steady(clock)
    # the process stood still for three seconds: everything that lies there is read at once
    read = now + 3000
    assert [age(clock, read + k, since_ms=now) for k in range(5)] == [3000, 3001, 3002, 3003, 3004]


def test_what_the_sender_had_queued_is_old_too_until_pictures_come_at_their_pace_again():
    clock = StreamClock()
    now = steady(clock)
    read = now + 3000
    age(clock, read, since_ms=now)
    # the window opens, and its buffer is sent in a burst; between two of them the socket is empty for a moment
    burst = [age(clock, read + 5 * k, since_ms=read + 5 * k - 1) for k in range(1, 6)]
    assert min(burst) >= 3000
    assert age(clock, read + 25 + 50, since_ms=read + 74) == 1


def test_a_silence_of_the_network_is_followed_by_old_pictures():
    clock = StreamClock()
    now = steady(clock)
    assert age(clock, now + 1500) == 1500
    assert age(clock, now + 1503) == 1503
    assert age(clock, now + 1553) == 0


def test_a_triggered_camera_is_not_old_after_a_pause():
    clock, now = StreamClock(), 0
    for gap in (1000, 3000, 700, 5000, 1200, 900, 2500, 4000, 800, 9000):
        now += gap
        assert age(clock, now) == 0


def test_where_pictures_have_no_pace_a_silence_tells_nothing_and_their_own_time_does():
    clock = StreamClock(regular=False)
    now = steady(clock)
    assert age(clock, now + 30_000) == 0
    clock = StreamClock(regular=False)
    now = steady(clock, count=140, stream_ms=7_000_000)
    assert 290 <= age(clock, now + 3000, stream_ns=(7_000_000 + now + 2700) * MS) <= 300


def test_by_the_streams_own_time_a_late_picture_is_as_late_as_it_is():
    clock = StreamClock()
    now = steady(clock, count=140, stream_ms=7_000_000)
    # taken right after the one before, read 800 ms later
    assert age(clock, now + 850, stream_ns=(7_000_000 + now + 50) * MS) == pytest.approx(800, abs=5)
    assert age(clock, now + 860, stream_ns=(7_000_000 + now + 860) * MS) == 0


def test_with_the_streams_own_time_a_pause_of_the_camera_makes_nothing_old():
    clock = StreamClock()
    now = steady(clock, count=140, stream_ms=100)
    assert age(clock, now + 1500, stream_ns=(100 + now + 1500) * MS) == 0


def test_a_streams_time_that_begins_anew_keeps_the_lateness_it_had():
    clock = StreamClock()
    now = steady(clock, count=140, stream_ms=100_000)
    assert age(clock, now + 50, stream_ns=0) == 0
    assert age(clock, now + 100, stream_ns=50 * MS) == 0
    assert age(clock, now + 700, stream_ns=100 * MS) == pytest.approx(550, abs=5)


def test_clocks_that_drift_apart_make_nothing_old():
    clock = StreamClock()
    random = np.random.default_rng(0)
    ages = []
    for count in range(20_000):
        now = count * 50
        jitter = int(random.integers(0, 10))
        ages.append(age(clock, now + jitter, since_ms=now, stream_ns=round(now * (1 - DRIFT / 4) * MS)))
    assert max(ages) < 50


def test_a_streams_time_that_does_not_keep_time_is_not_believed():
    for rate in [0.5, 2.0]:
        clock, ages = StreamClock(), []
        for count in range(400):
            now = count * 50
            ages.append(age(clock, now, since_ms=now - 1, stream_ns=round(now * rate * MS)))
        assert clock.trusts_stream_time is False, rate
        assert set(ages[150:]) == {1}, rate


def test_a_process_that_stands_still_at_the_beginning_does_not_make_a_streams_time_untrue():
    clock = StreamClock()
    now = steady(clock, count=20, stream_ms=0)
    # what was sent in the three seconds is read at once, and then the stream goes on
    late = [age(clock, now + 3000 + k, stream_ns=(now + 50 * k) * MS) for k in range(1, 61)]
    assert late[0] > 2900
    now += 3060
    age(clock, now + 50, stream_ns=(now + 50) * MS)
    now += 50
    for _ in range(2):
        now = steady(clock, count=200, start_ms=now, stream_ms=0)
        assert clock.trusts_stream_time is True
        assert age(clock, now + 3000, stream_ns=(now + 50) * MS) == pytest.approx(2950, abs=20)
        now += 3050
        age(clock, now, stream_ns=now * MS)


def test_the_date_of_a_moment_that_is_past(monkeypatch):
    monkeypatch.setattr("edge.capture.streams.stream_clock.time.perf_counter_ns", lambda: 10_000 * MS)
    assert (utc_at(10_000 * MS) - utc_at(7_000 * MS)).total_seconds() == pytest.approx(3.0, abs=0.1)
