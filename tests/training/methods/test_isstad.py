"""ISSTAD: what its two stages teach, what its two forms compute, and what they cost."""

from dataclasses import replace
from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from tests.training.cost import GMAC_LIMIT, multiply_adds  # noqa: E402
from training.methods import METHODS  # noqa: E402
from training.methods.base import Batch, Design, seeded  # noqa: E402
from training.methods.isstad import cells  # noqa: E402
from training.methods.patches import draw_masked  # noqa: E402
from training.networks.large_kernel import LargeKernelNetwork  # noqa: E402
from training.networks.transformer import Transformer, TransformerBlock, TransformerShape  # noqa: E402

METHOD = METHODS["isstad"]
MASKED, DEFECTS = METHOD.variants["smoke"].stages


def small_convolutional(**options):
    torch.manual_seed(0)
    return LargeKernelNetwork((8, 12, 16), (1, 1), 4, **options)


def small_transformer(**options):
    torch.manual_seed(0)
    return Transformer(64, TransformerShape(encoder=(16, 2, 2), decoder=(16, 2, 2), stem=8), **options)


FORMS = {"convolutional": small_convolutional, "transformer": small_transformer}


@pytest.fixture(params=FORMS)
def network(request):
    return FORMS[request.param]().eval()


def pictures(count=2, side=64, seed=0):
    return torch.rand(count, 3, side, side, generator=seeded(seed))


def learner(variant="smoke", *ablations):
    torch.manual_seed(0)
    return METHOD.learner(Design(variant, ablations=frozenset(ablations)))


def attention(block, inputs, output):
    tokens, width = inputs[0].shape[1:]
    return 2 * tokens * tokens * width


def test_a_variant_fits_its_size_and_what_runs_at_the_edge_stays_within_two_gmac():
    for case in product(["aligned", "free"], sorted(set(METHOD.variants) - {"pretrained"})):
        layout, variant = case
        size = METHOD.variants[variant].size
        network = METHOD.learner(Design(variant, layout)).network
        with torch.no_grad():
            outputs = network.eval()(torch.zeros(1, 3, size, size))
        # `board` marks defects and repairs nothing
        recon = {} if variant == "board" else {"recon": (1, 3, size, size)}
        assert {name: tuple(value.shape) for name, value in outputs.items()} == {
            **recon,
            "seg_logit": (1, 1, size, size),
        }, case
        assert variant == "full" or multiply_adds(network, size, attention, TransformerBlock) / 1e9 <= GMAC_LIMIT, case


def test_the_convolutional_form_uses_only_operators_that_quantise_cleanly():
    clean = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU, torch.nn.Upsample, torch.nn.PixelShuffle)
    leaves = [m for m in learner("edge").network.modules() if not list(m.children())]
    assert all(isinstance(leaf, clean) for leaf in leaves)
    assert all(leaf.mode == "nearest" for leaf in leaves if isinstance(leaf, torch.nn.Upsample))


def test_the_same_picture_gives_the_same_outputs_whatever_it_is_batched_with(network):
    batch = pictures(3) * 2 - 1
    with torch.no_grad():
        together, again, alone = network(batch), network(batch), network(batch[1:2])
    for name in ("recon", "seg_logit"):
        assert torch.equal(together[name], again[name])
        assert torch.allclose(together[name][1:2], alone[name], atol=1e-5)


def test_what_training_inspects_is_what_is_deployed(network):
    batch = pictures() * 2 - 1
    with torch.no_grad():
        seen, outputs = network.inspect(batch), network(batch)
    assert torch.equal(seen.recon, outputs["recon"])
    assert torch.equal(seen.logits[-1], outputs["seg_logit"])


def test_convolutions_predict_at_three_scales_and_a_transformer_after_every_block():
    picture = pictures(1)
    scales = [logit.shape[-1] for logit in small_convolutional().inspect(picture).logits]
    blocks = [logit.shape[-1] for logit in small_transformer().inspect(picture).logits]
    assert scales == [8, 16, 64]
    assert blocks == [64, 64, 64]


def test_a_blanked_patch_cannot_be_seen(network):
    masked = draw_masked(2, (4, 4), 0.6, seeded(3))
    hidden = masked.repeat_interleave(16, 2).repeat_interleave(16, 3)
    first, other = pictures(seed=1), pictures(seed=2)
    with torch.no_grad():
        expected = network.reconstruct_masked(first, masked)
        assert torch.equal(network.reconstruct_masked(torch.where(hidden, other, first), masked), expected)
        assert not torch.equal(network.reconstruct_masked(torch.where(hidden, first, other), masked), expected)


def test_every_picture_loses_the_same_share_of_its_patches_each_in_places_of_its_own():
    masked = draw_masked(8, (8, 8), 0.6, seeded(0))
    assert masked.shape == (8, 1, 8, 8)
    assert masked.sum((1, 2, 3)).tolist() == [round(0.6 * 64)] * 8
    assert len({tuple(picture.flatten().tolist()) for picture in masked}) == 8


def test_visible_tokens_keep_their_places():
    network = small_transformer().eval()
    nothing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    picture = pictures(1) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(network.reconstruct_masked(picture, nothing), network(picture)["recon"], atol=1e-5)


def test_the_masked_stage_is_judged_on_blanked_patches_alone():
    trained = learner().eval()
    clean = pictures()
    hidden = draw_masked(2, (4, 4), 0.6, seeded(0)).repeat_interleave(16, 2).repeat_interleave(16, 3)

    def loss(target):
        with torch.no_grad():
            return float(trained.validation_loss(MASKED, Batch(clean, target, clean[:, :1] * 0)))

    assert loss(torch.where(hidden, clean, 1 - clean)) == pytest.approx(loss(clean))
    assert loss(torch.where(hidden, 1 - clean, clean)) != pytest.approx(loss(clean))


def test_without_masking_the_first_stage_sees_and_is_judged_everywhere():
    trained = learner("smoke", "masking").eval()
    clean = pictures()
    with torch.no_grad():
        recon = trained.network(clean * 2 - 1)["recon"]
        loss = trained.validation_loss(MASKED, Batch(clean, clean, clean[:, :1] * 0))
    assert float(loss) == pytest.approx(float(((recon + 1) / 2 - clean).square().mean()), rel=1e-4)


def test_a_coarse_cell_is_defective_when_one_of_its_pixels_is():
    masks = torch.zeros(1, 1, 32, 32)
    masks[0, 0, 9, 17] = 1
    coarse = cells(masks, torch.zeros(1, 1, 8, 8))
    assert coarse.nonzero().tolist() == [[0, 0, 2, 4]]
    assert torch.equal(cells(masks, torch.zeros(1, 1, 32, 32)), masks)


def defect_batch():
    clean = pictures(2, seed=4)
    masks = torch.zeros(2, 1, 64, 64)
    masks[:, :, 20:28, 20:28] = 1
    return Batch(torch.where(masks > 0, 1 - clean, clean), clean, masks)


def test_the_reconstruction_is_taught_to_repair_unless_its_target_is_the_input():
    batch = defect_batch()
    swapped = replace(batch, clean=1 - batch.clean)
    for ablations, looks_at_clean in (((), True), (("clean_target",), False)):
        trained = learner("smoke", *ablations).eval()
        first, other = (trained.losses(DEFECTS, each, 0.0)["pixels"].detach() for each in (batch, swapped))
        assert (float(first) != float(other)) == looks_at_clean


@pytest.mark.parametrize("form", FORMS)
def test_the_head_does_not_teach_the_reconstruction_to_mark_defects(form):
    network = FORMS[form]()
    seen = network.inspect(pictures() * 2 - 1)
    # earlier layers serve both outputs; the reconstruction's last one could hear of the logit by the difference alone
    seen.logits[-1].sum().backward()
    last = network.recon_head if form == "transformer" else network.head[0]
    assert last.weight.grad is None
    assert network.logit_head.look[0].weight.grad[:, 3:].abs().sum() > 0


def test_parts_can_be_left_out():
    deep = learner("smoke", "deep_supervision")
    deep.losses(DEFECTS, defect_batch(), 0.0)["total"].backward()
    assert all(p.grad is None for p in deep.network.coarse_logits.parameters())
    assert learner("smoke", "difference").network.logit_head.look[0].in_channels == 3
    assert len(learner("smoke", "slow_encoder").parameter_groups(DEFECTS)) == 1
    assert set(METHOD.ablations) == {"masking", "clean_target", "deep_supervision", "difference", "slow_encoder"}


@pytest.mark.parametrize("variant", ["smoke", "tiny-vit"])
def test_the_encoder_learns_at_a_tenth_of_the_rate_once_it_knows_good_parts(variant):
    trained = learner(variant)
    (everything,) = trained.parameter_groups(MASKED)
    slow, fast = trained.parameter_groups(DEFECTS)
    assert (everything["scale"], slow["scale"], fast["scale"]) == (1.0, 0.1, 1.0)
    encoder = {id(p) for p in trained.network.encoder.parameters()}
    assert encoder <= {id(p) for p in slow["params"]}
    assert not encoder & {id(p) for p in fast["params"]}
    assert len(slow["params"]) + len(fast["params"]) == len(everything["params"]) == len(list(trained.parameters()))


def test_score_candidates_blend_in_every_way_and_scale_with_the_field():
    small, large = (METHOD.score_candidates(size, "aligned") for size in (128, 256))
    assert len(small) == len(large)
    assert {spec.blend.mode for spec in small.values()} == {"product", "wsum", "max"}
    assert {name.startswith("probability alone"): spec.residual.used for name, spec in small.items()} == {
        True: False,
        False: True,
    }
    sides = [(one.smooth.radius, one.image_score.k) for one in small.values() if one.map_scale == 1]
    doubled = [(one.smooth.radius, one.image_score.k) for one in large.values() if one.map_scale == 1]
    assert all(
        (2 * r == r2 or r == r2 == 1) and abs(4 * k - k2) <= 2 for (r, k), (r2, k2) in zip(sides, doubled, strict=True)
    )
