"""A line for tests that a PLC asks for parts: its link is real, its verdicts are the test's."""

import socket
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone

from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Part, Reason, StageTimes, Verdict
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.plc.link import PlcLink
from tests.fakes import picture

SETTINGS = Settings.model_validate(
    {
        "plc": {"port": 1502, "silent_after_ms": 5000},
        "trigger": {"frame_timeout_ms": 250},
        "inspection": {"deadline_ms": 700},
    }
)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def settings_at(port, **plc):
    return SETTINGS.model_copy(update={"plc": SETTINGS.plc.model_copy(update={"port": port, **plc})})


class LineOfTriggers:
    """A loop in a thread of its own: it beats, and judges each part that is asked for, after a moment."""

    def __init__(self, judge=lambda number: Decision.OK, *, triggered=True, shown=None, **plc):
        self.counters = RunCounters(camera_state="running", sound=1, beat_ns=time.perf_counter_ns())
        self.alarms = AlarmLog(self.counters, lambda alarm: None)
        self.fired, self.recipes, self.verdicts = [], [], 0
        self._judge, self._waiting, self._halt = judge, [], threading.Event()
        self.link = PlcLink(
            settings_at(free_port(), **plc), self.counters, self.alarms, self.fire if triggered else None,
            self.use_recipe, shown,
        )  # fmt: skip
        self.beating = True
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def use_recipe(self, index):
        self.recipes.append(index)
        self.counters.recipe_changing = True

    def fire(self, number, lot):
        self.fired.append(Part(number, lot, len(self.fired) + 1))
        self._waiting.append(self.fired[-1])
        return len(self.fired)

    def show(self, part, decision, **changes):
        taken = Frame(self.verdicts, time.perf_counter_ns(), datetime.now(timezone.utc), "fake", picture(1), part=part)
        self.link.write(taken, replace(verdict_of(decision, self.verdicts), **changes))

    def _work(self):
        while not self._halt.wait(0.002):
            if not self.beating:
                continue
            self.counters.beat_ns = time.perf_counter_ns()
            self.verdicts += 1
            if self._waiting:
                part = self._waiting.pop(0)
                decision = self._judge(part.number)
                if decision is not None:
                    self.show(part, decision)

    def close(self):
        self._halt.set()
        self._thread.join()
        self.link.close()


def verdict_of(decision, index=0):
    reason = {
        Decision.OK: Reason.BELOW_THRESHOLD, Decision.NG: Reason.ABOVE_THRESHOLD, Decision.INVALID: Reason.STALE,
    }[decision]  # fmt: skip
    score = None if decision is Decision.INVALID else 0.4
    return Verdict(index, decision, reason, "", score, 0.5, (), StageTimes(total=6.4), "b" * 64, "m" * 64)
