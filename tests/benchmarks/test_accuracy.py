"""Evaluation of a bundle on a labelled folder: what is counted, what is refused."""

import json

import cv2
import numpy as np
import pytest

from benchmarks.accuracy import evaluate, list_test_pictures
from edge.backends import open_backend
from edge.bundle import load_bundle
from edge.errors import UsageError
from tests.small_bundle import bad_part, good_part


def labelled_folder(root, masks=True):
    """Six good parts, six with a scratch, and where it is."""
    for kind in ("good", "scratch"):
        (root / "test" / kind).mkdir(parents=True)
    (root / "ground_truth" / "scratch").mkdir(parents=True)
    for number in range(6):
        cv2.imwrite(str(root / "test" / "good" / f"{number}.png"), good_part(300 + number))
        cv2.imwrite(str(root / "test" / "scratch" / f"{number}.png"), bad_part(300 + number))
        if masks:
            mask = np.zeros((48, 64), np.uint8)
            mask[16:19, 16:48] = 255
            cv2.imwrite(str(root / "ground_truth" / "scratch" / f"{number}_mask.png"), mask)
    return root


def evaluated(bundle_path, data):
    bundle = load_bundle(bundle_path)
    calibration = bundle.calibration("int8")
    backend = open_backend(bundle, "openvino", "int8", threads=1)
    return evaluate(bundle, backend, data, threshold=calibration.threshold, budget=calibration.false_reject_budget)


def test_obvious_scratches_are_separated_and_placed(bundle_path, tmp_path):
    metrics = evaluated(bundle_path, labelled_folder(tmp_path / "data"))
    assert metrics["image_auroc"] == metrics["image_ap"] == metrics["recall_at_fpr_05"] == 1.0
    assert 0 < metrics["pixel_ap"] <= 1
    assert metrics["fpr_at_95"] == metrics["fpr_at_99"] == 0.0
    assert metrics["pixel_auroc"] > 0.9
    assert 0.3 < metrics["aupro_30"] <= 1
    assert (metrics["n_good"], metrics["n_defective"]) == (6, 6)
    json.dumps(metrics)


def test_without_masks_there_are_no_pixel_metrics(bundle_path, tmp_path):
    metrics = evaluated(bundle_path, labelled_folder(tmp_path / "data", masks=False))
    assert metrics["pixel_auroc"] is None
    assert metrics["aupro_30"] is None
    assert metrics["image_auroc"] == 1.0


def test_a_mask_of_another_size_is_refused(bundle_path, tmp_path):
    data = labelled_folder(tmp_path / "data")
    cv2.imwrite(str(data / "ground_truth" / "scratch" / "3_mask.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(UsageError, match="10x10 px, its picture is 64x48 px"):
        evaluated(bundle_path, data)


@pytest.mark.parametrize("missing", ["good", "scratch"])
def test_both_good_and_bad_parts_are_needed(tmp_path, missing):
    data = labelled_folder(tmp_path / "data")
    for picture in (data / "test" / missing).iterdir():
        picture.unlink()
    (data / "test" / missing).rmdir()
    with pytest.raises(UsageError, match="test/good/ and at least one folder"):
        list_test_pictures(data)


def test_a_result_file_carries_both_precisions_and_every_seed(bundle_path, tmp_path):
    from benchmarks.accuracy_table import main

    out = tmp_path / "result.json"
    data = labelled_folder(tmp_path / "data")
    main(["--name", "plate", "--data", str(data), "--bundle", str(bundle_path), str(bundle_path), "--out", str(out)])
    result = json.loads(out.read_text())
    assert {"device", "date_utc", "commit", "command", "selection"} <= result.keys()
    assert len(result["seeds"]) == 2
    assert result["over_seeds"]["int8"]["image_auroc"] == {"mean": 1.0, "std": 0.0}
    assert str(tmp_path) not in out.read_text()
