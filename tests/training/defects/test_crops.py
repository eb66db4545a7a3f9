"""Parts with a free layout: training sees crops of a larger field, and the field is what is inspected."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from dataclasses import replace  # noqa: E402

from edge.core.errors import UsageError  # noqa: E402
from training.data.augmentation import crop_places, cropped, cut  # noqa: E402
from training.defects import PRESETS, DefectGenerator  # noqa: E402
from training.defects.defective_pictures import draw_in_squares  # noqa: E402
from training.fit import Recipe, fit  # noqa: E402
from training.methods import METHODS  # noqa: E402
from training.methods.base import Design, Stage  # noqa: E402
from training.methods.kist_rounds import around  # noqa: E402
from training.methods.score_candidates import by_place  # noqa: E402
from training.optimisation.stages import BatchSource  # noqa: E402
from training.run.run_files import load_run  # noqa: E402

SIDE, CROP = 96, 64
STAGE = Stage("only", 4, 4, 1e-3, preset="surface")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plates(count):
    grain = torch.rand(count, 1, SIDE, SIDE, generator=seeded(3)).expand(-1, 3, -1, -1)
    return 0.5 + 0.2 * (grain - 0.5)


def write_plates(data, count=20):
    (data / "train" / "good").mkdir(parents=True)
    for number, plate in enumerate(plates(count)):
        picture = (plate.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        cv2.imwrite(str(data / "train" / "good" / f"{number:02}.png"), picture)
    return data


def test_a_crop_is_a_piece_of_its_own_picture_and_any_place_may_be_in_it():
    where = torch.arange(SIDE * SIDE).view(1, 1, SIDE, SIDE).expand(200, -1, -1, -1)
    crops = cropped(where, CROP, seeded())
    assert crops.shape == (200, 1, CROP, CROP)
    corners = crops[:, 0, 0, 0]
    assert torch.equal(crops[:, 0, -1, -1] - corners, torch.full((200,), (CROP - 1) * (SIDE + 1)))
    rows, columns = corners // SIDE, corners % SIDE
    assert (int(rows.min()), int(rows.max())) == (int(columns.min()), int(columns.max())) == (0, SIDE - CROP)
    assert len(torch.unique(corners)) > 100


def test_pictures_of_the_size_of_a_crop_cost_no_random_numbers():
    random = seeded()
    before = random.get_state()
    whole = plates(2)
    assert cropped(whole, SIDE, random) is whole
    assert torch.equal(random.get_state(), before)


def test_batches_have_the_side_of_a_crop():
    batch = BatchSource(plates(8), None, 0.0, "free", 0, None, CROP).draw(STAGE, 6)
    assert batch.clean.shape == batch.corrupted.shape == (6, 3, CROP, CROP)
    assert batch.masks.shape == (6, 1, CROP, CROP)


def test_score_paths_are_judged_by_defects_as_large_as_training_draws_them():
    clean, preset = plates(24), replace(PRESETS["judging"], clean_share=0.0, largest=0.2)
    drawn, masks = draw_in_squares(DefectGenerator(preset, 5), clean, None, CROP)
    assert drawn.shape == clean.shape and masks.shape == (24, 1, SIDE, SIDE)
    change = (drawn - clean).abs().amax(1, keepdim=True)
    assert (masks >= (change > 0.05)).all() and (change[masks > 0] > 0).all()
    areas = masks.sum((1, 2, 3))
    found = areas[areas > 0]
    assert len(found) > 12
    assert float(found.max()) <= 0.2 * CROP * CROP


def test_a_real_defect_is_cut_out_with_its_worst_place_inside():
    pictures = plates(3)
    degree = torch.zeros(3, 1, SIDE, SIDE)
    for index, (y, x) in enumerate([(2, 90), (50, 50), (95, 0)]):
        degree[index, 0, y, x] = 1
    pieces = around(torch.cat([pictures, degree], 1), degree, CROP)
    assert pieces.shape == (3, 4, CROP, CROP)
    assert torch.equal(pieces[:, 3].amax((1, 2)), torch.ones(3))


def test_squares_are_taken_where_they_are_put_back():
    pictures = plates(4)
    places = crop_places(pictures, CROP, seeded(1))
    for picture, place, square in zip(pictures, places, cut(pictures, places), strict=True):
        assert torch.equal(picture[place], square)


@pytest.mark.parametrize("method", ["kist", "isstad"])
def test_a_network_taught_on_crops_inspects_the_whole_field(method):
    plan = METHODS[method].variants["tiny"]
    torch.manual_seed(0)
    network = METHODS[method].learner(Design("tiny", "free")).network.eval()
    with torch.no_grad():
        small, large = (network(torch.zeros(1, 3, side, side)) for side in (plan.size, plan.free_field))
    for name, values in small.items():
        assert large[name].shape[-1] == values.shape[-1] * plan.free_field // plan.size


@pytest.fixture
def crops_in_smoke(monkeypatch):
    method = METHODS["isstad"]
    variants = dict(method.variants)
    variants["smoke"] = replace(variants["smoke"], free_field=SIDE)
    monkeypatch.setattr(type(method), "variants", variants)


def test_the_field_of_a_free_layout_is_trained_on_in_crops_and_recorded(tmp_path, crops_in_smoke):
    data, told = write_plates(tmp_path / "data"), []
    run = fit(data, tmp_path / "run", Recipe("isstad", "smoke", 0, layout="free", steps=2), notice=told.append)
    assert (run.height, run.width) == (SIDE, SIDE)
    assert "the field is 96x96 px; training sees crops of 64x64 px of it" in told
    assert run.crop == 64
    stored, network = load_run(tmp_path / "run")
    assert (stored.height, stored.width, stored.crop) == (SIDE, SIDE, 64)
    assert network(torch.zeros(1, 3, SIDE, SIDE))["recon"].shape == (1, 3, SIDE, SIDE)


def test_parts_that_lie_the_same_way_are_looked_at_whole(tmp_path, crops_in_smoke):
    data = write_plates(tmp_path / "data")
    assert fit(data, tmp_path / "run", Recipe("isstad", "smoke", 0, layout="aligned", steps=2)).height == 64


def test_a_field_or_preset_that_cannot_be_is_refused_before_training(tmp_path, subtests):
    data = write_plates(tmp_path / "data")
    for recipe, said in [
        (Recipe("isstad", "tiny", 0, layout="aligned", field=256), "a field of 128 px here, and no other"),
        (Recipe("slsg", "tiny", 0, layout="free", field=256), "a field of 128 px here, and no other"),
        (Recipe("isstad", "tiny", 0, layout="free", field=200), "does not fit the network"),
        (Recipe("isstad", "tiny", 0, layout="free", field=64), "does not fit the network"),
        (Recipe("isstad", "tiny", 0, layout="free", defects="rust"), "unknown artificial defects 'rust'"),
    ]:
        with subtests.test(said=said):
            with pytest.raises(UsageError, match=said) as refused:
                fit(data, tmp_path / "run", recipe)
            assert refused.value.fix


def test_free_layouts_may_have_statistics_by_place_where_a_residual_counts():
    candidates = METHODS["isstad"].score_candidates(CROP, "free")
    added = by_place(candidates)
    assert {spec.norm.kind for spec in candidates.values()} == {"global"}
    assert {spec.norm.kind for spec in added.values()} == {"pixel"}
    assert len(added) == sum(spec.residual.used for spec in candidates.values())
    assert not by_place(METHODS["isstad"].score_candidates(CROP, "aligned"))
