"""The short timing: calls take turns, and other work in between does not count."""

import pytest

from edge.core.latency import in_turns, undisturbed


class Clock:
    """Stands still but for the work that is done."""

    def __init__(self):
        self.now_ns = 0

    def work(self, milliseconds):
        self.now_ns += round(milliseconds * 1e6)


def test_calls_take_turns_and_each_has_its_own_time():
    clock, order = Clock(), []

    def call(name, milliseconds):
        def work():
            order.append(name)
            clock.work(milliseconds)

        return work

    assert in_turns([call("a", 3), call("b", 5)], lambda: clock.now_ns) == ([3.0] * 125, [5.0] * 125)
    timed = order[order.index("b") :][3:]
    # there and back: neither is always the one that comes first
    assert "".join(timed[:8]) == "abbaabba"
    assert timed.count("a") == timed.count("b") == 125


def test_slow_calls_are_timed_eleven_times_and_other_work_does_not_count():
    clock, calls = Clock(), []

    def disturbed():
        calls.append(1)
        # another process takes the processor most of the time
        clock.work(100 if len(calls) % 4 == 0 else 190 + len(calls))

    (rounds,) = in_turns([disturbed], lambda: clock.now_ns)
    assert undisturbed(rounds) == pytest.approx(100)
    assert len(calls) == 3 + 11
