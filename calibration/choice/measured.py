"""What networks return for good and defective parts: run once, then scored in hundreds of ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.choice.exhibits import Exhibits
from calibration.samples.tiles import Fields
from edge.backends.cpu import Network
from edge.core.datatypes import F32, U8
from edge.core.manifest import ResidualSpec, ScoreSpec
from edge.kernels.cpu import NetworkOutputs, planes_from_field
from edge.kernels.statistics import residual_errors

# reconstructions are kept in half the bytes: a step of 0.0005 is far below what good parts differ by
_KEPT = np.float16


class Measured:
    """Outputs of each exhibit by a network that has not seen the part, and of some parts that training saw.

    run_ms: time of one run of the network, the quickest in ten.
    """

    def __init__(
        self,
        exhibits: Exhibits,
        graphs: Sequence[bytes],
        fold_of: NDArray[np.int64] | None,
        opened: Callable[[bytes], Network],
        trained: Fields,
        progress: Callable[[int, int, str], None] = lambda done, total, shown: None,
    ) -> None:
        """graphs: ONNX; with several, fold_of says which judges each good exhibit, and the defects drawn on it.

        trained: fields (t, h, w, 3) that training saw. Statistics learn from them where good parts differ.
        """
        self.exhibits = exhibits
        self.outputs: list[NetworkOutputs] = [NetworkOutputs()] * len(exhibits)
        self._pictures: list[NDArray[np.float16]] = [np.zeros(0, _KEPT)] * len(exhibits)
        self._trained, self._seen = trained, [NetworkOutputs()] * len(trained)
        self._seen_pictures: list[NDArray[np.float16]] = [np.zeros(0, _KEPT)] * len(trained)
        folds = (np.zeros(exhibits.good, np.int64) if fold_of is None else fold_of)[exhibits.origins]
        total, done, times = len(exhibits) + len(trained), 0, list[int]()
        used = np.unique(folds).tolist()
        for number in used:
            with _open(opened, graphs[number]) as network:
                for index in np.flatnonzero(folds == number).tolist():
                    self.outputs[index], self._pictures[index] = _run(network, exhibits.fields[index], times)
                    progress(done := done + 1, total, "")
                # what the folds differ in says nothing of these
                for index, field in enumerate(trained if number == used[0] else ()):
                    self._seen[index], self._seen_pictures[index] = _run(network, field, times)
                    progress(done := done + 1, total, "")
        # other programs make a run slower, and none makes it quicker
        self.run_ms = float(np.quantile(times, 0.1)) / 1e6

    @property
    def names(self) -> tuple[str, ...]:
        """The network's outputs."""
        first = self.complete(0)
        return tuple(name for name, values in vars(first).items() if values is not None)

    def complete(self, index: int) -> NetworkOutputs:
        """The outputs of one exhibit, with its reconstruction."""
        return _with(self.outputs[index], self._pictures[index])

    # score paths that differ later alone share the errors; few are kept, since each is as large as all maps
    @lru_cache(maxsize=1)  # noqa: B019
    def errors(self, residual: ResidualSpec, map_scale: Literal[1, 2, 4]) -> tuple[F32, F32]:
        """Residual errors of the exhibits, and of the parts that training saw, (n, map rows, map columns)."""
        spec = ScoreSpec(residual=residual, map_scale=map_scale)
        return (
            _errors(spec, self.exhibits.fields, self.outputs, self._pictures),
            _errors(spec, self._trained, self._seen, self._seen_pictures),
        )


def _errors(
    spec: ScoreSpec, fields: Fields, outputs: Sequence[NetworkOutputs], pictures: Sequence[NDArray[np.float16]]
) -> F32:
    height, width = fields.shape[1:3]
    errors = np.zeros((len(fields), height // spec.map_scale, width // spec.map_scale), np.float32)
    if not spec.residual.used:
        return errors
    image = np.empty((3, height, width), np.float32)
    for index, field in enumerate(fields):
        planes_from_field(field, image)
        errors[index] = residual_errors(spec, [image], [_with(outputs[index], pictures[index])])[0]
    return errors


def _run(network: Network, field: U8, times: list[int]) -> tuple[NetworkOutputs, NDArray[np.float16]]:
    planes_from_field(field, network.image)
    started = time.perf_counter_ns()
    result = network.run()
    times.append(time.perf_counter_ns() - started)
    picture = np.zeros(0, _KEPT) if result.recon is None else result.recon.astype(_KEPT)
    return result.copied(reconstruction=False), picture


def _with(outputs: NetworkOutputs, picture: NDArray[np.float16]) -> NetworkOutputs:
    return replace(outputs, recon=picture.astype(np.float32)) if picture.size else outputs


@contextmanager
def _open(opened: Callable[[bytes], Network], graph: bytes) -> Iterator[Network]:
    network = opened(graph)
    try:
        yield network
    finally:
        network.close()
