"""Fit memories of good parts, once on all of them and once without each fifth, so that every part has a fair score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.memory.centres import farthest_first, farthest_first_of_blocks
from calibration.memory.designs import Layout, MemoryDesign
from calibration.memory.looks import copies_of, varied
from calibration.memory.places import places_of, without_centres
from calibration.memory.same_part import folds_of_good_parts
from edge.core.datatypes import F32, U8
from export.graph import graph_from_onnx
from export.memory_graph import (
    Memory,
    memories_of,
    places_name,
    stored,
    with_memories,
    with_other_memories,
    with_places,
)

FOLDS = 5
# pictures looked at in all, and varied copies of a part, at most
_MOST_PICTURES, _MOST_COPIES = 400, 4
# a spread of a place below this share of the mean spread is luck
_SMALLEST_SPREAD_SHARE = 0.3
# What all places have in common counts as much as so many good parts at one place. A few parts do not show all that may
# differ there: with nothing in common a part that is a little unlike them is rejected, and with nothing of its own a
# place that differs much hides the others.
_COMMON_PARTS = 30
# earlier parts count as so many in the mean and the spread of distances, at most: what comes later is nearer to now
_MOST_EARLIER = 16

Progress = Callable[[int, int], None]
Places = NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """memories: of all parts. folds: number k has not seen the parts whose fold_of is k, nor have its mean and spread.

    fold_of: (n,). held_out: (n, rows, columns), `emb_dist` of each part by the memories of its fold. distances: of each
    part to each memory of its fold, (n, rows, columns). places: what each memory was fitted to, (pictures, rows,
    columns, axes): each part as it is, then varied copies; part_of: which part each picture shows.
    """

    memories: tuple[Memory, ...]
    folds: tuple[tuple[Memory, ...], ...]
    fold_of: NDArray[np.int64]
    held_out: F32
    distances: tuple[F32, ...]
    places: tuple[Places, ...]
    part_of: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Chooser:
    """A graph in another precision, in whose features it is decided which places become centres.

    Both graphs then know the same places, and differ by rounding alone. places: what it saw of the same pictures, as
    `CrossFit.places`; None: it looks at them again.
    """

    model: bytes
    places: tuple[Places, ...] | None = None


@dataclass(frozen=True, eq=False)
class MemoryGraphs:
    """Graphs with `emb_dist`. deployed: of all parts. folds: number k has not seen the parts whose fold_of is k."""

    deployed: bytes
    folds: tuple[bytes, ...]
    fold_of: NDArray[np.int64]


def fit_memories(
    model: bytes,
    fields: U8,
    layout: Layout,
    designs: Sequence[MemoryDesign],
    *,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = lambda done, total: None,
    fold_of: NDArray[np.int64] | None = None,
) -> CrossFit:
    """model: the exported network with its taps as outputs. fields: of good parts, uint8 (n, h, w, 3), BGR.

    fold_of: (n,); None: drawn by the seed. The same fields and seed give the same memories, on one machine.
    """
    empty = without_centres(model, fields, designs, np.random.default_rng(seed), threads)
    prepared = with_memories(model, empty)
    return _fitted(prepared, empty, designs, fields, layout, seed, threads, progress, fold_of=fold_of)


def refit_memories(
    model: bytes,
    fields: U8,
    layout: Layout,
    *,
    earlier: int = 0,
    fold_of: NDArray[np.int64] | None = None,
    chosen_by: Chooser | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = lambda done, total: None,
) -> CrossFit:
    """The memories of a graph, fitted to other parts, fields uint8 (n, h, w, 3) BGR, in the axes that they have.

    earlier: number of parts that the graph's memories hold. 0: they are forgotten, as they hold these very parts. Else
    their centres stay candidates beside the new places, and the least useful of both give way; their pictures are not
    needed. Nothing here says whether a fold has seen those: parts must be others. fold_of: (n,); None: drawn by the
    seed. chosen_by: in whose features it is decided which places become centres; None: in those of the graph itself.
    """
    known = memories_of(model)
    floats = graph_from_onnx(with_places(model)).floats
    designs = [_design_of(memory, floats[places_name(memory.name)][2]) for memory in known]
    return _fitted(model, known, designs, fields, layout, seed, threads, progress, earlier, fold_of, chosen_by)


def graphs_of(model: bytes, fit: CrossFit) -> MemoryGraphs:
    """model: the exported network with its taps as outputs, or one that has memories already."""
    has = bool(memories_of(model))
    deployed = with_other_memories(model, fit.memories) if has else with_memories(model, fit.memories)
    return MemoryGraphs(deployed, tuple(with_other_memories(deployed, fold) for fold in fit.folds), fit.fold_of)


class _Looks:
    """Every part as it is, then varied copies of each; part_of: which part each picture shows."""

    def __init__(self, fields: U8, layout: Layout, copies: int, seed: int) -> None:
        self._fields, self._layout, self._seed = fields, layout, seed
        self.part_of = np.tile(np.arange(len(fields)), 1 + copies)

    def __len__(self) -> int:
        return len(self.part_of)

    def __iter__(self) -> Iterator[U8]:
        random = np.random.default_rng((self._seed, 1))
        for number, part in enumerate(self.part_of):
            field = self._fields[int(part)]
            yield field if number < len(self._fields) else varied(field, self._layout, random)


def _fitted(
    model: bytes, known: Sequence[Memory], designs: Sequence[MemoryDesign], fields: U8, layout: Layout,
    seed: int, threads: int | None, progress: Progress, earlier: int = 0, fold_of: NDArray[np.int64] | None = None,
    chosen_by: Chooser | None = None,
) -> CrossFit:  # fmt: skip
    if fold_of is None:
        fold_of = folds_of_good_parts(fields, layout, FOLDS, np.random.default_rng(seed))
    looks = _Looks(fields, layout, copies_of(len(fields), _MOST_PICTURES, _MOST_COPIES), seed)
    other = [] if chosen_by is None or chosen_by.places is not None else [chosen_by.model]
    stacked, *more = _seen([model, *other], looks, threads, progress)
    compared, references = stacked, known
    if chosen_by is not None:
        compared, references = chosen_by.places or more[0], memories_of(chosen_by.model)
    fitted = [
        _cross_fitted(memory, design, each, looks.part_of, fold_of, seed, earlier, by, reference.centres)
        for memory, design, each, by, reference in zip(known, designs, stacked, compared, references, strict=True)
    ]
    folds = tuple(zip(*(each.folds for each in fitted), strict=True))
    distances = tuple(each.distances for each in fitted)
    return CrossFit(
        memories=tuple(each.memory for each in fitted),
        folds=folds,
        fold_of=fold_of,
        held_out=in_deviations([folds[fold] for fold in fold_of], distances),
        distances=distances,
        places=stacked,
        part_of=looks.part_of,
    )


def _seen(
    graphs: Sequence[bytes], looks: _Looks, threads: int | None, progress: Progress
) -> list[tuple[Places, ...]]:  # fmt: skip
    """Of each graph, the places of each of its memories, of all pictures."""
    done, all_places = 0, []
    for graph in graphs:
        kept: list[list[Places]] = [[] for _ in memories_of(graph)]
        for found in places_of(graph, looks, threads):
            for own, values in zip(kept, found, strict=True):
                own.append(values.astype(np.float16))
            progress(done := done + 1, len(looks) * len(graphs))
        all_places.append(tuple(np.stack(own) for own in kept))
    return all_places


@dataclass(frozen=True, eq=False)
class _Fitted:
    memory: Memory
    folds: list[Memory]
    distances: F32


def _cross_fitted(
    known: Memory, design: MemoryDesign, places: Places, part_of: NDArray[np.int64],
    fold_of: NDArray[np.int64], seed: int, earlier: int, compared: Places, compared_centres: F32,
) -> _Fitted:  # fmt: skip
    """places: (pictures, rows, columns, axes), the first of each part as it is. compared: the same, in the features in
    which centres are chosen; compared_centres: those of `known` in these."""
    old, old_compared = (known.centres, compared_centres) if earlier else (None, None)

    def of_pictures(chosen: NDArray[np.bool_]) -> Memory:
        random, by, own = np.random.default_rng(seed), compared[chosen], places[chosen]
        if design.block:
            centres = farthest_first_of_blocks(by, design.block, design.centres, random, old_compared, own, old)
        else:
            by, own = by.reshape(-1, by.shape[-1]), own.reshape(-1, own.shape[-1])
            if old is not None and old_compared is not None:
                by, own = np.concatenate([by, old_compared]), np.concatenate([own, old])
            centres = farthest_first(by, design.centres, random, own)
        return replace(known, centres=centres)

    def judging(memory: Memory, distances: F32) -> Memory:
        return _with_spread(memory, distances, known if earlier else None, earlier)

    folds, distances = [], np.empty((len(fold_of), *places.shape[1:3]), np.float32)
    for fold in range(fold_of.max() + 1):
        folds.append(of_pictures(fold_of[part_of] != fold))
        for part in np.flatnonzero(fold_of == fold):
            distances[part] = distance_map(folds[fold], places[part].astype(np.float32))
    folds = [judging(memory, distances[fold_of != fold]) for fold, memory in enumerate(folds)]
    return _Fitted(judging(of_pictures(part_of >= 0), distances), folds, distances)


def distance_map(memory: Memory, places: F32) -> F32:
    """(rows, columns): from each of (rows, columns, axes) to the nearest of the centres it is compared with."""
    centres = stored(memory.centres)
    rows, columns, axes = places.shape
    down, across = centres.shape[:2] if memory.local else (1, 1)
    blocks = places.reshape(down, rows // down, across, columns // across, axes).transpose(0, 2, 1, 3, 4)
    cells = blocks.reshape(down, across, -1, axes)
    squares = np.square(centres).sum(-1)[..., None, :]
    nearest = (squares - 2 * np.matmul(cells, np.swapaxes(centres, -1, -2))).min(-1) + np.square(cells).sum(-1)
    cut = nearest.reshape(down, across, rows // down, columns // across)
    as_map = cut.transpose(0, 2, 1, 3).reshape(rows, columns)
    return np.asarray(np.sqrt(np.maximum(as_map, 0)), np.float32)


def _design_of(memory: Memory, rows: int) -> MemoryDesign:
    """rows: of the grid of places."""
    block = rows // memory.centres.shape[0] if memory.local else 0
    return MemoryDesign(memory.name, memory.taps, len(memory.bias), memory.centres.shape[-2], block)


def _with_spread(memory: Memory, distances: F32, before: Memory | None = None, earlier: int = 0) -> Memory:
    """The memory with mean and spread of the distances (n, rows, columns) of good parts at each place.

    Both are drawn to those of all places, the more so the fewer parts there are. before: the memory that so many
    earlier parts made, whose mean and spread count beside these.
    """
    own = len(distances) / (len(distances) + _COMMON_PARTS)
    mean = own * distances.mean(0) + (1 - own) * distances.mean()
    variance = own * distances.var(0) + (1 - own) * distances.var()
    if before is not None:
        count = min(earlier, _MOST_EARLIER)
        share = count / (count + len(distances))
        joined = share * before.mean + (1 - share) * mean
        variance = share * (before.inv_std**-2 + before.mean**2) + (1 - share) * (variance + mean**2) - joined**2
        mean = joined
    spread = np.sqrt(np.maximum(variance, 1e-12))
    spread = np.maximum(spread, _SMALLEST_SPREAD_SHARE * spread.mean())
    return replace(memory, mean=mean.astype(np.float32), inv_std=(1 / spread).astype(np.float32))


def in_deviations(memories: Sequence[Sequence[Memory]], distances: Sequence[F32]) -> F32:
    """`emb_dist` of each part, (n, rows, columns), by memories of its own.

    distances: of each part to the first memory of its own, then to the second, (n, rows, columns).
    """
    return summed_maps(
        [
            np.stack([(d - own[number].mean) * own[number].inv_std for own, d in zip(memories, each, strict=True)])
            for number, each in enumerate(distances)
        ]
    )


def summed_maps(maps: Sequence[F32]) -> F32:
    """The sum of maps (n, rows, columns) at the size of the first."""
    _, rows, columns = maps[0].shape
    total: F32 = maps[0].astype(np.float32)
    for other in maps[1:]:
        for index, values in enumerate(other):
            total[index] += cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return total
