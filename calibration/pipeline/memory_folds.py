"""The memory of a bundle: fitted to good parts after the export, and by which memory each part is judged fairly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.memory.designs import Layout, designs_for
from calibration.memory.fitting import FOLDS, Chooser, CrossFit, Places, fit_memories, refit_memories
from calibration.memory.fold_heads import heads_file, heads_of
from calibration.memory.same_part import folds_of_good_parts
from calibration.memory.weak_fitting import fit_weak
from calibration.memory.weak_parts import WeakParts
from calibration.pipeline.sample_cache import NormalSamples, Part
from edge.bundles.bundle import ModelBundle
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.core.progress import progress_bar, say
from export.graph import graph_from_onnx
from export.memory_graph import TAP_PREFIX, Memory, memories_of, with_memories, with_other_memories

MINIMUM_NORMAL_SAMPLES = 5
# of the parts in a memory, so many must be there to judge them by memories of the others
_SHARE_NEEDED = 0.5
# tiles that a memory of large fields is fitted to, in all: of so many parts as many of each
_MOST_TILES = 400
_SMALL_PX = 128


class _Closed(Protocol):
    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=_Closed)


@dataclass(frozen=True, eq=False)
class Folds:
    """memories: of each fold. fold_of: pixel hash of a part → the fold that has not seen it.

    earlier: number of parts that the memory held before these joined it. before: that memory by precision, as far as
    it is known; empty: it was fitted to these parts alone.
    weak: what parts known to be defective were worth, in words. files: what a bundle keeps to judge by later. places:
    what the FP32 network saw of the parts of `fold_of`, in their order, as `CrossFit.places`; None: not kept.
    """

    memories: tuple[tuple[Memory, ...], ...]
    fold_of: Mapping[str, int]
    earlier: int = 0
    before: Mapping[str, tuple[Memory, ...]] = field(default_factory=dict)
    weak: str = ""
    files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    places: tuple[Places, ...] | None = None

    def graph(self, model: bytes, fold: int) -> bytes:
        """The bundle's network, in whatever precision, with the memory of a fold."""
        return with_other_memories(model, self.memories[fold])


class Fair(Generic[Opened]):
    """What is opened of a network, and of it with the memory of each fold, when a part first needs it."""

    def __init__(self, open_network: Callable[[bytes], Opened], model: bytes, folds: Folds | None) -> None:
        self._open, self._model, self._folds = open_network, model, folds
        self._opened: dict[int | None, Opened] = {}

    @property
    def deployed(self) -> Opened:
        """What runs, with the memory of all parts."""
        return self._of_fold(None)

    def of(self, sha256: str) -> Opened:
        """What has not seen the part with these pixels: what runs, where no memory has seen it."""
        return self._of_fold(None if self._folds is None else self._folds.fold_of.get(sha256))

    def _of_fold(self, fold: int | None) -> Opened:
        if fold not in self._opened:
            model = self._model if self._folds is None or fold is None else self._folds.graph(self._model, fold)
            self._opened[fold] = self._open(model)
        return self._opened[fold]

    def close(self) -> None:
        while self._opened:
            self._opened.popitem()[1].close()


def taps_of(model: bytes) -> list[str]:
    """The features that an exported network hands on; none: it has no memory."""
    return [name for name in graph_from_onnx(model).outputs if name.startswith(TAP_PREFIX)]


def with_memory(
    model: bytes, parts: NormalSamples, threads: int | None, weak: WeakParts | None = None
) -> tuple[bytes, Folds]:
    """The exported network with a memory of all parts in place of its taps.

    weak: parts known to be defective, from which the memory learns where that pays.
    """
    chosen, training = parts.all, parts.bundle.manifest.training
    if len(chosen) < MINIMUM_NORMAL_SAMPLES:
        raise UsageError(
            f"{len(chosen)} good parts are too few for a memory; at least {MINIMUM_NORMAL_SAMPLES} are needed",
            fix="give a folder of more pictures of good parts",
        )
    seen = _seen(parts, chosen)
    with progress_bar("looking at good parts for the memory") as advance:
        fit = fit_memories(
            model, seen.fields, seen.layout, designs_for(taps_of(model), seen.layout, len(chosen), seen.tiles),
            seed=training.seed, threads=threads, progress=advance, fold_of=seen.fold_of,
        )  # fmt: skip
    for memory in fit.memories:
        where = "for each block of places" if memory.local else "for all places together"
        count, taps = memory.centres.shape[-2], ", ".join(memory.taps)
        say(f"{memory.name} memory of {len(chosen)} good parts: {count} centres {where}, {taps}")
    folds = _folds(fit, chosen, seen)
    if weak is not None and len(weak.parts):
        with progress_bar("learning from parts known to be defective") as advance:
            learned = fit_weak(
                with_memories(model, fit.memories), fit, weak, training.layout,
                seed=training.seed, threads=threads, progress=advance,
            )  # fmt: skip
        say(learned.text)
        fit = learned.fit
        folds = replace(
            _folds(fit, chosen, seen), weak=learned.text, files=heads_file(fit, [part.sha256 for part in chosen])
        )
    return with_memories(model, fit.memories), folds


def weak_parts(data: Path, samples: NormalSamples) -> WeakParts:
    """The pictures in data/train/weak/; none where there is no such folder. Raises UsageError as `load_weak` does."""
    from training.data.dataset import NormalSamples as GoodParts
    from training.data.dataset import load_weak

    chosen, preprocess = samples.all, samples.bundle.preprocess
    good = GoodParts(samples.stacked(chosen[:1]), tuple(part.sha256 for part in chosen))
    found = load_weak(data, preprocess, good, samples.reader)
    return WeakParts(found.fields, found.parts)


def folds_of(bundle: ModelBundle, parts: NormalSamples, threads: int | None) -> Folds | None:
    """Memories that have not seen the parts, fitted anew to those at hand; None: it has seen none.

    Where most of the parts in the memory are missing, those that are there are left out of `parts`: memories of few
    parts would find them all unusual.
    """
    model, manifest = bundle.read("model_fp32"), bundle.manifest
    known = set(manifest.memory_on)
    chosen = [part for part in parts.all if part.sha256 in known]
    if not chosen or not memories_of(model):
        return None
    if len(chosen) < max(MINIMUM_NORMAL_SAMPLES, _SHARE_NEEDED * len(known)):
        say(f"{len(chosen)} parts are in the memory, and too few of its {len(known)} to judge them fairly: left out")
        parts.leave_out(part.sha256 for part in chosen)
        return None
    return memories_without(model, parts, chosen, threads)[1]


def memories_without(
    model: bytes, parts: NormalSamples, chosen: Sequence[Part], threads: int | None, earlier: int = 0,
    chosen_by: Chooser | None = None,
) -> tuple[tuple[Memory, ...], Folds]:  # fmt: skip
    """The memories of a network, fitted anew to the chosen parts, and those without each fifth.

    earlier: number of other parts that the network's memories hold, whose centres stay candidates; 0: those are gone.
    chosen_by: in whose features it is decided which places become centres; None: in those of the network itself.
    """
    training = parts.bundle.manifest.training
    # other parts are new to every head; the same ones keep their folds, whose heads have not seen them
    learned = None if earlier else heads_of(parts.bundle)
    seen = _seen(parts, chosen)
    fold_of = seen.fold_of if learned is None else learned.folds_of([part.sha256 for part in chosen])
    with progress_bar("looking at good parts without each fifth of them") as advance:
        fit = refit_memories(
            model, seen.fields, seen.layout,
            earlier=earlier, seed=training.seed, threads=threads, progress=advance, fold_of=fold_of,
            chosen_by=chosen_by,
        )  # fmt: skip
    if learned is not None:
        heads = zip(fit.folds, learned.heads, strict=False)
        fit = replace(fit, folds=tuple((replace(fold[0], head=head), *fold[1:]) for fold, head in heads))
    return fit.memories, _folds(fit, chosen, seen)


def refitted(
    model: bytes, precision: str, parts: NormalSamples, folds: Folds, threads: int | None
) -> tuple[bytes, Folds]:
    """A network with its memory fitted in the features that it has itself, and memories of folds in the same.

    model: in another precision than the one whose memory it has. Rounding moves features, at each place in a way of its
    own, and a memory of unrounded ones takes that for what is unusual.
    """
    known = folds.before.get(precision) or folds.before.get("fp32")
    base = model if known is None else with_other_memories(model, known)
    chosen = [part for part in parts.all if part.sha256 in folds.fold_of]
    # the bundle's own has the memory that these parts join, if they do
    same = [part.sha256 for part in chosen] == list(folds.fold_of)
    unrounded = Chooser(parts.bundle.read("model_fp32"), folds.places if same else None)
    memories, own = memories_without(base, parts, chosen, threads, folds.earlier, unrounded)
    own = replace(own, earlier=folds.earlier, before=folds.before, places=folds.places)
    return with_other_memories(model, memories), own


@dataclass(frozen=True, eq=False)
class Extended:
    """An FP32 network whose memory more good parts have joined. memory_on: pixel hashes of all parts in it."""

    model: bytes
    folds: Folds
    memory_on: tuple[str, ...]


def extended(bundle: ModelBundle, parts: NormalSamples, threads: int | None) -> Extended | None:
    """The bundle's network with these parts in its memory, too; None: it has no memory, or they are in it already.

    Where all parts of the memory are at hand, it is fitted to all of them anew. Else its centres stay candidates beside
    the new places, and the least useful of both give way: no old picture is needed. The few of `parts` that it holds
    are then left out, as no memory is without them.
    """
    model, manifest = bundle.read("model_fp32"), bundle.manifest
    known, held = set(manifest.memory_on), memories_of(model)
    chosen = [part for part in parts.all if part.sha256 not in known]
    if not held or len(chosen) < MINIMUM_NORMAL_SAMPLES:
        return None
    hashes = (*manifest.memory_on, *(part.sha256 for part in chosen))
    say(f"{len(chosen)} good parts join the memory of {len(known)}")
    if known <= {part.sha256 for part in parts.all}:
        memories, folds = memories_without(model, parts, parts.all, threads)
        return Extended(with_other_memories(model, memories), folds, hashes)
    parts.leave_out(known)
    memories, folds = memories_without(model, parts, chosen, threads, len(known))
    before = {"fp32": held}
    if "model_int8" in manifest.files:
        before["int8"] = memories_of(bundle.read("model_int8"))
    folds = replace(folds, earlier=len(known), before=before)
    return Extended(with_other_memories(model, memories), folds, hashes)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a memory is fitted to: network inputs, which part each shows, and how parts lie in them.

    fold_of: of each input, so that all tiles of a part stand in one fold; None: the memory draws them. tiles: how many
    inputs are tiles.
    """

    fields: U8
    part_of: NDArray[np.int64]
    layout: Layout
    fold_of: NDArray[np.int64] | None
    tiles: int


def _seen(parts: NormalSamples, chosen: Sequence[Part]) -> _Seen:
    training = parts.bundle.manifest.training
    shown = parts.shown(chosen, _MOST_TILES)
    if shown.tiles is None:
        return _Seen(shown.fields, shown.part_of, training.layout, None, 0)
    # pictures are told apart at this side anyhow
    small = np.stack([cv2.resize(field, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
                      for field in parts.fields(chosen)]).astype(np.uint8)  # fmt: skip
    folds = folds_of_good_parts(small, training.layout, FOLDS, np.random.default_rng(training.seed))
    # a tile does not know where it lies: what is usual in one place of it is usual in all
    return _Seen(shown.fields, shown.part_of, "free", folds[shown.part_of], len(shown.tiles))


def _folds(fit: CrossFit, chosen: Sequence[Part], seen: _Seen) -> Folds:
    folds = dict(zip(seen.part_of.tolist(), fit.fold_of.tolist(), strict=True))
    fold_of = {part.sha256: folds[number] for number, part in enumerate(chosen)}
    return Folds(fit.folds, fold_of, places=fit.places)
