"""Artificial defects: the mask is where the picture was altered, and every kind is really drawn."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no defects can be drawn")

from training.defects import (  # noqa: E402
    FAMILIES,
    HELD_OUT,
    OPERATORS,
    PRESETS,
    DefectGenerator,
    DefectPreset,
    training_preset,
)
from training.defects.masks import altered_region  # noqa: E402
from training.defects.noise import gradient_noise  # noqa: E402
from training.defects.random_source import RandomSource  # noqa: E402

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


def holds_what_changed(masks, change):
    """Every pixel that visibly changed, and none that did not change at all."""
    return bool((masks >= (change > 0.05)).all()) and bool((change[masks > 0] > 0).all())


def test_a_patch_of_another_texture_has_a_mask_in_one_piece():
    texture = torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(5)).expand(-1, 3, -1, -1) * 0.3 + 0.3
    altered, (first, second) = texture[:1].clone(), texture
    altered[0, :, 40:90, 30:100] = second[:, 40:90, 30:100]
    visible, region = altered_region((altered - first).abs().amax(1, keepdim=True))
    inside = torch.zeros(1, 1, 128, 128, dtype=torch.bool)
    inside[..., 40:90, 30:100] = True
    assert float(visible[inside].float().mean()) < 0.75
    assert float(region[inside].float().mean()) > 0.97
    assert not (region & ~inside).any()


def test_no_family_is_both_trained_on_and_judged_by():
    assert set(FAMILIES) == set(OPERATORS)
    assert PRESETS["judging"].families <= HELD_OUT
    for name in PRESETS:
        assert not training_preset(name).families & HELD_OUT, name
        assert training_preset(name).operators or name == "judging", name


def test_the_mask_holds_all_that_visibly_changed_and_nothing_unchanged():
    clean = pictures(16)
    for name in PRESETS:
        defective, masks = DefectGenerator(always(name), seed=0)(clean)
        change = (defective - clean).abs().amax(1, keepdim=True)
        assert holds_what_changed(masks, change), name
        assert (defective.shape, masks.shape) == (clean.shape, (16, 1, 64, 64)), name
        assert float(defective.min()) >= 0 and float(defective.max()) <= 1, name


def test_a_picture_is_defective_by_name_by_mask_and_by_pixels_or_by_none_of_them():
    clean = pictures(24)
    for name in PRESETS:
        drawn = DefectGenerator(PRESETS[name], seed=1).draw(clean)
        by_pixels = [not torch.equal(*pair) for pair in zip(drawn.pictures, clean, strict=True)]
        by_mask = [bool(mask.any()) for mask in drawn.masks]
        assert by_pixels == by_mask == [bool(name) for name in drawn.operators], name


def test_the_clean_pictures_are_not_written_to():
    clean = pictures(16)
    before = clean.clone()
    DefectGenerator(always("surface"), seed=2)(clean)
    assert torch.equal(clean, before)


def test_no_defect_leaves_the_region_of_interest():
    clean, roi = pictures(8), torch.zeros(1, 1, 64, 64)
    roi[..., 10:40, 12:52] = 1
    outside = (roi == 0).expand_as(clean)
    for operator in WITHOUT_BANK:
        defective, masks = DefectGenerator(only(operator), seed=3)(clean, roi)
        assert torch.equal(defective[outside], clean[outside]), operator
        assert float((masks * (1 - roi)).sum()) == 0, operator
        assert float(masks.sum()) > 0, operator


def test_the_same_seed_draws_the_same_defects_and_another_seed_others():
    for name in PRESETS:
        first, again, other = (DefectGenerator(always(name), seed)(pictures()) for seed in (5, 5, 6))
        assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]), name
        assert not torch.equal(first[1], other[1]), name


def test_the_state_of_the_random_generator_is_all_that_a_resumed_run_needs():
    clean, generator = pictures(8), DefectGenerator(always("surface"), seed=7)
    generator(clean)
    state = generator.random.get_state()
    expected = generator(clean)
    resumed = DefectGenerator(always("surface"), seed=99)
    resumed.random.set_state(state)
    assert all(torch.equal(*pair) for pair in zip(resumed(clean), expected, strict=True))


def test_the_number_of_threads_changes_nothing():
    for name in PRESETS:
        clean, results = pictures(16, 128, 128), []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(DefectGenerator(always(name), seed=8)(clean))
            assert torch.get_num_threads() == threads, name
        assert all(torch.equal(*pair) for pair in zip(*results, strict=True)), name


def test_the_share_of_clean_pictures_is_kept():
    preset = DefectPreset({"flat": 1.0}, clean_share=0.2)
    _, masks = DefectGenerator(preset, seed=7)(pictures(1, 32, 32).expand(200, -1, -1, -1))
    untouched = int((masks.flatten(1).sum(1) == 0).sum())
    assert untouched / 200 == pytest.approx(0.2, abs=0.06)


def test_a_defect_is_as_large_as_asked_for_or_not_drawn():
    preset = replace(PRESETS["surface"], smallest=0.01, largest=0.03)
    clean = pictures(48)
    seen = (DefectGenerator(preset, seed=9)(clean)[0] - clean).abs().amax(1) > 0.05
    areas = seen.float().mean((1, 2))
    drawn = areas[areas > 0]
    assert len(drawn) > 10
    assert float(drawn.min()) >= 0.01 and float(drawn.max()) <= 0.03


def test_the_smallest_size_is_a_share_of_the_region_of_interest():
    roi = torch.zeros(1, 1, 64, 64)
    roi[..., 16:48, 16:48] = 1
    masks = DefectGenerator(DefectPreset({"flat": 1.0}, smallest=0.1), seed=10)(pictures(32), roi)[1]
    areas = masks.sum((1, 2, 3))
    assert float(areas[areas > 0].min()) >= 0.1 * 32 * 32


def test_every_kind_alters_most_pictures_and_not_all_alike():
    for operator in WITHOUT_BANK:
        masks = DefectGenerator(only(operator), seed=13)(pictures(16))[1]
        drawn = [mask.numpy().tobytes() for mask in masks if mask.any()]
        assert len(drawn) >= 8, operator
        assert len(set(drawn)) > len(drawn) / 2, operator


def test_any_number_and_shape_of_pictures_will_do(subtests):
    for count, height, width in [(1, 64, 64), (3, 33, 65), (2, 96, 48)]:
        with subtests.test(count=count, height=height, width=width):
            clean = pictures(count, height, width)
            for name in PRESETS:
                defective, masks = DefectGenerator(always(name), seed=17)(clean)
                assert (defective.shape, masks.shape) == (clean.shape, (count, 1, height, width))
                assert float(masks.sum()) > 0


def test_more_pictures_than_memory_should_hold_at_once_are_drawn_in_parts():
    clean = pictures(67, 32, 32)
    drawn = DefectGenerator(always("surface"), seed=18).draw(clean)
    assert drawn.pictures.shape == clean.shape
    assert len(drawn.operators) == 67 and drawn.operators.count("") < 4
    change = (drawn.pictures - clean).abs().amax(1, keepdim=True)
    assert holds_what_changed(drawn.masks, change)


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


def test_grey_pictures_get_grey_defects_and_coloured_ones_coloured():
    coloured = pictures(12)
    grey = coloured.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    defective, _ = DefectGenerator(only("pen_mark"), seed=22)(torch.cat([grey, coloured]))
    spread = (defective.amax(1) - defective.amin(1)).flatten(1).amax(1)
    assert float(spread[:12].max()) < 1e-5
    assert float(spread[12:].min()) > 0.3


def test_without_a_bank_transplants_are_not_drawn():
    drawn = DefectGenerator(only("transplant"), seed=23).draw(pictures(8))
    assert drawn.operators == [""] * 8
    assert float(drawn.masks.sum()) == 0


def bank():
    """One real defect: a red disc of radius 5 at (20, 44) on a part darker than the others."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    mask = (((y - 20) ** 2 + (x - 44) ** 2) < 25).float()[None, None]
    red = torch.tensor([0.9, 0.05, 0.05]).view(1, 3, 1, 1)
    return torch.lerp(pictures(1) - 0.1, red, mask), mask


def test_a_transplanted_defect_keeps_its_size_and_colour_at_its_own_place_or_another():
    picture, mask = bank()
    generator = DefectGenerator(only("transplant"), seed=24)
    generator.set_bank(picture, mask)
    defective, masks = generator(pictures(24))
    areas = masks.sum((1, 2, 3))
    assert int((areas > 0).sum()) >= 22
    own_place = masks[(masks * mask).sum((1, 2, 3)) > 0.8 * float(mask.sum())]
    assert 6 <= len(own_place) < 22
    assert float((areas[areas > 0] - mask.sum()).abs().median()) < 0.6 * float(mask.sum())
    redness = (defective[:, :1] - defective[:, 1:2])[masks > 0]
    assert float(redness.median()) > 0.5


def test_a_transplanted_defect_takes_the_brightness_of_its_new_surround():
    picture, mask = bank()
    generator = DefectGenerator(only("transplant"), seed=25)
    generator.set_bank(picture - 0.15, mask)
    clean = pictures(16)
    defective, masks = generator(clean)
    # a rim of the darker bank part around the disc would be visible all around it
    assert float(masks.sum((1, 2, 3)).max()) < 1.9 * float(mask.sum())
    assert float((defective - clean).abs().amax(1, keepdim=True)[masks > 0].median()) > 0.3


def test_a_bank_can_be_taken_away_again():
    generator = DefectGenerator(only("transplant"), seed=26)
    generator.set_bank(*bank())
    generator.set_bank(torch.zeros(0, 3, 64, 64), torch.zeros(0, 1, 64, 64))
    assert float(generator(pictures())[1].sum()) == 0


def test_a_bank_of_another_size_is_refused():
    generator = DefectGenerator(only("transplant"), seed=27)
    generator.set_bank(*bank())
    with pytest.raises(ValueError, match=r"64x64 px, these are 48x48"):
        generator(pictures(2, 48, 48))


def test_a_missing_component_shows_what_lies_around_it():
    clean = torch.full((16, 3, 96, 96), 0.3)
    clean[:, :, 40:56, 30:60] = 0.9
    defective, masks = DefectGenerator(only("missing_component"), seed=28)(clean)
    changed = masks > 0
    assert int(changed.flatten(1).any(1).sum()) >= 12
    # most of what was covered is the bright block, and most of what covers it is as dark as its surround
    assert float(clean[:, :1][changed].median()) == pytest.approx(0.9, abs=1e-5)
    assert float(defective[:, :1][changed].median()) < 0.4


def test_a_swapped_component_is_that_of_another_picture():
    clean = torch.full((8, 3, 96, 96), 0.3)
    for picture in range(8):
        clean[picture, picture % 3, 30:66, 30:66] = 0.9
    defective, masks = DefectGenerator(only("cross_image_swap"), seed=29)(clean)
    assert float(masks.sum()) > 0
    for picture in range(8):
        new = defective[picture][:, masks[picture, 0] > 0]
        assert bool((new <= 0.9 + 1e-5).all()) and bool((new >= 0.3 - 1e-5).all())


def test_gradient_noise_has_both_signs_and_no_spikes():
    for height, width in [(64, 64), (48, 96), (33, 65)]:
        noise = gradient_noise(RandomSource(torch.Generator().manual_seed(17), "cpu"), 5, (height, width), 2, 3)
        assert noise.shape == (5, 1, height, width), (height, width)
        assert float(noise.amin((1, 2, 3)).max()) < -0.1 and float(noise.amax((1, 2, 3)).min()) > 0.1, (height, width)
        assert float(noise.abs().max()) <= 1.5, (height, width)
        step = (noise[..., 1:] - noise[..., :-1]).abs().max()
        assert float(step) < 0.6, (height, width)


def two_toned(count=16):
    images = torch.full((count, 3, 64, 64), 0.05)
    images[:, :, 20:28], images[:, :, :, 40:48] = 0.9, 0.9
    return images


def test_what_is_altered_of_a_picture_of_two_tones_has_those_two_tones():
    for operator in ["bite", "pin_hole", "bridge", "spot"]:
        defective, masks = DefectGenerator(only(operator), seed=30)(two_toned())
        new = defective[:, :1][masks > 0]
        assert float(masks.sum()) > 0, operator
        between = ((new > 0.15) & (new < 0.8)).float().mean()
        assert float(between) < 0.35, operator
        assert float(new.min()) >= 0.05 - 1e-5 and float(new.max()) <= 0.9 + 1e-5, operator


def test_grey_levels_stay_what_they_are_on_pictures_that_have_more_than_two():
    defective, masks = DefectGenerator(only("uneven"), seed=31)(pictures(8))
    levels = defective[:, 0][masks[:, 0] > 0]
    assert len(torch.unique((levels * 50).round())) > 8
