"""Frame → verdict with a real network."""

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.backends import open_backend, open_backends
from edge.bundles.bundle import load_bundle
from edge.core.datatypes import Decision, Fault, Frame, Reason
from edge.core.latency import StageClock
from edge.inspection.inspector import Inspector
from edge.kernels.cpu import NetworkOutputs
from tests.small_bundle import bad_part, good_part, make_bundle


def frame(image, index=0, fault=None):
    return Frame(index, 0, datetime(2026, 1, 1, tzinfo=timezone.utc), "test", image, fault)


def inspector_of(path, backend="openvino", precision="int8"):
    bundle = load_bundle(path)
    calibration = bundle.calibration(precision)
    opened = open_backend(bundle, backend, precision, threads=1)
    return Inspector(opened, bundle.preprocess, calibration.threshold, calibration.pixel_threshold, bundle.sha256)


def test_good_parts_are_ok_and_a_scratch_is_ng_where_it_is(bundle_path):
    inspector = inspector_of(bundle_path)
    for seed in range(100, 110):
        assert inspector.inspect(frame(good_part(seed))).decision is Decision.OK
    verdict = inspector.inspect(frame(bad_part(100)))
    assert verdict.decision is Decision.NG
    assert verdict.reason is Reason.ABOVE_THRESHOLD
    region = verdict.regions[0]
    # the scratch: rows 16 to 18, columns 16 to 47 of 48 x 64
    assert region.y <= 16 <= region.y + region.height
    assert region.x < 32 < region.x + region.width
    assert verdict.bundle_sha256 and verdict.model_sha256


def test_a_part_in_the_unsure_band_is_ok_for_review_with_its_places(bundle_path):
    inspector = inspector_of(bundle_path)
    scores = [inspector.inspect(frame(good_part(seed))).score for seed in range(100, 110)]
    inspector.review_threshold = sorted(scores)[-3]
    verdicts = [inspector.inspect(frame(good_part(seed))) for seed in range(100, 110)]
    assert {verdict.decision for verdict in verdicts} == {Decision.OK}
    assert sum(verdict.review for verdict in verdicts) == 2
    marked = next(verdict for verdict in verdicts if verdict.review)
    assert marked.reason is Reason.BELOW_THRESHOLD
    assert "> review threshold" in marked.detail
    assert marked.as_json("test")["review"] is True
    defective = inspector.inspect(frame(bad_part(100)))
    assert (defective.decision, defective.review) == (Decision.NG, False)


def test_only_an_ok_part_can_be_for_review(bundle_path):
    verdict = inspector_of(bundle_path).inspect(frame(bad_part(100)))
    with pytest.raises(ValueError, match="only an OK part"):
        replace(verdict, review=True)


def test_every_stage_is_timed(bundle_path):
    times = inspector_of(bundle_path).inspect(frame(good_part(1))).times
    assert min(times.preprocess, times.infer, times.residual, times.decide) > 0


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_both_backends_give_the_same_verdict_and_nearly_the_same_score(bundle_path, precision):
    pictures = [good_part(seed) for seed in range(200, 208)] + [bad_part(seed) for seed in range(200, 208)]
    first, second = (inspector_of(bundle_path, name, precision) for name in ("openvino", "onnxruntime"))
    for picture in pictures:
        a, b = first.inspect(frame(picture)), second.inspect(frame(picture))
        assert a.decision is b.decision
        assert abs(a.score - b.score) < 0.02 * a.threshold


def test_the_same_picture_gives_the_same_score_again(bundle_path):
    inspector = inspector_of(bundle_path)
    scores = {inspector.inspect(frame(picture)).score for picture in [bad_part(7)] * 3}
    assert len(scores) == 1
    assert inspector_of(bundle_path).inspect(frame(bad_part(7))).score in scores


def test_a_fault_is_invalid_and_nothing_is_scored(bundle_path):
    verdict = inspector_of(bundle_path).inspect(frame(None, fault=Fault(Reason.UNDECODABLE, "cut off")))
    assert (verdict.decision, verdict.reason, verdict.score) == (Decision.INVALID, Reason.UNDECODABLE, None)


def test_a_frame_smaller_than_the_region_is_invalid(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    path = make_bundle(tmp_path / "b", preprocess={"rectangle": [0, 0, 60, 40]}).path
    verdict = inspector_of(path).inspect(frame(good_part(1, 32, 32)))
    assert (verdict.decision, verdict.reason) == (Decision.INVALID, Reason.WRONG_SIZE)
    assert "roi.rectangle of the bundle is 60x40 px from (0, 0)" in verdict.detail


def test_a_map_of_half_the_side_with_a_polygon_finds_the_scratch_inside_it(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    score = {"map_scale": 2, "residual": {"w_l1": 1.0, "w_gms": 1.0}, "smooth": {"radius": 1}, "image_score": {"k": 4}}
    corners = [[0, 0], [63, 0], [63, 47], [0, 47]]
    path = make_bundle(tmp_path / "b", score=score, preprocess={"polygon": corners}).path
    inspector = inspector_of(path)
    assert inspector.inspect(frame(good_part(300))).decision is Decision.OK
    verdict = inspector.inspect(frame(bad_part(300)))
    assert verdict.decision is Decision.NG
    assert verdict.anomaly_map.values.shape == (16, 16)
    assert verdict.regions[0].y <= 17 <= verdict.regions[0].y + verdict.regions[0].height


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_network_that_returns_nan_is_a_model_error(bundle_path, backend, monkeypatch):
    inspector = inspector_of(bundle_path, backend)
    if backend == "openvino":
        monkeypatch.setattr(
            "edge.backends.cpu_openvino._infer", lambda request: request.get_tensor("largest").data.fill(np.nan)
        )
    else:
        broken = NetworkOutputs(recon=np.full((3, 32, 32), np.nan, np.float32))
        monkeypatch.setattr(type(inspector.backend._network), "run", lambda self: broken)
    verdict = inspector.inspect(frame(good_part(1)))
    assert (verdict.decision, verdict.reason) == (Decision.INVALID, Reason.MODEL_ERROR)
    monkeypatch.undo()
    assert inspector.inspect(frame(good_part(1))).decision is Decision.OK


def test_backends_that_share_one_network_give_the_scores_of_one_alone(bundle_path):
    bundle = load_bundle(bundle_path)
    pictures = [good_part(seed) for seed in range(300, 306)] + [bad_part(seed) for seed in range(300, 306)]
    for name in ("openvino", "onnxruntime"):
        alone = open_backend(bundle, name, "int8", threads=2)
        shared = open_backends(bundle, name, "int8", None, count=3)
        for index, picture in enumerate(pictures):
            found = shared[index % 3].score(picture, StageClock(0)).score
            assert found == alone.score(picture, StageClock(0)).score


def test_a_picture_unlike_anything_taught_says_what_it_may_be(bundle_path):
    inspector = inspector_of(bundle_path)
    foreign = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    verdict = inspector.inspect(frame(foreign))
    assert verdict.decision is Decision.NG
    assert "of the picture is unlike anything taught: an empty place" in verdict.detail
    assert "camera.skip_first_frames" in verdict.detail
    assert "unlike anything" not in inspector.inspect(frame(bad_part(100))).detail
