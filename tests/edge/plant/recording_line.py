"""A line's records and status file, written as a running line writes them, without a camera and a network."""

import threading
import time

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import StatusFile
from tests.edge.records.records_fakes import look, recorder

_WAIT_S = 30.0


class Line:
    """Records verdicts until `end`, of these decisions in turn, and tells that it lives.

    every_s: between two rounds; in each, one verdict of every decision. most: verdicts after which it only lives.
    """

    def __init__(self, folder, decisions=(Decision.OK,) * 4, every_s=0.01, most=None):
        self.counters, self._stop = RunCounters(camera_state="running"), threading.Event()
        self._recorder = recorder(folder / "records", self.counters, utc_now=None)
        keeper = LineStateKeeper(LineInfo("left", "camera", "plate", "openvino", "int8"), self.counters)
        self._outputs = [keeper, StatusFile(folder / "run", lambda: keeper.state)]
        self._looks = [look(index, decision) for index, decision in enumerate(decisions)]
        self._every_s, self._most = every_s, most
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        given = 0
        while not self._stop.wait(self._every_s):
            if self._most is None or given < self._most:
                for taken, verdict in self._looks:
                    self._recorder.write(taken, verdict)
                given += len(self._looks)
            self.counters.beat_ns = time.perf_counter_ns()

    def end(self):
        self._stop.set()
        self._thread.join(_WAIT_S)
        self._recorder.close()
        for output in self._outputs:
            output.close()
