"""Fit memories of good parts, once on all of them and once without each fifth, so that every part has a fair score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.memory.centres import farthest_first, farthest_first_of_cells
from calibration.memory.designs import Layout, MemoryDesign
from calibration.memory.looks import copies_of, varied
from calibration.memory.places import places_of, without_centres
from edge.core.datatypes import F32, U8
from export.memory_graph import Memory, stored, with_memories, with_other_memories

FOLDS = 5
# pictures looked at in all, and varied copies of a part, at most
_MOST_PICTURES, _MOST_COPIES = 400, 4
# a spread of a place below this share of the mean spread is luck
_SMALLEST_SPREAD_SHARE = 0.3
_HALF = np.float16


@dataclass(frozen=True, eq=False)
class CrossFit:
    """memories: of all parts. folds: memories k have not seen the parts whose fold_of is k, nor do their mean and spread.

    fold_of: (n,). held_out: (n, rows, columns), `emb_dist` of each part by the memories of its fold.
    """

    memories: tuple[Memory, ...]
    folds: tuple[tuple[Memory, ...], ...]
    fold_of: NDArray[np.int64]
    held_out: F32


@dataclass(frozen=True, eq=False)
class MemoryGraphs:
    """Graphs with `emb_dist`. deployed: of all parts. folds: number k has not seen the parts whose fold_of is k."""

    deployed: bytes
    folds: tuple[bytes, ...]
    fold_of: NDArray[np.int64]


def fit_memories(
    model: bytes,
    fields: Sequence[U8],
    layout: Layout,
    designs: Sequence[MemoryDesign],
    *,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CrossFit:
    """model: the exported network with its taps as outputs. fields: of good parts, uint8 (h, w, 3) BGR.

    The same fields and seed give the same memories.
    """
    random = np.random.default_rng(seed)
    empty = without_centres(model, fields, designs, random, threads)
    looks = _Looks(fields, layout, copies_of(len(fields), _MOST_PICTURES, _MOST_COPIES), random)
    places: list[list[NDArray[np.float16]]] = [[] for _ in designs]
    for done, found in enumerate(places_of(model, empty, looks, threads)):
        for kept, values in zip(places, found, strict=True):
            kept.append(values.astype(_HALF))
        progress(done + 1, len(looks))
    fold_of = random.permutation(len(fields)) % min(FOLDS, len(fields))
    fitted = [
        _cross_fitted(memory, design, layout, np.stack(kept), looks.part_of, fold_of, seed)
        for memory, design, kept in zip(empty, designs, places, strict=True)
    ]
    maps = [each.held_out for each in fitted]
    return CrossFit(
        memories=tuple(each.memory for each in fitted),
        folds=tuple(zip(*(each.folds for each in fitted), strict=True)),
        fold_of=fold_of,
        held_out=_summed(maps),
    )


def graphs_of(model: bytes, fit: CrossFit) -> MemoryGraphs:
    """model: the exported network with its taps as outputs."""
    deployed = with_memories(model, fit.memories)
    return MemoryGraphs(deployed, tuple(with_other_memories(deployed, fold) for fold in fit.folds), fit.fold_of)


class _Looks:
    """Every part as it is, then varied copies of each; part_of: which part each picture shows."""

    def __init__(self, fields: Sequence[U8], layout: Layout, copies: int, random: np.random.Generator) -> None:
        self._fields, self._layout, self._random = fields, layout, random
        self.part_of = np.tile(np.arange(len(fields)), 1 + copies)

    def __len__(self) -> int:
        return len(self.part_of)

    def __iter__(self) -> Iterator[U8]:
        for number, part in enumerate(self.part_of):
            field = self._fields[int(part)]
            yield field if number < len(self._fields) else varied(field, self._layout, self._random)


@dataclass(frozen=True, eq=False)
class _Fitted:
    memory: Memory
    folds: list[Memory]
    held_out: F32


def _cross_fitted(
    empty: Memory, design: MemoryDesign, layout: Layout, places: NDArray[np.float16], part_of: NDArray[np.int64],
    fold_of: NDArray[np.int64], seed: int,
) -> _Fitted:  # fmt: skip
    """places: (pictures, rows, columns, axes), the first of each part as it is."""
    count = len(fold_of)
    folds, distances = [], np.empty((count, *places.shape[1:3]), np.float32)
    for fold in range(fold_of.max() + 1):
        unseen = np.flatnonzero(fold_of == fold)
        memory = replace(empty, centres=_centres(places[fold_of[part_of] != fold], design, seed))
        for part in unseen:
            distances[part] = distance_map(memory, places[part].astype(np.float32))
        folds.append(memory)
    deployed = replace(empty, centres=_centres(places, design, seed))
    judged = [_judging(m, distances[fold_of != fold], layout) for fold, m in enumerate(folds)]
    held_out = np.stack(
        [(d - judged[f].mean) * judged[f].inv_std for d, f in zip(distances, fold_of, strict=True)]
    ).astype(np.float32)
    return _Fitted(_judging(deployed, distances, layout), judged, held_out)


def distance_map(memory: Memory, places: F32) -> F32:
    """(rows, columns): from each of (rows, columns, axes) to the nearest of the centres it is compared with."""
    centres = stored(memory.centres)
    rows, columns, axes = places.shape
    squares = np.square(centres).sum(-1)
    if memory.local:
        relative = squares - 2 * np.matmul(centres, places[..., None])[..., 0]
    else:
        relative = squares - 2 * (places.reshape(-1, axes) @ centres.T)
    nearest = relative.min(-1).reshape(rows, columns) + np.square(places).sum(-1)
    return np.sqrt(np.maximum(nearest, 0)).astype(np.float32)


def _centres(places: NDArray[np.float16], design: MemoryDesign, seed: int) -> F32:
    random = np.random.default_rng(seed)
    if design.local:
        return farthest_first_of_cells(places, design.centres, random)
    return farthest_first(places.reshape(-1, places.shape[-1]), design.centres, random)


def _judging(memory: Memory, distances: F32, layout: Layout) -> Memory:
    """The memory with mean and spread of the distances (n, rows, columns) of good parts: of each place, or of all."""
    if layout == "free":
        mean, spread = distances.mean(keepdims=True)[0], distances.std(keepdims=True)[0]
    else:
        mean, spread = distances.mean(0), distances.std(0)
        spread = np.maximum(spread, _SMALLEST_SPREAD_SHARE * spread.mean())
    return replace(memory, mean=mean, inv_std=(1 / np.maximum(spread, 1e-6)).astype(np.float32))


def _summed(maps: Sequence[F32]) -> F32:
    """The sum of maps (n, rows, columns) at the size of the first."""
    count, rows, columns = maps[0].shape
    total: F32 = maps[0].copy()
    for other in maps[1:]:
        for index in range(count):
            total[index] += cv2.resize(other[index], (columns, rows), interpolation=cv2.INTER_LINEAR)
    return total
