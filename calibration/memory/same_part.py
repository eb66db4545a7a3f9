"""Which pictures show one and the same part: such pictures must not stand on both sides of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.memory.designs import Layout
from edge.core.datatypes import U8

# Pictures are compared at this side. A higher peak of the phase correlation than these says that two show one part.
# Magnetic tiles under other light: 0.09 to 0.6, other tiles: up to 0.06. Of parts that lie the same way the mean of all
# is taken off, and what they still have in common correlates: up to 0.35 between different toys.
_SIDE = 128
_SAME: dict[Layout, float] = {"free": 0.09, "aligned": 0.45}
# all pairs of so many pictures take 6 s
_MOST_COMPARED = 400


def groups_of(fields: U8, names: Sequence[str], layout: Layout) -> NDArray[np.int64]:
    """Number of the part that each picture shows, (n,), from 0 on.

    fields: uint8 (n, h, w, 3) BGR. names: of the part that each shows, as far as known; pictures of one name are of one
    part, and so are pictures that look like the same surface, moved or in another light.
    """
    count = len(fields)
    group = np.arange(count)
    spectra = _spectra(fields, layout)
    for one in range(count):
        for other in range(one):
            if group[one] == group[other]:
                continue
            if names[one] == names[other] or _peak(spectra[one], spectra[other]) > _SAME[layout]:
                group[group == group[one]] = group[other]
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def folds_of_groups(groups: NDArray[np.int64], folds: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each picture, (n,): groups stay whole, and folds have about as many pictures each."""
    fold_of = np.empty(len(groups), np.int64)
    sizes = np.zeros(folds, np.int64)
    shuffled = random.permutation(groups.max() + 1)
    # the largest first, so that the small ones fill what is left
    for group in sorted(shuffled.tolist(), key=lambda group: -int((groups == group).sum())):
        fold = int(sizes.argmin())
        fold_of[groups == group] = fold
        sizes[fold] += int((groups == group).sum())
    return fold_of


def folds_of_good_parts(fields: U8, layout: Layout, folds: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each good part, (n,), drawn; of surfaces, pictures that show one part stand in one fold.

    Else a memory without a picture has seen its siblings, and the threshold is too low for parts that are new. Parts
    that lie the same way look alike anyhow, so nothing tells there which pictures are of one part.
    """
    count = len(fields)
    folds = min(folds, count)
    if layout == "free" and count <= _MOST_COMPARED:
        groups = groups_of(fields, [str(number) for number in range(count)], layout)
        largest = int(np.bincount(groups).max())
        # where that many are alike, that they are alike says nothing
        if 1 < largest <= count // folds:
            return folds_of_groups(groups, folds, random)
    return random.permutation(count) % folds


def _spectra(fields: Iterable[U8], layout: Layout) -> list[NDArray[np.complex128]]:
    """Of each picture, phases alone."""
    small = [cv2.resize(field, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for field in fields]
    pictures = [cv2.cvtColor(each, cv2.COLOR_BGR2GRAY).astype(np.float64) for each in small]
    common = np.mean(pictures, axis=0) if layout == "aligned" and pictures else 0
    window = np.outer(np.hanning(_SIDE), np.hanning(_SIDE))
    spectra = []
    for picture in pictures:
        own = picture - common
        spectrum = np.fft.rfft2((own - own.mean()) * window)
        size = np.abs(spectrum)
        spectra.append(spectrum / (size + 1e-6 * max(float(size.max()), 1e-6)))
    return spectra


def _peak(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> float:
    """1 for the same picture, however it is moved."""
    return float(np.fft.irfft2(one * other.conj(), (_SIDE, _SIDE)).max())
