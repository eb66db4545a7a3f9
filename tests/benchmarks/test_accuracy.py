"""Evaluation of a bundle on a labelled folder: what is counted, what is refused."""

import json

import cv2
import numpy as np
import pytest

from benchmarks.quality.accuracy import (
    evaluate_bundle,
    map_agreement,
    metrics_text,
    precision_differences,
    predict_with_bundle,
)
from benchmarks.quality.labelled import list_test_pictures
from edge.backends import open_backend
from edge.bundles.bundle import load_bundle
from edge.bundles.versions import write_bundle
from edge.capture.images.image_reader import PLAIN, read_image
from edge.core.config import InspectionSettings, Settings
from edge.core.errors import UsageError
from edge.preprocessing.normal_samples import image_sha256
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
    settings = Settings(inspection=InspectionSettings(backend="openvino", threads=1))
    return evaluate_bundle(load_bundle(bundle_path), data, settings, PLAIN, "int8")[1]


def test_obvious_scratches_are_separated_and_placed(bundle_path, tmp_path):
    metrics = evaluated(bundle_path, labelled_folder(tmp_path / "data"))
    assert metrics["image_auroc"] == metrics["image_ap"] == metrics["recall_at_fpr_05"] == 1.0
    assert 0 < metrics["pixel_ap"] <= 1
    assert metrics["fpr_at_95"] == metrics["fpr_at_99"] == 0.0
    assert metrics["pixel_auroc"] > 0.9
    assert 0.3 < metrics["aupro_30"] <= 1
    assert 0 < metrics["aupro_05"] <= metrics["aupro_30"]
    assert metrics["f1_max_diagnostic"] == 1.0
    assert (metrics["n_good"], metrics["n_defective"], metrics["n_left_out"]) == (6, 6, 0)
    assert metrics["recall_by_kind"] == {"scratch": {"found": 6, "of": 6, "recall": 1.0}}
    # bootstrapping a perfect separation gives a perfect separation
    assert metrics["image_auroc_interval_95"] == [1.0, 1.0]
    assert metrics["fpr_at_95_interval_95"] == [0.0, 0.0]
    # merged masks do not tell defects apart
    assert metrics["au_spro"] is metrics["au_spro_05_by_kind"] is None
    json.dumps(metrics)
    assert "scratch 6/6" in metrics_text(metrics)


def test_without_masks_there_are_no_pixel_metrics(bundle_path, tmp_path):
    metrics = evaluated(bundle_path, labelled_folder(tmp_path / "data", masks=False))
    assert metrics["pixel_auroc"] is None
    assert metrics["aupro_30"] is None
    assert metrics["image_auroc"] == 1.0


def test_a_mask_of_another_size_is_refused(bundle_path, tmp_path):
    data = labelled_folder(tmp_path / "data")
    cv2.imwrite(str(data / "ground_truth" / "scratch" / "3_mask.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(UsageError, match=r"10x10 px, its picture 3\.png is 64x48 px"):
        evaluated(bundle_path, data)


def with_channels(data, greys):
    """The same scratches, each mask now a folder with one file per defect."""
    for number in range(6):
        merged = data / "ground_truth" / "scratch" / f"{number}_mask.png"
        channels = data / "ground_truth" / "scratch" / str(number)
        channels.mkdir()
        whole = cv2.imread(str(merged), cv2.IMREAD_GRAYSCALE)
        merged.unlink()
        for index, (grey, columns) in enumerate(zip(greys, (slice(16, 32), slice(32, 48)), strict=True)):
            part = np.zeros_like(whole)
            part[:, columns] = np.where(whole[:, columns] > 0, grey, 0)
            cv2.imwrite(str(channels / f"{index:03}.png"), part)
    return data


def configure(data, entries):
    names = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
    (data / "defects_config.json").write_text(json.dumps([dict(zip(names, entry, strict=True)) for entry in entries]))


def test_masks_with_defect_channels_give_the_saturated_overlap(bundle_path, tmp_path):
    data = with_channels(labelled_folder(tmp_path / "data"), greys=(255, 254))
    full = evaluated(bundle_path, data)
    assert full["au_spro"].keys() == {"0.01", "0.05", "0.1", "0.3", "1"}
    assert full["au_spro_05_by_kind"] == {"scratch": full["au_spro"]["0.05"]}
    # a tenth of a defect is enough now, relative or as 5 of 48 pixels: more is covered at the same rate
    configure(data, [("left", 255, 0.1, True), ("right", 254, 4.8, False)])
    tenth = evaluated(bundle_path, data)
    assert tenth["au_spro"]["0.05"] > full["au_spro"]["0.05"]
    configure(data, [("left", 255, 4.8, False), ("right", 254, 0.1, True)])
    assert evaluated(bundle_path, data)["au_spro"] == pytest.approx(tenth["au_spro"])
    # the union of the channels is the mask of the other pixel figures
    assert full["pixel_auroc"] == evaluated(bundle_path, labelled_folder(tmp_path / "merged"))["pixel_auroc"]


def test_a_defect_channel_that_the_configuration_lacks_is_refused(bundle_path, tmp_path):
    data = with_channels(labelled_folder(tmp_path / "data"), greys=(255, 254))
    configure(data, [("left", 255, 1.0, True)])
    with pytest.raises(UsageError, match=r"001\.png: its grey value 254 is not in .*which knows 255"):
        evaluated(bundle_path, data)
    configure(data, [("left", 255, -1.0, True)])
    with pytest.raises(UsageError, match=r"defects_config\.json: 0\.saturation_threshold"):
        evaluated(bundle_path, data)


def test_a_defect_smaller_than_the_evaluation_grid_is_kept(bundle_path, tmp_path):
    data = tmp_path / "data"
    for kind, part in (("good", good_part), ("spot", bad_part)):
        (data / "test" / kind).mkdir(parents=True)
        cv2.imwrite(str(data / "test" / kind / "0.png"), part(300, 1000, 1000))
    (data / "ground_truth" / "spot").mkdir(parents=True)
    mask = np.zeros((1000, 1000), np.uint8)
    mask[501, 501] = 255
    cv2.imwrite(str(data / "ground_truth" / "spot" / "0_mask.png"), mask)
    assert evaluated(bundle_path, data)["pixel_auroc"] is not None


def knowing(bundle_path, **fields):
    """The bundle, with pictures in its record of what it was trained on."""
    bundle = load_bundle(bundle_path)
    write_bundle(bundle_path, bundle.manifest.model_copy(update=fields), {})
    return bundle_path


def hashes(*paths):
    return tuple(image_sha256(read_image(path)) for path in paths)


def test_defective_pictures_seen_in_training_are_left_out(bundle_path, tmp_path):
    data = labelled_folder(tmp_path / "data")
    scratches = data / "test" / "scratch"
    (data / "test" / "dent").mkdir()
    cv2.imwrite(str(data / "test" / "dent" / "0.png"), bad_part(400))
    weak = data / "train" / "weak" / "scratch"
    weak.mkdir(parents=True)
    # another name and another format: it is the same part
    cv2.imwrite(str(weak / "known.bmp"), read_image(scratches / "0.png"))
    knowing(bundle_path, weak_on=hashes(scratches / "0.png"), trained_on=hashes(scratches / "1.png"))
    metrics = evaluated(bundle_path, data)
    assert (metrics["n_good"], metrics["n_defective"], metrics["n_left_out"]) == (6, 5, 2)
    assert (metrics["seen_kinds"], metrics["unseen_kinds"]) == (["scratch"], ["dent"])
    assert metrics["image_auroc_seen_kinds"] == metrics["image_auroc_unseen_kinds"] == 1.0


def test_without_weak_labels_there_are_no_seen_and_unseen_kinds(bundle_path, tmp_path):
    metrics = evaluated(bundle_path, labelled_folder(tmp_path / "data"))
    assert (metrics["seen_kinds"], metrics["image_auroc_seen_kinds"]) == ([], None)
    assert (metrics["unseen_kinds"], metrics["image_auroc_unseen_kinds"]) == ([], None)


def test_good_test_pictures_that_were_trained_on_are_a_leak_and_named(bundle_path, tmp_path):
    data = labelled_folder(tmp_path / "data")
    knowing(bundle_path, trained_on=hashes(*(data / "test" / "good" / f"{number}.png" for number in (2, 4))))
    with pytest.raises(
        UsageError, match=r"trained on 2 of the good test pictures: .*good/2\.png, .*good/4\.png"
    ) as leak:
        evaluated(bundle_path, data)
    assert "remove them from test/good/" in leak.value.fix


def test_both_precisions_side_by_side_differ_by_little(bundle_path, tmp_path):
    data, bundle = labelled_folder(tmp_path / "data"), load_bundle(bundle_path)
    predictions = [
        predict_with_bundle(bundle, open_backend(bundle, "openvino", precision, threads=1), data)
        for precision in ("int8", "fp32")
    ]
    agreement = map_agreement(*predictions)
    assert 0.9 < agreement["map_pearson"] < 1
    assert 0 < agreement["map_max_abs_difference"] < 0.5
    pooled = [np.concatenate([values.ravel() for values in each.maps]).astype(np.float64) for each in predictions]
    assert agreement["map_pearson"] == pytest.approx(np.corrcoef(*pooled)[0, 1], abs=1e-9)
    assert agreement["map_max_abs_difference"] == pytest.approx(np.abs(pooled[0] - pooled[1]).max())


def test_a_figure_that_does_not_exist_has_no_difference(bundle_path, tmp_path):
    metrics = evaluated(bundle_path, labelled_folder(tmp_path / "data", masks=False))
    other = {**metrics, "image_auroc": 0.75}
    differences = precision_differences(metrics, other)
    assert (differences["image_auroc"], differences["pixel_auroc"]) == (0.25, None)


@pytest.mark.parametrize("missing", ["good", "scratch"])
def test_both_good_and_bad_parts_are_needed(tmp_path, missing):
    data = labelled_folder(tmp_path / "data")
    for picture in (data / "test" / missing).iterdir():
        picture.unlink()
    (data / "test" / missing).rmdir()
    with pytest.raises(UsageError, match="test/good/ and at least one folder"):
        list_test_pictures(data)


def test_a_result_file_carries_both_precisions_and_every_seed(bundle_path, tmp_path):
    from benchmarks.quality.accuracy_table import main

    out = tmp_path / "result.json"
    data = labelled_folder(tmp_path / "data")
    main(["--name", "plate", "--data", str(data), "--bundle", str(bundle_path), str(bundle_path), "--out", str(out)])
    result = json.loads(out.read_text())
    assert {"device", "date_utc", "commit", "command", "selection"} <= result.keys()
    assert len(result["seeds"]) == 2
    assert result["over_seeds"]["int8"]["image_auroc"] == {"mean": 1.0, "std": 0.0}
    assert str(tmp_path) not in out.read_text()
