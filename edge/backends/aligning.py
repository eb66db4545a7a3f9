"""Any backend, behind an alignment or a letterbox: it is shown the part in its place, and its map says where it lay."""

from __future__ import annotations

from dataclasses import replace

from edge.backends.base import Backend, KeptWarm, NeedsNewProcess
from edge.core.datatypes import U8, AnomalyMap
from edge.core.latency import StageClock
from edge.preprocessing.preprocess import Preprocess


class AligningBackend:
    """Backend protocol over one that is made for `preprocess.of_placed_views`; finding the part counts as preprocess.

    Of several parts in a frame each is scored by itself, and the worst one's map is the frame's. Raises PartNotFound
    where there is no part to be scored.
    """

    def __init__(self, backend: Backend, preprocess: Preprocess) -> None:
        self.name = backend.name
        self.model_sha256 = backend.model_sha256
        self._backend = backend
        self._preprocess = preprocess

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        parts = [
            replace(self._backend.score(placed.view, clock), pose=self._preprocess.pose_of_map(image, placed))
            for placed in self._preprocess.placed(image)
        ]
        worst, *others = sorted(parts, key=lambda part: -part.score)
        return replace(worst, others=tuple(others))

    @property
    def keep_warm_every_s(self) -> float | None:
        return self._backend.keep_warm_every_s if isinstance(self._backend, KeptWarm) else None

    def keep_warm(self) -> None:
        if isinstance(self._backend, KeptWarm):
            self._backend.keep_warm()

    @property
    def needs_new_process(self) -> bool:
        return isinstance(self._backend, NeedsNewProcess) and self._backend.needs_new_process

    def close(self) -> None:
        self._backend.close()
