"""Which score path is chosen: by defects that no training draws, and the simplest of those that are as good."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no artificial defects can be drawn")

from calibration.choice.exhibits import Exhibits  # noqa: E402
from calibration.choice.figures import Judge  # noqa: E402
from calibration.choice.score_choice import as_good, choose_score, evidences, simplicity  # noqa: E402
from calibration.choice.scores import score_all  # noqa: E402
from edge.core.manifest import BlendSpec, ResidualSpec, ScoreSpec  # noqa: E402
from tests.calibration.choice.two_evidences import SIDE, fields, judged, measured  # noqa: E402
from training.defects import FAMILIES, HELD_OUT, PRESETS, training_preset  # noqa: E402
from training.methods.score_candidates import sum_candidates  # noqa: E402

CANDIDATES = sum_candidates(("seg_logit", "emb_dist"), (SIDE, SIDE), "free")


def trained_on(count=16):
    """Exhibits whose defects are those that the head knows: soft red spots."""
    normals, rng = fields(count), np.random.default_rng(5)
    y, x = np.mgrid[:SIDE, :SIDE]
    spots = [
        np.exp(-((y - row) ** 2 + (x - column) ** 2) / 100) for row, column in rng.integers(16, 48, (4 * count, 2))
    ]
    redder = np.stack(spots)[..., None] * np.array([-6, -6, 12])
    altered = np.clip(np.concatenate([normals] * 4) + redder, 0, 255).round().astype(np.uint8)
    masks = np.stack(spots) > 0.3
    return Exhibits(
        fields=np.concatenate([normals, altered]),
        masks=np.concatenate([np.zeros((count, SIDE, SIDE), bool), masks]),
        origins=np.concatenate([np.arange(count), np.tile(np.arange(count), 4)]),
        kinds=np.concatenate([np.full(count, -1), np.zeros(4 * count, int)]),
        names=("red spots",),
        good=count,
        weight=None,
    )


def test_a_memory_beats_a_head_that_knows_the_defects_of_training_by_heart():
    seen = choose_score(CANDIDATES, measured(trained_on()), seed=1)
    assert seen.name.startswith("logit"), "judged by what it was trained on, the head wins"
    unseen = choose_score(CANDIDATES, measured(judged()), seed=1)
    assert unseen.name.startswith("memory, "), "judged by other families, the memory does"
    assert {name.split()[1] for name in unseen.figure.kinds} == set(HELD_OUT)


def test_no_training_draws_what_score_paths_are_judged_by():
    judging = set(PRESETS["judging"].families)
    assert judging == set(HELD_OUT)
    for name in PRESETS:
        assert not {FAMILIES[operator] for operator in training_preset(name).operators} & judging, name


def test_the_same_seed_gives_the_same_choice_and_figures():
    first, again = (choose_score(CANDIDATES, measured(judged()), seed=4) for _ in range(2))
    assert (first.name, first.selection) == (again.name, again.selection)
    assert all((first.figures[name].draws == again.figures[name].draws).all() for name in CANDIDATES)


def test_of_equals_the_one_that_weighs_fewer_evidences_is_taken():
    found = measured(judged())
    alone = next(spec for name, spec in CANDIDATES.items() if name.startswith("memory, "))
    # a weight so small that it changes nothing
    both = alone.model_copy(update={"blend": BlendSpec(mode="sum", alpha=0, beta=1e-6, gamma=1)})
    choice = choose_score({"both": both, "alone": alone}, found, seed=0)
    assert (choice.name, choice.tied, choice.weighed) == ("alone", 2, 1)


def test_of_equals_one_without_median_and_then_the_smaller_map_is_taken():
    found = measured(judged())
    small = next(spec for name, spec in CANDIDATES.items() if name.startswith("memory, "))
    large = small.model_copy(
        update={
            "map_scale": 2,
            "smooth": small.smooth.model_copy(update={"radius": 2 * small.smooth.radius}),
            "image_score": small.image_score.model_copy(update={"k": 4 * small.image_score.k}),
        }
    )
    assert choose_score({"large": large, "small": small}, found, seed=0).name == "small"
    lifted = small.model_copy(update={"image_score": small.image_score.model_copy(update={"minus_median": True})})
    assert simplicity(small, found) < simplicity(large, found) < simplicity(lifted, found)


def test_of_equals_that_are_as_simple_the_first_is_taken():
    found = measured(judged())
    spec = next(iter(CANDIDATES.values()))
    assert choose_score({"first": spec, "second": spec}, found, seed=0).name == "first"


def test_a_lead_that_the_parts_at_hand_cannot_show_counts_as_none(subtests):
    rng = np.random.default_rng(0)
    exhibits = judged(count=8, defective=24)
    judge = Judge(exhibits, seed=0)
    good = (exhibits.kinds < 0).astype(float)
    clear, noisy = judge.figure(-good), judge.figure(-good + 0.1 * rng.normal(size=len(good)))
    poor = judge.figure(rng.normal(size=len(good)))
    with subtests.test("both tell all defects from all good parts"):
        assert clear.mean == 1.0 and as_good(noisy, clear)
    with subtests.test("chance is not as good"):
        assert not as_good(poor, clear)


def test_evidences_are_those_that_a_score_path_weighs():
    outputs = ("recon", "seg_logit", "emb_dist")
    residual = ResidualSpec(w_l1=1)
    assert evidences(ScoreSpec(residual=residual), ("recon",)) == ("recon",)
    memory = ScoreSpec(blend=BlendSpec(mode="sum", alpha=0, beta=0, gamma=1))
    assert evidences(memory, outputs) == ("emb_dist",)
    assert evidences(ScoreSpec(blend=BlendSpec(mode="product", alpha=1, beta=0)), outputs[1:]) == ("seg_logit",)
    assert evidences(ScoreSpec(residual=residual, blend=BlendSpec(mode="max")), outputs) == outputs


def test_parts_are_judged_by_the_network_of_their_fold():
    from onnx import load_model_from_string, numpy_helper

    from tests.calibration.choice.two_evidences import two_evidences

    loaded = load_model_from_string(two_evidences())
    for tensor in loaded.graph.initializer:
        if tensor.name == "t":
            tensor.CopyFrom(numpy_helper.from_array(10 * numpy_helper.to_array(tensor), "t"))
    exhibits = judged(count=8, defective=24)
    fold_of = np.arange(8) % 2
    plain = measured(exhibits)
    folded = measured(exhibits, [two_evidences(), loaded.SerializeToString()], fold_of)
    for origin, one, other in zip(exhibits.origins, plain.outputs, folded.outputs, strict=True):
        assert np.allclose(other.emb_dist, (10 if fold_of[origin] else 1) * one.emb_dist, rtol=1e-4)


def test_a_score_that_is_no_number_says_nothing():
    found = measured(judged(count=8, defective=24))
    found.outputs[0].emb_dist[:] = np.nan
    spec = next(iter(CANDIDATES.values()))
    scores = score_all({"memory": spec}, found)["memory"]
    assert np.isnan(scores).any()
    assert Judge(found.exhibits, seed=0).figure(scores).mean == 0.5


def test_the_median_is_taken_off_only_where_that_brings_much():
    # good parts whose whole level varies, and defects that leave it as it was
    exhibits = judged(count=16, defective=96)
    found = measured(exhibits)
    level = np.random.default_rng(1).normal(0, 1, exhibits.good)
    plain = next(name for name in CANDIDATES if name.startswith("memory, 16x16 map, sigma 0 px, top 3 %"))
    both = {name: CANDIDATES[name] for name in (plain, f"{plain} minus median")}
    assert choose_score(both, found, seed=0).name == plain
    for origin, outputs in zip(exhibits.origins, found.outputs, strict=True):
        outputs.emb_dist[:] += 0.5 * level[origin]
    chosen = choose_score(both, found, seed=0)
    assert chosen.name == f"{plain} minus median"
    assert chosen.figure.mean > chosen.figures[plain].mean + 0.02
