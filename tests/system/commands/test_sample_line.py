"""What ships: the sample bundle on the sample line, with both backends and both precisions."""

import importlib.util
import os
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.backends import CPU_BACKENDS, open_backend
from edge.bundles.bundle import load_bundle
from edge.capture.images.image_io import list_pictures
from edge.capture.images.image_reader import read_image
from edge.core.config import InspectionSettings, Settings
from edge.core.datatypes import Decision, Frame
from edge.core.latency import StageClock
from edge.inspection.inspectors import make_inspector
from edge.metrics import image_auroc
from edge.samples import sample_bundle, sample_data

MEGABYTE = 1_000_000
# a folder in MVTec layout with more pictures of the same part; a checkout alone does not have it
MORE_PICTURES = os.environ.get("EDGE_INSPECT_ALIENS")


def inspector_with(backend, precision):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    inspection = InspectionSettings(backend=backend, precision=precision)
    return make_inspector(load_bundle(sample_bundle()), Settings(inspection=inspection))


def judged(inspector, paths):
    verdicts = []
    for index, path in enumerate(paths):
        frame = Frame(index, 0, datetime(2026, 1, 1, tzinfo=timezone.utc), path.name, read_image(path))
        verdicts.append(inspector.inspect(frame))
    return verdicts


def test_the_bundle_is_whole_small_and_calibrated():
    bundle = load_bundle(sample_bundle())
    bundle.verify()
    assert all(bundle.calibration(each).false_reject_budget == pytest.approx(0.05) for each in ("int8", "fp32"))
    # encoder and memories, once in each precision
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 8 * MEGABYTE


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_little_noise_and_jpeg_reject_no_more_good_parts(precision):
    inspector, random = inspector_with("onnxruntime", precision), np.random.default_rng(0)

    def decision(picture):
        return inspector.inspect(Frame(0, 0, datetime(2026, 1, 1, tzinfo=timezone.utc), "", picture)).decision

    for path in list_pictures(sample_data() / "test/good"):
        picture = read_image(path)
        noisy = np.clip(np.rint(picture + random.normal(0, 1, picture.shape)), 0, 255).astype(np.uint8)
        compressed = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR)
        assert decision(noisy) == decision(compressed) == decision(picture), path


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_both_backends_agree_on_every_shipped_picture(precision):
    paths = [
        path for kind in ("train/good", "test/good", "test/anomaly") for path in list_pictures(sample_data() / kind)
    ]
    first, second = (judged(inspector_with(name, precision), paths) for name in CPU_BACKENDS)
    # runtimes round INT8 sums in ways of their own, and a distance is a small difference of such sums
    limit = 0.05 if precision == "int8" else 0.02
    for path, a, b in zip(paths, first, second, strict=True):
        assert a.decision is b.decision, path
        assert abs(a.score - b.score) < limit * a.threshold, path


@pytest.mark.skipif(MORE_PICTURES is None, reason="EDGE_INSPECT_ALIENS names no folder with more pictures of the part")
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_both_backends_agree_on_every_further_picture(precision):
    paths = [path for folder in sorted(Path(MORE_PICTURES).glob("test/*")) for path in list_pictures(folder)]
    first, second = (judged(inspector_with(name, precision), paths) for name in CPU_BACKENDS)
    assert [verdict.decision for verdict in first] == [verdict.decision for verdict in second]
    assert all(abs(a.score - b.score) < 0.02 * a.threshold for a, b in zip(first, second, strict=True))


def test_parts_with_defects_score_above_good_ones():
    inspector = inspector_with("openvino", "int8")
    scores = {
        kind: [verdict.score for verdict in judged(inspector, list_pictures(sample_data() / "test" / kind))]
        for kind in ("good", "anomaly")
    }
    labels = [0] * len(scores["good"]) + [1] * len(scores["anomaly"])
    assert image_auroc(labels, scores["good"] + scores["anomaly"]) > 0.9


def test_some_defects_are_found_and_their_place_is_told():
    verdicts = judged(inspector_with("openvino", "int8"), list_pictures(sample_data() / "test" / "anomaly"))
    rejected = [verdict for verdict in verdicts if verdict.decision is Decision.NG]
    assert len(rejected) >= len(verdicts) // 2
    assert all(verdict.regions for verdict in rejected)


def test_a_second_look_gives_the_same_score_to_the_last_bit():
    bundle = load_bundle(sample_bundle())
    picture = read_image(list_pictures(sample_data() / "test" / "anomaly")[0])
    scores = {open_backend(bundle, "openvino").score(picture, StageClock(0)).score for _ in range(2)}
    assert len(scores) == 1
