"""The score path is chosen on held-out normals and artificial defects, and on nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no score path can be chosen")

from edge.core.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec  # noqa: E402
from edge.preprocessing.preprocess import Preprocess  # noqa: E402
from tests.small_bundle import good_part  # noqa: E402
from training.defects import DefectPreset  # noqa: E402
from training.fit import pictures_from_fields  # noqa: E402
from training.selection import choose_score, run_network  # noqa: E402

SIDE = 32
FOREIGN_BODIES = DefectPreset({"foreign_texture": 1.0})


class Blur(torch.nn.Module):
    """Returns what it is given, blurred: structure goes missing, colour does not."""

    def forward(self, image):
        return {"recon": torch.nn.functional.avg_pool2d(image, 5, 1, 2, count_include_pad=False)}


def spec(**weights):
    return ScoreSpec(
        residual=ResidualSpec(**weights), smooth=SmoothSpec(radius=1), image_score=ImageScoreSpec(k=8)
    )  # fmt: skip


def held_out(count=12):
    return pictures_from_fields(np.stack([Preprocess(SIDE, SIDE).field(good_part(seed)) for seed in range(count)]))


def test_the_candidate_that_separates_best_is_chosen():
    # the colour term of a blur says little, its gradient term much
    candidates = {"colour": spec(w_col=1.0), "structure": spec(w_l1=1.0, w_gms=1.0)}
    choice = choose_score(Blur(), candidates, held_out(), held_out(), FOREIGN_BODIES, seed=0)
    assert choice.auroc[choice.name] == max(choice.auroc.values())
    assert choice.spec is candidates[choice.name]
    assert set(choice.auroc) == set(candidates)
    assert choice.auroc["structure"] > 0.7


def test_the_same_seed_gives_the_same_choice_and_numbers():
    candidates = {"colour": spec(w_col=1.0), "structure": spec(w_gms=1.0)}
    first, again = (choose_score(Blur(), candidates, held_out(), held_out(), FOREIGN_BODIES, seed=4) for _ in range(2))
    assert first == again


def test_the_first_of_equal_candidates_wins():
    candidates = {"first": spec(w_gms=1.0), "second": spec(w_gms=1.0)}
    assert choose_score(Blur(), candidates, held_out(), held_out(), FOREIGN_BODIES, seed=1).name == "first"


def test_the_network_is_run_in_evaluation_mode_on_every_picture():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), Blur()).train()
    images = held_out(17) * 2 - 1
    outputs = run_network(network, images)
    assert len(outputs) == 17
    assert not network.training
    assert all(output.recon.shape == (3, SIDE, SIDE) and output.recon.dtype == np.float32 for output in outputs)
    alone = run_network(network, images[:1])[0].recon
    assert np.allclose(outputs[0].recon, alone, atol=1e-6)
