"""Backend protocol over a pipeline on the GPU, which is opened again after it failed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

from edge.backends.base import not_finite
from edge.backends.gpu.gpu_pipeline import GpuPipeline
from edge.core.datatypes import U8, AnomalyMap
from edge.core.errors import EdgeInspectError, ModelError
from edge.core.latency import StageClock

REOPEN_FIRST_S, REOPEN_MAX_S = 0.5, 30.0
# a driver may refuse a process for good whose context broke, and take the next process at once
FAILED_REOPENINGS = 2

log = logging.getLogger("edge.backends")


class GpuBackend:
    """Frames in, anomaly maps out, with what is between on the device; not for use by two threads at once.

    A GPU that is lost or out of memory is a ModelError for the frame. Everything is freed, and made anew at a later
    frame or while none comes: after half a second first, then twice as long each time, up to half a minute. After two
    such failures `needs_new_process` says so, and it is tried on.
    """

    def __init__(
        self,
        name: str,
        open_pipeline: Callable[[], GpuPipeline],
        now_s: Callable[[], float] = time.monotonic,
        keep_warm_every_s: float | None = None,
    ) -> None:
        """Opens the pipeline at once, so that the start names what is missing; raises what that raises.

        keep_warm_every_s: a GPU at rest lowers its clocks, and the first part after a pause pays for it; None: it may.
        """
        self.keep_warm_every_s = keep_warm_every_s
        self.name = name
        self._open, self._now_s = open_pipeline, now_s
        self._pipeline: GpuPipeline | None = open_pipeline()
        self.model_sha256 = self._pipeline.engine_sha256
        self._closed = False
        self._failure = ""
        self._failed_reopenings = 0
        self._wait_s = REOPEN_FIRST_S
        self._reopen_at_s = self._last_run_s = now_s()

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        """The map stays on the device, and its values are empty, where the score does not exceed what was asked for.

        The lap `infer` holds all that the device does in one go: upload, preprocessing, network, residual, reduction.
        """
        (anomaly_map,) = self.score_many([image], clock)
        return anomaly_map

    def score_many(self, images: Sequence[U8], clock: StageClock) -> list[AnomalyMap]:
        """Frames or tiles of one size, in one launch for as many of them as the pipeline takes at once.

        Raises ModelError for all of them when one cannot be judged.
        """
        pipeline = self._ready()
        maps: list[AnomalyMap] = []
        try:
            for start in range(0, len(images), pipeline.most):
                pipeline.stage(images[start : start + pipeline.most])
                clock.lap("preprocess")
                scores = pipeline.run()
                clock.lap("infer")
                maps += pipeline.maps(scores)
                clock.lap("residual")
        # a call that failed unexpectedly leaves the device in an unknown state
        except Exception as error:
            self._lose(error)
            raise
        self._last_run_s = self._now_s()
        self._wait_s = REOPEN_FIRST_S
        if any(math.isnan(anomaly_map.score) for anomaly_map in maps):
            raise not_finite()
        return maps

    def keep_warm(self) -> None:
        """Called while no frame comes: keep the clocks up, or open again what was lost; never raises for the GPU."""
        try:
            if self._pipeline is None:
                self._ready()
            elif self.keep_warm_every_s is not None and self._now_s() - self._last_run_s >= self.keep_warm_every_s:
                self._pipeline.run_again()
                self._last_run_s = self._now_s()
        except ModelError as error:
            if self._pipeline is not None:
                self._lose(error)

    @property
    def needs_new_process(self) -> bool:
        """Whether opening the device again has failed so often that only another process may succeed."""
        return self._failed_reopenings >= FAILED_REOPENINGS

    def _ready(self) -> GpuPipeline:
        if self._closed:
            raise ModelError("the backend is closed", fix="open it again")
        if self._pipeline is not None:
            return self._pipeline
        remaining_s = self._reopen_at_s - self._now_s()
        if remaining_s > 0:
            raise ModelError(
                f"{self._failure}; opened again in {remaining_s:.1f} s", fix="check nvidia-smi; restart the program"
            )
        try:
            self._pipeline = self._open()
        # whatever is missing now was there at the start: it is the frame that cannot be judged, not the program
        except EdgeInspectError as error:
            self._failed_reopenings += 1
            self._postpone(error)
            raise ModelError(f"the GPU cannot be opened again: {error.message}", fix=error.fix) from error
        self._failed_reopenings = 0
        log.warning("the GPU is open again")
        return self._pipeline

    def _lose(self, error: Exception) -> None:
        log.error("the GPU is given up for now: %s", _message(error))
        pipeline, self._pipeline = self._pipeline, None
        self._postpone(error)
        if pipeline is not None:
            try:
                pipeline.close(error)
            # what could not be freed is reported; the frame's own error is the one to raise
            except Exception as failure:
                log.exception("the GPU could not be closed: %s", failure)

    def _postpone(self, error: Exception) -> None:
        self._failure = _message(error)
        self._reopen_at_s = self._now_s() + self._wait_s
        self._wait_s = min(2 * self._wait_s, REOPEN_MAX_S)

    def close(self) -> None:
        """Free the device, from any thread; harmless the second time."""
        self._closed = True
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()


def _message(error: Exception) -> str:
    return error.message if isinstance(error, EdgeInspectError) else f"{type(error).__name__}: {error}"
