"""How well a bundle separates good from bad parts of an MVTec-style folder, through the backend that will run.

Nothing is chosen here: threshold and score path come with the bundle. Definitions: edge/metrics.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Backend
from edge.bundle import ModelBundle
from edge.datatypes import F32, U8
from edge.errors import UsageError
from edge.latency import StageClock
from edge.metrics import (
    aupro,
    average_precision,
    fpr_at_recall,
    image_auroc,
    pixel_auroc,
    pixel_average_precision,
    rate_interval,
    recall_at_fpr,
)
from edge.picture import list_pictures, read_picture

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TestPicture:
    """One picture of test/, its class folder, and where its mask lies (None: there is none)."""

    path: Path
    kind: str
    mask: Path | None

    @property
    def defective(self) -> bool:
        return self.kind != "good"


def list_test_pictures(data: Path) -> list[TestPicture]:
    """test/<class>/* with ground_truth/<class>/*_mask.*; raises UsageError unless both good and bad parts are there."""
    root = data / "test"
    kinds = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    pictures = [
        TestPicture(path, kind, _mask_of(data, kind, path)) for kind in kinds for path in list_pictures(root / kind)
    ]
    if not any(picture.defective for picture in pictures) or all(picture.defective for picture in pictures):
        raise UsageError(
            f"{data}: evaluation needs test/good/ and at least one folder of defective parts beside it, found "
            f"{', '.join(kinds) or 'nothing'}",
            fix="arrange the pictures as test/good/ and test/<defect>/, masks as ground_truth/<defect>/<name>_mask.png",
        )
    return pictures


def _mask_of(data: Path, kind: str, path: Path) -> Path | None:
    for name in (f"{path.stem}_mask.png", f"{path.stem}.png"):
        mask = data / "ground_truth" / kind / name
        if mask.exists():
            return mask
    return None


def evaluate(
    bundle: ModelBundle,
    backend: Backend,
    data: Path,
    *,
    threshold: float,
    budget: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Metrics as a JSON-able dict; the pixel metrics are None where a defective picture lacks its mask."""
    pictures = list_test_pictures(data)
    labels = np.array([int(picture.defective) for picture in pictures])
    scores = np.empty(len(pictures))
    maps: list[F32] = []
    masks: list[Mask | None] = []
    for index, picture in enumerate(pictures):
        image = read_picture(picture.path)
        if bundle.preprocess.field_of_view(*image.shape[:2]) is None:
            raise UsageError(
                f"{picture.path} is {image.shape[1]}x{image.shape[0]} px; the bundle's region of interest "
                f"{bundle.preprocess.rectangle} does not lie inside",
                fix="evaluate on pictures of the camera that the bundle was made for",
            )
        anomaly_map = backend.score(image, StageClock(0))
        scores[index] = anomaly_map.score
        maps.append(anomaly_map.values)
        masks.append(_map_mask(picture, image, bundle))
        progress(index + 1, len(pictures))
    normals = scores[labels == 0]
    rejected = int((normals > threshold).sum())
    interval = rate_interval(rejected, len(normals))
    found = int((scores[labels == 1] > threshold).sum())
    result: dict[str, Any] = {
        "image_auroc": image_auroc(labels, scores),
        "image_ap": average_precision(labels, scores),
        "pixel_auroc": None,
        "pixel_ap": None,
        "aupro_30": None,
        "fpr_at_95": fpr_at_recall(labels, scores, 0.95),
        "fpr_at_99": fpr_at_recall(labels, scores, 0.99),
        "recall_at_fpr_05": recall_at_fpr(labels, scores, 0.05),
        "false_reject_rate": rejected / len(normals),
        "false_reject_interval_95": [interval.low, interval.high],
        "false_reject_budget": budget,
        "recall": found / int(labels.sum()),
        "threshold": threshold,
        "n_good": len(normals),
        "n_defective": int(labels.sum()),
        "image_auroc_by_kind": {
            kind: image_auroc(labels[keep], scores[keep])
            for kind in sorted({picture.kind for picture in pictures if picture.defective})
            if (keep := np.array([picture.kind in (kind, "good") for picture in pictures])).any()
        },
        "selection": bundle.manifest.training.selection,
        "backend": backend.name,
        "engine_sha256": backend.engine_sha256,
        "bundle_sha256": bundle.sha256,
    }
    known = [mask for mask in masks if mask is not None]
    if len(known) == len(masks) and any(mask.any() for mask in known):
        result["pixel_auroc"] = pixel_auroc(known, maps)
        result["pixel_ap"] = pixel_average_precision(known, maps)
        result["aupro_30"] = aupro(known, maps, 0.3)
    return result


def _map_mask(picture: TestPicture, image: U8, bundle: ModelBundle) -> Mask | None:
    """The defect at the anomaly map's size; nearest neighbour. Good parts have an empty one."""
    side = bundle.manifest.map_side
    if not picture.defective:
        return np.zeros((side, side), np.bool_)
    if picture.mask is None:
        return None
    mask = read_picture(picture.mask)
    if mask.shape[:2] != image.shape[:2]:
        raise UsageError(
            f"{picture.mask} is {mask.shape[1]}x{mask.shape[0]} px, "
            f"its picture is {image.shape[1]}x{image.shape[0]} px",
            fix="make the mask anew from this picture",
        )
    view = bundle.preprocess.field_of_view(*image.shape[:2])
    assert view is not None, "the backend scored this picture"
    cropped = mask[view.y : view.y + view.height, view.x : view.x + view.width, 0]
    return np.asarray(cv2.resize(cropped, (side, side), interpolation=cv2.INTER_NEAREST) > 127)


def metrics_text(metrics: dict[str, Any]) -> str:
    """The metrics for a person."""
    low, high = metrics["false_reject_interval_95"]
    lines = [
        f"{metrics['data']}: {metrics['n_good']} good, {metrics['n_defective']} defective parts; "
        f"{metrics['precision']} on {metrics['backend']}",
        f"image AUROC {metrics['image_auroc']:.4f}",
    ]
    if metrics["pixel_auroc"] is not None:
        lines.append(f"pixel AUROC {metrics['pixel_auroc']:.4f}, AUPRO at 0.3 {metrics['aupro_30']:.4f}")
    lines += [
        f"false rejects to find 95 % of defects: {metrics['fpr_at_95']:.1%}; 99 %: {metrics['fpr_at_99']:.1%}",
        f"at the bundle's threshold {metrics['threshold']:.4f}: {metrics['recall']:.1%} of defects found, "
        f"{metrics['false_reject_rate']:.1%} of good parts rejected (95 % interval {low:.1%} to {high:.1%}, "
        f"budget {metrics['false_reject_budget']:.1%})",
        "image AUROC by kind: " + ", ".join(f"{k} {v:.3f}" for k, v in metrics["image_auroc_by_kind"].items()),
        f"chosen without test pictures: {metrics['selection']}",
    ]
    return "\n".join(lines)
