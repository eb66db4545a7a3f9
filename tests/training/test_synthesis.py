"""Artificial defects: the mask is where the picture was altered, and every kind is really drawn."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no defects can be drawn")

from training.synthesis import MASKS, PRESETS, SOURCES, DefectGenerator, DefectPreset, perlin_noise  # noqa: E402


def pictures(count=4, side=64):
    """Grey plates with a brighter square and grain, (n, 3, side, side) in 0..1."""
    images = torch.full((count, 3, side, side), 0.45)
    images[:, :, side // 4 : side // 2, side // 4 : side // 2] = torch.tensor([0.8, 0.6, 0.3])[:, None, None]
    grain = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + 0.04 * (grain - 0.5)).clamp(0, 1)


def only(mask="ellipse", source="flat", max_blend=0.0):
    return DefectPreset(0.0, {mask: 1.0}, {source: 1.0}, max_blend)


ALWAYS = DefectPreset(
    0.0, PRESETS["reconstruction"].mask_weights, PRESETS["reconstruction"].source_weights, max_blend=0.6
)


def test_outside_the_mask_the_picture_is_as_it_was_but_for_invisible_changes():
    clean = pictures(16)
    defective, masks = DefectGenerator(ALWAYS, seed=0)(clean)
    change = (defective - clean).abs().amax(1, keepdim=True)
    assert float(change[masks == 0].max()) <= 0.05 + 1e-6
    assert set(masks.unique().tolist()) == {0.0, 1.0}


def test_inside_the_mask_every_pixel_is_visibly_altered():
    clean = pictures(16)
    defective, masks = DefectGenerator(ALWAYS, seed=0)(clean)
    change = (defective - clean).abs().amax(1, keepdim=True)
    assert float(change[masks == 1].min()) > 0.05


def test_pictures_stay_pictures_and_the_clean_ones_are_not_written_to():
    clean = pictures(16)
    before = clean.clone()
    defective, masks = DefectGenerator(ALWAYS, seed=2)(clean)
    assert torch.equal(clean, before)
    assert (defective.shape, masks.shape) == (clean.shape, (16, 1, 64, 64))
    assert float(defective.min()) >= 0 and float(defective.max()) <= 1


def test_no_defect_leaves_the_region_of_interest():
    clean, roi = pictures(16), torch.zeros(1, 1, 64, 64)
    roi[..., 10:40, 20:50] = 1
    defective, masks = DefectGenerator(ALWAYS, seed=3)(clean, roi)
    outside = (roi == 0).expand_as(clean)
    assert torch.equal(defective[outside], clean[outside])
    assert float((masks * (1 - roi)).sum()) == 0
    assert float(masks.sum()) > 0


def test_the_same_seed_draws_the_same_defects_and_another_seed_others():
    first, again, other = (DefectGenerator(ALWAYS, seed)(pictures()) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_the_share_of_clean_pictures_is_kept():
    preset = DefectPreset(0.2, {"rectangle": 1.0}, {"texture": 1.0}, max_blend=0.0)
    _, masks = DefectGenerator(preset, seed=7)(pictures(1, side=32).expand(200, -1, -1, -1))
    untouched = int((masks.flatten(1).sum(1) == 0).sum())
    assert untouched / 200 == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("kind", MASKS)
def test_every_kind_of_mask_draws_shapes_of_a_plausible_size(kind):
    generator = DefectGenerator(only(mask=kind), seed=11)
    areas = [float(generator._draw_mask(64, 96).mean()) for _ in range(20)]
    assert all(1e-4 < area < 0.5 for area in areas)
    assert len({round(area, 4) for area in areas}) > 5


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_changes_the_picture(kind):
    clean = pictures(16)
    defective, masks = DefectGenerator(only(mask="rectangle", source=kind), seed=13)(clean)
    altered = masks.flatten(1).sum(1) > 0
    assert float(altered.float().mean()) >= 0.5
    assert not torch.equal(defective, clean)


def test_the_preset_names_only_kinds_that_exist():
    for preset in PRESETS.values():
        assert set(preset.mask_weights) == set(MASKS)
        assert set(preset.source_weights) == set(SOURCES)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96), (33, 65)])
def test_gradient_noise_has_both_signs_and_no_spikes(height, width):
    noise = perlin_noise(DefectGenerator(ALWAYS, seed=17), height, width, 2, 3)
    assert noise.shape == (1, height, width)
    assert float(noise.min()) < -0.1 and float(noise.max()) > 0.1
    assert float(noise.abs().max()) <= 1.5
