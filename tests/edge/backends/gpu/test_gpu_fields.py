"""Fields of another aspect, letterboxes and sums of z-scores on the fake GPU: the verdicts are those of the CPU."""

from itertools import product

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")

from edge.backends.gpu.gpu_tensorrt import score_plan  # noqa: E402
from edge.core.datatypes import Decision  # noqa: E402
from edge.core.errors import EngineError  # noqa: E402
from edge.core.manifest import (  # noqa: E402
    BlendSpec,
    ImageScoreSpec,
    InputSpec,
    NormSpec,
    PreprocessSpec,
    ResidualSpec,
    ScoreSpec,
    SmoothSpec,
)
from edge.inspection.inspector import Inspector  # noqa: E402
from tests.fakes import frame  # noqa: E402
from tests.small_bundle import bad_part, good_part, make_bundle  # noqa: E402

HEIGHT, WIDTH = 32, 96
PARTS = [good_part(900 + seed) for seed in range(3)] + [bad_part(950 + seed) for seed in range(3)]


def three_outputs(logit_scale: int) -> bytes:
    """image → recon, a mean of means over 3 x 3; emb_dist, how far off it is, at an eighth of the size; seg_logit."""
    from onnx import TensorProto, checker, helper, numpy_helper

    blur = np.zeros((3, 3, 3, 3), np.float32)
    blur[range(3), range(3)] = 1 / 9
    constants = {
        "identity": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "blur": blur,
        "together": np.full((1, 3, 1, 1), 40, np.float32),
        "unusual": np.array([-3], np.float32),
        "channels": np.array([1], np.int64),
    }

    def mean(name, source, target, scale):
        sides = {"kernel_shape": [scale, scale], "strides": [scale, scale]}
        return helper.make_node("AveragePool", [source], [target], name=name, **sides)

    nodes = [
        helper.make_node("Conv", ["image", "identity"], ["entered"], name="first"),
        helper.make_node("Conv", ["entered", "blur"], ["inner"], name="middle", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["inner", "blur"], ["recon"], name="last", pads=[1, 1, 1, 1]),
        helper.make_node("Sub", ["image", "recon"], ["sharp"], name="sharp"),
        helper.make_node("Mul", ["sharp", "sharp"], ["squared"], name="square"),
        mean("coarse", "squared", "coarse", 8),
        helper.make_node("ReduceSum", ["coarse", "channels"], ["summed"], name="sum", keepdims=1),
        helper.make_node("Sqrt", ["summed"], ["emb_dist"], name="distance"),
        mean("fine", "squared", "fine", logit_scale),
        helper.make_node("Conv", ["fine", "together", "unusual"], ["seg_logit"], name="logit"),
    ]
    shapes = {"recon": (3, 1), "seg_logit": (1, logit_scale), "emb_dist": (1, 8)}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, HEIGHT // scale, WIDTH // scale])
        for name, (channels, scale) in shapes.items()
    ]
    given = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "three", [image], outputs, given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


def bundle_of(path, fit, map_scale, mode, logit_scale):
    score = ScoreSpec(
        map_scale=map_scale,
        residual=ResidualSpec(w_l1=1, w_gms=1),
        norm=NormSpec(tau=8),
        blend=BlendSpec(mode=mode, alpha=0.5, beta=0.2, gamma=0.5, lift=3),
        smooth=SmoothSpec(radius=2 if map_scale == 1 else 1),
        image_score=ImageScoreSpec(k=8, minus_median=mode == "sum"),
    )
    return make_bundle(
        path, model=three_outputs(logit_scale), score=score, outputs=("recon", "seg_logit", "emb_dist"),
        input=InputSpec(height=HEIGHT, width=WIDTH), preprocess=PreprocessSpec(fit=fit),
    )  # fmt: skip


def inspector_of(line, backend):
    calibration = line.calibration
    return Inspector(backend, line.bundle.preprocess, calibration.threshold, calibration.pixel_threshold, "b" * 64)


def place(region):
    return region.x, region.y, region.width, region.height


def test_verdicts_on_a_wide_field_are_those_of_the_cpu(line_of, tmp_path, subtests):
    for fit, (map_scale, logit_scale), mode in product(
        ["stretch", "letterbox"], [(1, 1), (2, 1), (4, 1), (4, 4)], ["sum", "noisy_or"]
    ):
        with subtests.test(fit=fit, map_scale=map_scale, logit_scale=logit_scale, mode=mode):
            path = tmp_path / f"{fit}{map_scale}{logit_scale}{mode}"
            line = line_of(bundle_of(path, fit, map_scale, mode, logit_scale))
            ours, theirs = (inspector_of(line, backend) for backend in (line.backend(), line.cpu_backend()))
            decisions = set()
            for index, part in enumerate(PARTS):
                mine, reference = (judge.inspect(frame(index, part)) for judge in (ours, theirs))
                assert mine.decision is reference.decision
                assert [place(region) for region in mine.regions] == [place(region) for region in reference.regions]
                assert mine.score == pytest.approx(reference.score, abs=0.02 * line.calibration.threshold)
                decisions.add(mine.decision)
            assert decisions == {Decision.OK, Decision.NG}
            assert line.kernels[0].map_shape == (HEIGHT // map_scale, WIDTH // map_scale)
            ours.backend.close()


def test_what_a_letterbox_adds_is_not_uploaded_and_not_scored(line_of, tmp_path):
    line = line_of(bundle_of(tmp_path / "made", "letterbox", 4, "sum", 4))
    backend = inspector_of(line, line.backend()).backend
    found = inspector_of(line, backend).inspect(frame(0, PARTS[-1])).anomaly_map
    pipeline = line.pipelines[0]
    assert pipeline._staged.shape == (1, 48, 64, 3)
    # 48 x 64 in a field of 1 to 3: 40 columns of 144 on either side, 26.7 of the field's 96, 6.7 of the map's 24
    assert found.values[:, 8:16].max() > 0.1
    assert found.values[:, :5].max() == 0 and found.values[:, -5:].max() == 0
    backend.close()


def test_an_engine_of_another_field_is_refused(line_of, tmp_path, gpu):
    line = line_of(bundle_of(tmp_path / "made", "stretch", 4, "sum", 1))
    line.backend().close()
    manifest = line.bundle.manifest.model_copy(update={"input": InputSpec(height=WIDTH, width=HEIGHT)})
    with pytest.raises(EngineError, match="the engine's image is 96x32; the manifest has a field of 32x96") as refusal:
        score_plan(line.networks[0], manifest, line.calibration, 1, 0)
    assert "export" in refusal.value.fix
