"""Artificial defects: the mask is where the picture was altered, and every kind is really drawn."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no defects can be drawn")

from training.defects import OPERATORS, PRESETS, DefectGenerator, DefectPreset  # noqa: E402
from training.defects.dice import Dice  # noqa: E402
from training.defects.noise import gradient_noise  # noqa: E402

WITHOUT_BANK = sorted(set(OPERATORS) - {"transplant"})


def pictures(count=4, height=64, width=64):
    """Grey plates with a brighter square, a dark line and grain, (n, 3, height, width) in 0..1."""
    images = torch.full((count, 3, height, width), 0.45)
    images[:, :, height // 4 : height // 2, width // 4 : width // 2] = torch.tensor([0.8, 0.6, 0.3])[:, None, None]
    images[:, :, height * 3 // 4 : height * 3 // 4 + 2] = 0.15
    shade = torch.linspace(-0.1, 0.1, count)[:, None, None, None]
    grain = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + shade + 0.04 * (grain - 0.5)).clamp(0, 1)


def always(name):
    return replace(PRESETS[name], clean_share=0.0)


def only(operator):
    return DefectPreset({operator: 1.0}, largest=1.0)


@pytest.mark.parametrize("name", PRESETS)
def test_the_mask_is_exactly_where_the_picture_is_visibly_altered(name):
    clean = pictures(16)
    defective, masks = DefectGenerator(always(name), seed=0)(clean)
    change = (defective - clean).abs().amax(1, keepdim=True)
    assert torch.equal(masks, (change > 0.05).float())
    assert (defective.shape, masks.shape) == (clean.shape, (16, 1, 64, 64))
    assert float(defective.min()) >= 0 and float(defective.max()) <= 1


@pytest.mark.parametrize("name", PRESETS)
def test_a_picture_is_defective_by_name_by_mask_and_by_pixels_or_by_none_of_them(name):
    clean = pictures(24)
    drawn = DefectGenerator(PRESETS[name], seed=1).draw(clean)
    by_pixels = [not torch.equal(*pair) for pair in zip(drawn.pictures, clean, strict=True)]
    by_mask = [bool(mask.any()) for mask in drawn.masks]
    assert by_pixels == by_mask == [bool(name) for name in drawn.operators]


def test_the_clean_pictures_are_not_written_to():
    clean = pictures(16)
    before = clean.clone()
    DefectGenerator(always("surface"), seed=2)(clean)
    assert torch.equal(clean, before)


@pytest.mark.parametrize("operator", WITHOUT_BANK)
def test_no_defect_leaves_the_region_of_interest(operator):
    clean, roi = pictures(8), torch.zeros(1, 1, 64, 64)
    roi[..., 10:40, 12:52] = 1
    defective, masks = DefectGenerator(only(operator), seed=3)(clean, roi)
    outside = (roi == 0).expand_as(clean)
    assert torch.equal(defective[outside], clean[outside])
    assert float((masks * (1 - roi)).sum()) == 0
    assert float(masks.sum()) > 0


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_seed_draws_the_same_defects_and_another_seed_others(name):
    first, again, other = (DefectGenerator(always(name), seed)(pictures()) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_the_state_of_the_random_generator_is_all_that_a_resumed_run_needs():
    clean, generator = pictures(8), DefectGenerator(always("surface"), seed=7)
    generator(clean)
    state = generator.random.get_state()
    expected = generator(clean)
    resumed = DefectGenerator(always("surface"), seed=99)
    resumed.random.set_state(state)
    assert all(torch.equal(*pair) for pair in zip(resumed(clean), expected, strict=True))


@pytest.mark.parametrize("name", PRESETS)
def test_the_number_of_threads_changes_nothing(name):
    clean, results = pictures(16, 128, 128), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(DefectGenerator(always(name), seed=8)(clean))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_the_share_of_clean_pictures_is_kept():
    preset = DefectPreset({"flat": 1.0}, clean_share=0.2)
    _, masks = DefectGenerator(preset, seed=7)(pictures(1, 32, 32).expand(200, -1, -1, -1))
    untouched = int((masks.flatten(1).sum(1) == 0).sum())
    assert untouched / 200 == pytest.approx(0.2, abs=0.06)


def test_a_defect_is_as_large_as_asked_for_or_not_drawn():
    preset = replace(PRESETS["surface"], smallest=0.01, largest=0.03)
    areas = DefectGenerator(preset, seed=9)(pictures(48))[1].mean((1, 2, 3))
    drawn = areas[areas > 0]
    assert len(drawn) > 10
    assert float(drawn.min()) >= 0.01 and float(drawn.max()) <= 0.03


def test_the_smallest_size_is_a_share_of_the_region_of_interest():
    roi = torch.zeros(1, 1, 64, 64)
    roi[..., 16:48, 16:48] = 1
    masks = DefectGenerator(DefectPreset({"flat": 1.0}, smallest=0.1), seed=10)(pictures(32), roi)[1]
    areas = masks.sum((1, 2, 3))
    assert float(areas[areas > 0].min()) >= 0.1 * 32 * 32


@pytest.mark.parametrize("operator", WITHOUT_BANK)
def test_every_kind_alters_most_pictures_and_no_two_alike(operator):
    masks = DefectGenerator(only(operator), seed=13)(pictures(16))[1]
    areas = masks.mean((1, 2, 3))
    assert int((areas > 0).sum()) >= 8
    assert len({round(float(area), 4) for area in areas}) > 4


@pytest.mark.parametrize(("count", "height", "width"), [(1, 64, 64), (3, 33, 65), (2, 96, 48)])
def test_any_number_and_shape_of_pictures_will_do(count, height, width):
    clean = pictures(count, height, width)
    for name in PRESETS:
        defective, masks = DefectGenerator(always(name), seed=17)(clean)
        assert (defective.shape, masks.shape) == (clean.shape, (count, 1, height, width))
        assert float(masks.sum()) > 0


def test_nothing_is_drawn_on_a_picture_without_anything_to_see():
    black = torch.zeros(4, 3, 64, 64)
    defective, masks = DefectGenerator(only("elsewhere"), seed=19)(black)
    assert torch.equal(defective, black)
    assert float(masks.sum()) == 0


def test_presets_name_only_operators_that_exist():
    for preset in PRESETS.values():
        assert set(preset.operators) <= set(OPERATORS)


def test_a_texture_corpus_takes_the_place_of_procedural_textures():
    corpus = torch.zeros(2, 3, 80, 40)
    corpus[:, 1] = 1
    defective, masks = DefectGenerator(DefectPreset({"foreign_texture": 1.0}), 21, textures=corpus)(pictures(8))
    greenest = (defective[:, 1:2] - defective[:, :1])[masks > 0]
    assert float(greenest.median()) > 0.4


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96), (33, 65)])
def test_gradient_noise_has_both_signs_and_no_spikes(height, width):
    noise = gradient_noise(Dice(torch.Generator().manual_seed(17), "cpu"), 5, (height, width), 2, 3)
    assert noise.shape == (5, 1, height, width)
    assert float(noise.amin((1, 2, 3)).max()) < -0.1 and float(noise.amax((1, 2, 3)).min()) > 0.1
    assert float(noise.abs().max()) <= 1.5
    step = (noise[..., 1:] - noise[..., :-1]).abs().max()
    assert float(step) < 0.6
