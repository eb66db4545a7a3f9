"""isstad, variant board: circuits at their own scale, of any aspect, learned in crops."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from edge.core.errors import UsageError  # noqa: E402
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, NormalStatistics  # noqa: E402
from export.onnx_graph import onnx_from_module  # noqa: E402
from tests.fakes import circuit, write_picture  # noqa: E402
from tests.small_bundle import good_part  # noqa: E402
from training.data.augmentation import quarter_turned  # noqa: E402
from training.data.dataset import two_tone_share  # noqa: E402
from training.methods import find_method, outputs_of  # noqa: E402
from training.methods.base import Design  # noqa: E402
from training.methods.isstad_board import BOARD  # noqa: E402
from training.methods.score_candidates import score_candidates  # noqa: E402
from training.optimisation.stages import Training  # noqa: E402
from training.run.preparation import Recipe, prepare  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circuits")
    for seed in range(20):
        write_picture(folder / f"{seed:02d}.png", circuit(seed))
    return folder


def prepared(data, tmp_path, told=None, **changes):
    recipe = Recipe("isstad", "board", 0, **changes)
    return prepare(data, tmp_path / "run", recipe, (told if told is not None else []).append)


def test_the_field_is_as_large_as_the_pictures_in_steps_the_network_takes(data, tmp_path):
    told = []
    made = prepared(data, tmp_path, told)
    assert made.shape == (192, 224)
    assert "training sees crops of 160x160 px of the field" in told
    batch = made.batches.draw(made.stages[0], 8)
    assert batch.corrupted.shape == (8, 3, 160, 160)
    assert set(score_candidates(find_method("isstad", "board"), "board", made.shape, "free")) == set(BOARD.scores)


def test_what_has_no_field_of_its_own_scale_is_refused_and_a_field_can_be_asked_for(data, tmp_path):
    assert prepared(data, tmp_path, shape=(192, 320)).shape == (192, 320)
    assert prepared(data, tmp_path, rectangle=(10, 8, 192, 160)).shape == (160, 192)
    for changes, words in (
        ({"field": 300}, "multiples of 32"),
        ({"field": 96}, "smaller than the crops"),
        ({"rectangle": (0, 0, 200, 160)}, "200x160 px are no field"),
        ({"polygon": ((0, 0), (9, 0), (9, 9))}, "polygon"),
    ):
        with pytest.raises(UsageError) as refused:
            prepared(data, tmp_path, **changes)
        assert words in f"{refused.value}", changes


def test_crops_are_turned_and_mirrored_and_no_pixel_is_interpolated(data, tmp_path):
    made = prepared(data, tmp_path)
    clean = made.batches.draw(made.stages[0], 16).clean
    # two tones, each brighter or darker as a whole by what the light does
    assert all(len(torch.unique((picture * 1000).round())) == 2 for picture in clean)


def test_quarter_turns_are_turns():
    picture = torch.arange(12.0).view(1, 3, 2, 2).expand(64, -1, -1, -1)
    turned = quarter_turned(picture, torch.Generator().manual_seed(0))
    same = (turned == picture).flatten(1).all(1)
    assert 10 < int(same.sum()) < 54
    assert torch.equal(turned[~same][0], picture[0].transpose(1, 2))


def test_training_lowers_the_loss(data, tmp_path):
    made = prepared(data, tmp_path, steps=50)
    losses = []
    training = Training(
        made.learner, made.stages, made.batches, made.held_out,
        lambda done, total, shown: losses.append(float(shown.split("total ")[1].split()[0])), lambda text: None,
    )  # fmt: skip
    with torch.random.fork_rng():
        training.run(lambda: None)
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])
    assert set(training.curves.values["defects"]) >= {"focal", "overlap"}


def test_the_network_gives_squares_of_one_value_that_a_half_size_map_keeps_as_they_are():
    learner = find_method("isstad", "board").learner(Design("board", "free"))
    network = learner.network.eval()
    image = torch.rand(1, 3, 160, 192, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        logit, fine = network.logit(image)[0, 0].numpy(), network(image)["seg_logit"][0, 0].numpy()
    assert (
        fine.shape == (160, 192) and np.array_equal(fine[::2, ::2], logit) and np.array_equal(fine[1::2, 1::2], logit)
    )
    spec = next(iter(BOARD.scores.values()))
    nothing = NormalStatistics(np.zeros((80, 96), np.float32), np.ones((80, 96), np.float32))
    path = CpuScorePath(spec, (160, 192), nothing)
    found = path.score(image[0].numpy(), NetworkOutputs(seg_logit=fine)).values
    expected = cv2.GaussianBlur(1 / (1 + np.exp(-logit)), (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)
    assert np.abs(found - expected).max() < 0.01


def test_it_is_exported_with_the_logit_alone_and_costs_what_is_said():
    from export.graph import graph_from_onnx, multiplications

    network = find_method("isstad", "board").learner(Design("board", "free")).network
    model = onnx_from_module(network.eval(), (320, 320), outputs_of("isstad", "board"))
    graph = graph_from_onnx(model)
    assert graph.outputs == ["seg_logit"]
    assert sum(multiplications(graph).values()) == pytest.approx(0.65e9, rel=0.01)


def test_circuits_are_known_by_their_two_tones_and_other_parts_are_not(data, tmp_path):
    assert two_tone_share(data) == 1
    for seed in range(16):
        write_picture(tmp_path / f"{seed}.png", good_part(seed))
    assert two_tone_share(tmp_path) == 0


def test_another_method_on_circuits_is_told_what_is_made_for_them(data, tmp_path):
    told = []
    prepare(data, tmp_path / "run", Recipe("isstad", "smoke", 0, layout="free"), told.append)
    assert any("--variant board" in text for text in told)
