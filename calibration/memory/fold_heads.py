"""The heads of a bundle's folds, kept beside the one that runs, to judge good parts fairly later on.

A head of all parts runs on the line. With those of the folds a later calibration judges every good part by a head that
has not seen it, without the defective parts at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from calibration.memory.fitting import CrossFit
from edge.bundles.bundle import ModelBundle
from edge.core.errors import BundleError
from export.weak_head import NAMES, WeakHead

KEY = "weak_heads"


@dataclass(frozen=True, eq=False)
class FoldHeads:
    """heads: of each fold. fold_of: pixel hash of a good part → the fold whose head has not seen it."""

    heads: tuple[WeakHead, ...]
    fold_of: Mapping[str, int]

    def folds_of(self, hashes: Sequence[str]) -> NDArray[np.int64]:
        """The fold of each part; parts that came later are in any, since no head has seen them."""
        count = len(self.heads)
        return np.array([self.fold_of.get(sha256, number % count) for number, sha256 in enumerate(hashes)], np.int64)


def heads_file(fit: CrossFit, hashes: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """The heads of the folds as a bundle's file; nothing where memories have none. hashes: of the parts, by pixels."""
    heads = [memories[0].head for memories in fit.folds]
    found = [head for head in heads if head is not None]
    if len(found) < len(heads):
        return {}
    arrays = {name: np.stack([getattr(head, name) for head in found]) for name in NAMES}
    file = BytesIO()
    np.savez_compressed(
        file, allow_pickle=False, fold_of=fit.fold_of.astype(np.uint8), parts=np.array(hashes), **arrays
    )
    return {KEY: (f"{KEY}.npz", file.getvalue())}


def heads_of(bundle: ModelBundle) -> FoldHeads | None:
    """The heads of a bundle's folds; None: its memory has learned from no defective parts. Raises BundleError."""
    if KEY not in bundle.manifest.files:
        return None
    try:
        with np.load(BytesIO(bundle.read(KEY)), allow_pickle=False) as stored:
            arrays = {name: stored[name].astype(np.float32) for name in NAMES}
            fold_of = dict(zip(stored["parts"].tolist(), stored["fold_of"].tolist(), strict=True))
    except (OSError, KeyError, ValueError) as error:
        raise BundleError(
            f"{bundle.path}: {KEY}.npz holds no heads ({error})", fix="make the bundle anew with `train`"
        ) from error
    heads = [WeakHead(*values) for values in zip(*(arrays[name] for name in NAMES), strict=True)]
    return FoldHeads(tuple(heads), fold_of)
