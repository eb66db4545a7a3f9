"""The float32 contract of the GPU against the definition, within the bound that every implementation keeps."""

from itertools import product

import numpy as np
import pytest

from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels import reference
from edge.kernels.cpu import KERNEL_TOLERANCE, CpuScorePath, NetworkOutputs, NormalStatistics
from tests.edge.kernels import device_reference
from tests.edge.kernels.device_case import made_up
from tests.edge.kernels.test_cpu import MODES, WEIGHTS, as_shares


def off_the_definition(a, b, terms):
    weights = ResidualSpec(**WEIGHTS[terms])
    found = device_reference.residual_error(a, b, weights)
    return np.abs(found - reference.residual_error(as_shares(a), as_shares(b), weights)).max()


def test_every_term():
    for shape, terms in product([(1, 1), (2, 7), (31, 40)], WEIGHTS):
        random = np.random.default_rng(0)
        a = np.tanh(np.cumsum(random.normal(0, 0.2, (3, *shape)), axis=2)).astype(np.float32)
        b = np.clip(a + random.normal(0, 0.1, a.shape), -1, 1).astype(np.float32)
        assert off_the_definition(a, b, terms) < KERNEL_TOLERANCE, (shape, terms)


def test_flat_bright_and_dark_parts():
    for level, terms in product([-1, 0, 0.95], WEIGHTS):
        random = np.random.default_rng(2)
        a = (level + random.uniform(0, 0.02, (3, 33, 33))).astype(np.float32)
        b = (a + random.normal(0, 0.01, a.shape)).astype(np.float32)
        assert off_the_definition(a, b, terms) < KERNEL_TOLERANCE, (level, terms)


def test_the_whole_path_equals_that_of_the_cpu():
    smoothings = [SmoothSpec(kind=kind, radius=radius) for kind, radius in (("none", 0), ("box", 3), ("gaussian", 2))]
    shape = (48, 72)
    weight = np.ones(shape, np.float32)
    weight[:, 40:52] = 0
    for tried in product([1, 2, 4], [*MODES, "sum"], smoothings):
        map_scale, mode, smooth = tried
        spec = ScoreSpec(
            map_scale=map_scale,
            residual=ResidualSpec(w_l1=1, w_gms=0.5),
            blend=BlendSpec(mode=mode, alpha=0.7, beta=1.3, gamma=0.6, lift=1),
            smooth=smooth,
            image_score=ImageScoreSpec(minus_median=mode == "sum"),
        )
        case = made_up(shape, spec, ("recon", "seg_logit", "emb_dist"))
        outputs = NetworkOutputs(
            case.given["recon"][0], case.given["seg_logit"][0, 0], case.given["emb_dist"][0, 0]
        )  # fmt: skip
        picture = device_reference.picture_of_bytes(case.levels[0])
        cpu = CpuScorePath(spec, shape, case.statistics, pixel_threshold=0.3, weight=weight)

        found = device_reference.reduced(
            device_reference.evidence(picture, outputs, spec, case.statistics, cpu.weight), spec, 0.3
        )

        expected = cpu.score(picture, outputs)
        assert np.abs(found.values - expected.values).max() < KERNEL_TOLERANCE, tried
        # one bin is 1 / 1024: a value beside its border may fall to either side, and the median, too
        bins = 2 if spec.image_score.minus_median else 1
        assert found.score == pytest.approx(expected.score, abs=KERNEL_TOLERANCE + bins / 1024), tried


def test_error_by_hand():
    # white against black but for blue, in -1..1
    a, b = np.ones((3, 4, 4), np.float32), np.full((3, 4, 4), -1, np.float32)
    b[2] = 1
    assert device_reference.residual_error(a, b, ResidualSpec(w_l1=1)) == pytest.approx(2 / 3)
    assert device_reference.residual_error(a, b, ResidualSpec(w_l2=1)) == pytest.approx(2 / 3)
    assert device_reference.residual_error(a, b, ResidualSpec(w_col=1)) == pytest.approx(1)
    assert device_reference.residual_error(a, a, ResidualSpec(w_ssim=1, w_gms=1)) == pytest.approx(0)


def test_statistics_may_be_scalars():
    outputs = NetworkOutputs(recon=np.zeros((3, 4, 4), np.float32))
    statistics = NormalStatistics(np.float32(0), np.float32(np.inf))
    spec = ScoreSpec(residual=ResidualSpec(w_l1=1), smooth=SmoothSpec(kind="none", radius=0))
    steps = device_reference.evidence(np.ones((3, 4, 4), np.float32), outputs, spec, statistics)
    full = 1 - np.exp(-20 / 3)
    assert steps == pytest.approx(full * 65534, abs=1)
