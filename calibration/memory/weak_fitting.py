"""Memories with a head that learned from parts known to be defective, where that pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.memory.designs import Layout
from calibration.memory.fitting import CrossFit, distance_map, summed_maps
from calibration.memory.head_training import Seen
from calibration.memory.looks import varied
from calibration.memory.places import places_of
from calibration.memory.same_part import groups_of
from calibration.memory.weak_parts import (
    MINIMUM_WEAK_PARTS,
    Progress,
    Shown,
    WeakParts,
    WeakVerdict,
    judged_heads,
    weak_folds,
)
from edge.core.datatypes import F32, U8
from export.memory_graph import Memory
from export.weak_head import WeakHead


@dataclass(frozen=True, eq=False)
class WeakFit:
    """fit: with heads where they pay, else as it was. verdict: None where the parts are too few to judge a head by."""

    fit: CrossFit
    verdict: WeakVerdict | None
    text: str


def fit_weak(
    graph: bytes,
    fit: CrossFit,
    weak: WeakParts,
    layout: Layout,
    *,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = lambda done, total: None,
) -> WeakFit:
    """graph: the network with the memories of the fit. The same arguments give the same heads, on one machine.

    The head of fold k has seen neither the good parts of fold k nor the defective ones of its own fold k, so that what
    is held out stays held out.
    """
    groups = groups_of(weak.fields, weak.parts, layout)
    parts = int(groups.max()) + 1 if len(groups) else 0
    if parts < MINIMUM_WEAK_PARTS:
        text = (
            f"parts known to be defective: {len(groups)} pictures, {parts} different: set aside, "
            f"a head is judged by {MINIMUM_WEAK_PARTS} at least"
        )
        return WeakFit(fit, None, text)
    copies = len(fit.part_of) // len(fit.fold_of) - 1
    pictures = _looks(weak.fields, layout, copies, np.random.default_rng(seed))
    found = list(zip(*places_of(graph, pictures, threads), strict=True))
    places = [np.stack(each).astype(np.float16) for each in found]
    fold_of = weak_folds(groups, len(fit.folds), seed)
    maps = [
        np.stack([_standardised(fit.folds[fold][number], each[part]) for part, fold in enumerate(fold_of)])
        for number, each in enumerate(places)
    ]
    defective = _shown(fit, places[0], np.tile(np.arange(len(groups)), 1 + copies), fold_of, summed_maps(maps))
    normals = _shown(fit, fit.places[0], fit.part_of, fit.fold_of, fit.held_out)
    verdict = judged_heads(normals, defective, groups, layout, seed, progress)
    return WeakFit(_with_heads(fit, verdict) if verdict.pays else fit, verdict, verdict.text)


def _looks(fields: U8, layout: Layout, copies: int, random: np.random.Generator) -> Iterator[U8]:
    """Every part as it is, then varied copies, as memories saw good parts: a copy must not tell what is defective."""
    yield from fields
    for _ in range(copies):
        for field in fields:
            yield varied(field, layout, random)


def _shown(
    fit: CrossFit, places: NDArray[np.float16], part_of: NDArray[np.int64], fold_of: NDArray[np.int64], maps: F32
) -> Shown:
    """Distances are to the finest memory of the fold that the part is not in."""
    distances = [_standardised(fit.folds[fold_of[part]][0], each) for each, part in zip(places, part_of, strict=True)]
    return Shown(Seen(places, np.stack(distances)), part_of, fold_of, maps)


def _standardised(memory: Memory, places: NDArray[np.float16]) -> F32:
    return np.asarray((distance_map(memory, places.astype(np.float32)) - memory.mean) * memory.inv_std, np.float32)


def _with_heads(fit: CrossFit, verdict: WeakVerdict) -> CrossFit:
    return replace(
        fit,
        memories=_headed(fit.memories, verdict.head),
        folds=tuple(_headed(fold, head) for fold, head in zip(fit.folds, verdict.folds, strict=True)),
        held_out=fit.held_out + verdict.logits,
    )


def _headed(memories: Sequence[Memory], head: WeakHead) -> tuple[Memory, ...]:
    first, *others = memories
    return (replace(first, head=head), *others)
