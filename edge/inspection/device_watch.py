"""Whether a backend has lost its device for as long as this process lives; then the program starts again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.backends.base import NeedsNewProcess
from edge.inspection.inspector_pool import InspectorPool

log = logging.getLogger("edge.inspection")


class DeviceWatch:
    """A job of the poller. end_run: called once, when a backend of the pool says that a new process is needed."""

    name = "device"

    def __init__(self, pool: InspectorPool, end_run: Callable[[], None]) -> None:
        self._pool, self._end_run = pool, end_run
        self.wants_new_process = False

    def poll(self) -> None:
        if self.wants_new_process:
            return
        backends = [inspector.backend for inspector in self._pool.inspectors]
        if any(isinstance(backend, NeedsNewProcess) and backend.needs_new_process for backend in backends):
            self.wants_new_process = True
            log.error("the device does not come back in this process: the program ends its run, and starts again")
            self._end_run()

    def end(self) -> None:
        """Nothing is held."""
