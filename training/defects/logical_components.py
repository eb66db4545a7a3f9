"""What normal pictures of an aligned part are made of: its components, and the kinds it comes in."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_PICTURES, _SEEDS = 32, 32
_SMALLEST, _LARGEST = 0.004, 0.3
_TOLERANCES = (3, 40)
# regions thinner than this share of the side are seams and glare, no components
_THINNEST = 0.03
_KINDS = (2, 3, 4, 5)
# mean silhouette from which on a clustering is believed, and the smallest share of parts that makes a kind
_SILHOUETTE, _SMALLEST_KIND = 0.48, 0.1
_DESCRIPTOR_SIDE = 8


@dataclass(frozen=True)
class Components:
    """masks: (m, 1, h, w) bool, regions of even colour bounded by edges, with or without what lies in them.

    weights: (m,) how often each is drawn: a large one was found by more seeds, and is drawn no more for that.
    """

    masks: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Anatomy:
    """What normal parts are made of. kinds: (k, d) mean descriptors of the kinds they come in, None: all are of one."""

    components: Components
    kinds: Tensor | None

    def kind_of(self, pictures: Tensor) -> Tensor:
        """(n,) index of the kind of each picture (n, 3, h, w), on the CPU."""
        if self.kinds is None:
            return torch.zeros(len(pictures), dtype=torch.long)
        return torch.cdist(describe(pictures), self.kinds).argmin(1).cpu()


def anatomy_of(normals: Tensor, random: torch.Generator) -> Anatomy:
    """Components and kinds of normal pictures (n, 3, h, w) in 0..1."""
    return Anatomy(find_components(normals, random), find_kinds(normals))


def find_components(normals: Tensor, random: torch.Generator) -> Components:
    """Flood regions from random seeds in up to 32 pictures (n, 3, h, w) of 0..1; there may be none."""
    height, width = normals.shape[-2:]
    found: list[np.ndarray] = []
    for index in torch.linspace(0, len(normals) - 1, min(_PICTURES, len(normals))).round().long().tolist():
        picture = np.ascontiguousarray((normals[index].cpu().permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
        draws = torch.rand(_SEEDS, 4, generator=random).numpy()
        for y, x, tolerance, filled in draws:
            limit = _TOLERANCES[0] * (_TOLERANCES[1] / _TOLERANCES[0]) ** float(tolerance)
            region = _flooded(picture, int(y * height), int(x * width), limit, filled=filled < 0.5)
            if _SMALLEST <= region.mean() <= _LARGEST:
                found.append(region)
    if not found:
        return Components(torch.zeros(0, 1, height, width, dtype=torch.bool), torch.zeros(0))
    masks = torch.from_numpy(np.stack(found)[:, None]).to(normals.device)
    return Components(masks, masks.float().mean((1, 2, 3)).cpu() ** -0.5)


def _flooded(picture: np.ndarray, y: int, x: int, tolerance: float, *, filled: bool) -> np.ndarray:
    """bool (h, w): the region around a seed; neighbours in it differ by at most `tolerance` of 255 a channel."""
    mask = np.zeros((picture.shape[0] + 2, picture.shape[1] + 2), np.uint8)
    limits = (tolerance,) * 3
    cv2.floodFill(picture, mask, (x, y), (0, 0, 0), limits, limits, 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
    region = cv2.morphologyEx(mask[1:-1, 1:-1], cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    if filled:
        outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(region, outlines, -1, 1, cv2.FILLED)
    thinnest = round(_THINNEST * min(region.shape)) | 1
    return np.asarray(cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((thinnest, thinnest), np.uint8)) > 0)


def describe(pictures: Tensor) -> Tensor:
    """(n, d) colours of 8 x 8 places: what kind of part it is, not how it lies to the pixel."""
    return functional.adaptive_avg_pool2d(pictures.float(), _DESCRIPTOR_SIDE).flatten(1)


def find_kinds(normals: Tensor) -> Tensor | None:
    """(k, d) mean descriptors of the kinds that normal parts (n, 3, h, w) come in; None when they are all of one kind.

    The clustering with the highest mean silhouette, of whose kinds each hold a tenth of the parts and at least three.
    """
    described = describe(normals).cpu().numpy().astype(np.float32)
    distances = np.linalg.norm(described[:, None] - described[None], axis=2)
    best, kinds = _SILHOUETTE, None
    # OpenCV's own generator, or the kinds would depend on what ran before
    cv2.setRNGSeed(0)
    for count in _KINDS:
        if len(described) < 3 * count:
            break
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
        _, labels, centres = cv2.kmeans(described, count, None, criteria, 10, cv2.KMEANS_PP_CENTERS)
        smallest = np.bincount(labels[:, 0], minlength=count).min()
        if smallest < max(3, _SMALLEST_KIND * len(described)):
            continue
        value = mean_silhouette(distances, labels[:, 0])
        if value > best:
            best, kinds = value, torch.from_numpy(centres).to(normals.device)
    return kinds


def mean_silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """How much nearer members are to their own cluster than to the nearest other, -1..1 (Rousseeuw, 1987)."""
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    sums = np.stack([distances[:, group].sum(1) for group in groups], 1)  # (n, k)
    sizes = np.array([len(group) for group in groups])
    values = []
    for index, label in enumerate(labels):
        own = int(np.flatnonzero(np.unique(labels) == label)[0])
        inside = sums[index, own] / max(sizes[own] - 1, 1)
        outside = np.delete(sums[index] / sizes, own).min()
        values.append((outside - inside) / max(inside, outside, 1e-12))
    return float(np.mean(values))
