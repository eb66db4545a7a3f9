"""A line that runs until it is told to end, and follows its bundle meanwhile."""

import threading
import time

from edge.bundles.bundle import load_bundle
from edge.bundles.signature import require_signature, trusted_bundle
from edge.core.config import FreshnessSettings, InspectionSettings, Settings
from edge.core.counters import RunCounters
from edge.inspection.hot_swap import HotSwap
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.loop import run_loop
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.poller import Poller
from tests.fakes import WAIT_S, ListSink, ScriptedSupply, frame
from tests.small_bundle import bad_part, good_part

POLL_EVERY_S = 0.02


class EndlessParts(ScriptedSupply):
    """Good parts, every fourth with a scratch, each another frame, as fast or as slowly as asked."""

    def __init__(self, live, pause_s):
        super().__init__([], live=live)
        self.given = 0
        self.stopped = False
        self._pause_s = pause_s
        self._pictures = [bad_part(seed) if seed % 4 == 3 else good_part(seed) for seed in range(8)]

    @property
    def ended(self):
        return self.stopped

    def take(self, timeout_s):
        if self.stopped:
            return None
        time.sleep(self._pause_s)
        self.given += 1
        return frame(self.given - 1, self._pictures[(self.given - 1) % 8])


class RunningLine:
    """A loop that follows a bundle, until `end`. open_inspectors: of a bundle, as many as asked for."""

    def __init__(self, path, open_inspectors, threads=1, live=True, public_key=None, pause_s=0.001):
        self.counters, self.sink = RunCounters(), ListSink()
        self.supply = EndlessParts(live, pause_s)
        self._stop = threading.Event()
        bundle = load_bundle(path)

        def trust(version):
            if public_key is not None:
                require_signature(version, public_key)

        self.pool = InspectorPool(open_inspectors(bundle, threads))
        self.watch = HotSwap(
            bundle,
            self.pool,
            self.counters,
            load=lambda: trusted_bundle(path, public_key),
            trust=trust,
            open_inspectors=open_inspectors,
        )
        self.poller = Poller([self.watch], AlarmLog(self.counters, lambda alarm: None), POLL_EVERY_S)
        settings = Settings(
            freshness=FreshnessSettings(max_age_ms=30_000), inspection=InspectionSettings(deadline_ms=30_000)
        )
        sinks = [self.sink, self.watch]
        self._thread = threading.Thread(
            target=run_loop,
            args=(self.supply, self.pool, sinks, settings, self.counters),
            kwargs={"stop": self._stop},
            daemon=True,
        )
        self._thread.start()
        assert self.sink.wait_until(lambda verdicts: len(verdicts) > 20)

    def judges_with(self, sha256):
        return self.sink.wait_until(lambda verdicts: bool(verdicts) and verdicts[-1].bundle_sha256 == sha256)

    def goes_on(self):
        """It has judged twenty more frames."""
        count = len(self.sink.verdicts) + 20
        return self.sink.wait_until(lambda verdicts: len(verdicts) >= count)

    def end(self):
        self.supply.stopped = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self.poller.close()
        assert not self.poller.busy
        self.pool.close_retired()
        for inspector in self.pool.inspectors:
            inspector.backend.close()
        return self.sink.verdicts
