"""Hundreds of scores at once are the scores that the line would give, and figures are what they say."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: no artificial defects can be drawn")

from calibration.choice.figures import Judge
from calibration.choice.scores import fitted_paths, image_scores, score_all
from edge.core.manifest import ImageScoreSpec
from edge.kernels import reference
from edge.metrics import image_auroc
from tests.calibration.choice.two_evidences import SIDE, judged, measured
from training.methods.score_candidates import sum_candidates


@pytest.fixture(scope="module")
def found():
    return measured(judged(count=8, defective=24))


def test_scores_of_all_candidates_are_those_of_the_score_path(found):
    candidates = sum_candidates(("seg_logit", "emb_dist"), (SIDE, SIDE), "aligned")
    scores = score_all(candidates, found)
    for name in list(candidates)[::17]:
        paths = fitted_paths(candidates[name], found)
        alone = [path.score_error(None, outputs).score for path, outputs in zip(paths, found.outputs, strict=True)]
        assert np.allclose(scores[name], alone, atol=1e-6), name


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 64)])
def test_a_histogram_gives_the_scores_of_the_definition(shape):
    rng = np.random.default_rng(1)
    values = rng.random(shape).astype(np.float32) ** 3
    values.flat[0] = 1.0
    specs = [ImageScoreSpec(k=k, minus_median=median) for k in (1, 2, 30, 5000) for median in (False, True)]
    wanted = [reference.image_score(values, spec) for spec in specs]
    assert np.allclose(image_scores(values, specs), wanted, atol=1e-9)


def test_the_figure_is_the_mean_over_kinds_and_not_that_of_all_defects(found):
    exhibits = found.exhibits
    scores = np.random.default_rng(2).random(len(exhibits))
    scores[exhibits.kinds == 0] += 1
    figure = Judge(exhibits, seed=0).figure(scores)
    good = scores[exhibits.kinds < 0]
    for number, name in enumerate(exhibits.names):
        members = scores[exhibits.kinds == number]
        labels = np.repeat([0, 1], [len(good), len(members)])
        assert figure.kinds[name] == pytest.approx(image_auroc(labels, np.concatenate([good, members])))
    assert figure.kinds[exhibits.names[0]] == 1.0
    assert figure.mean == pytest.approx(np.mean(list(figure.kinds.values())))
    assert 0 < figure.spread < 0.2


def test_every_candidate_is_of_another_kind_and_the_plain_memory_is_among_them():
    candidates = sum_candidates(("emb_dist",), (256, 192), "free")
    assert len(candidates) == len(set(candidates.values()))
    first = next(iter(candidates.values()))
    assert (first.blend.mode, first.blend.alpha, first.blend.beta, first.blend.gamma) == ("sum", 0, 0, 1)
    assert not first.image_score.minus_median
    shares = {round(spec.image_score.k / (64 * 48), 3) for spec in candidates.values()}
    assert shares == {0.001, 0.01, 0.03, 0.07, 0.15}
    assert any(spec.image_score.minus_median and spec.blend.lift > 0 for spec in candidates.values())
