"""Defects of circuits at their own scale: as large as they may be, of two tones, and marked where they are."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no defects can be drawn")

import cv2  # noqa: E402

from training.defects import FAMILIES, HELD_OUT, PRESETS, DefectGenerator, DefectPreset  # noqa: E402
from training.defects.random_source import RandomSource  # noqa: E402
from training.defects.scene import Batch, Scene  # noqa: E402
from training.defects.traces import LARGEST_PX, SMALLEST_PX, drawn, edge_bar, edge_discs, hole_or_island  # noqa: E402

DAMAGES = (edge_discs, hole_or_island, edge_bar)
SIDE = 160


def board(dark=0.1, bright=0.9, soft=0.0):
    """Traces and pads, (3, 160, 160) in 0..1."""
    picture = np.full((SIDE, SIDE), bright, np.float32)
    for x in range(20, 80, 14):
        cv2.line(picture, (x, 0), (x, 159), dark, 6)
    cv2.rectangle(picture, (95, 15), (150, 70), dark, -1)
    cv2.circle(picture, (120, 120), 25, dark, -1)
    if soft:
        picture = cv2.GaussianBlur(picture, (0, 0), soft)
    return torch.from_numpy(picture).expand(3, -1, -1).contiguous()


def bright_of(picture):
    return picture.mean(0).numpy() > 0.5


def damaged(damage, number=24, seed=0, picture=None):
    pictures = (board() if picture is None else picture).expand(number, -1, -1, -1)
    scene = Scene(Batch(pictures, RandomSource(torch.Generator().manual_seed(seed), "cpu")), torch.arange(number))
    return drawn(damage)(scene)


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_defect_changes_as_many_pixels_as_it_may_or_none(damage):
    bright, sizes = bright_of(board()), []
    for picture in damaged(damage):
        count, _, stats, _ = cv2.connectedComponentsWithStats((bright_of(picture) != bright).astype(np.uint8))
        total = int(stats[1:, cv2.CC_STAT_AREA].sum())
        # one to three of them
        assert total == 0 or SMALLEST_PX <= total <= 3 * LARGEST_PX
        sizes.append((count - 1, total))
    assert sum(total > 0 for _, total in sizes) >= 20
    assert len({total for _, total in sizes}) > 10


def test_holes_and_islands_touch_no_edge_and_edge_defects_touch_one():
    bright = bright_of(board())
    edge = cv2.morphologyEx(bright.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    for damage, touches in ((hole_or_island, False), (edge_discs, True), (edge_bar, True)):
        for picture in damaged(damage, 16):
            change = bright_of(picture) != bright
            _, labels = cv2.connectedComponents(change.astype(np.uint8))
            for label in range(1, labels.max() + 1):
                spot = labels == label
                # crumbs of a ragged outline may stand apart
                if spot.sum() >= SMALLEST_PX:
                    assert (spot & edge).any() == touches, damage


def test_bars_join_and_cut_traces():
    joined = [cv2.connectedComponents((~bright_of(p)).astype(np.uint8))[0] for p in damaged(edge_bar, 48, seed=3)]
    before = cv2.connectedComponents((~bright_of(board())).astype(np.uint8))[0]
    assert min(joined) < before < max(joined)


@pytest.mark.parametrize("soft", [0.0, 1.2])
def test_new_edges_are_as_soft_as_those_of_the_picture(soft):
    between = [
        float(((p > 0.25) & (p < 0.75)).float().mean())
        for p in (board(soft=soft), *damaged(edge_discs, 8, 1, board(soft=soft)))
    ]
    assert max(between[1:]) < between[0] + (0.02 if soft else 1e-9)
    if soft:
        assert min(between[1:]) > between[0] - 0.01


def test_the_preset_marks_exactly_what_it_changes_and_keeps_the_tones():
    clean = board().expand(32, -1, -1, -1)
    made = DefectGenerator(PRESETS["board"], seed=4).draw(clean)
    change = (made.pictures - clean).abs().amax(1, keepdim=True) > 0.05
    assert torch.equal(made.masks > 0, change)
    assert set(made.operators) == {"", "edge_discs", "hole_or_island", "edge_bar"}
    assert 0.2 < made.operators.count("") / 32 < 0.6
    areas = made.masks.sum((1, 2, 3))
    assert float(areas[areas > 0].min()) >= SMALLEST_PX and float(areas.max()) <= 3 * LARGEST_PX
    off = torch.minimum((made.pictures - 0.1).abs(), (made.pictures - 0.9).abs())
    assert float(off.max()) < 0.02


def test_nothing_is_drawn_where_there_are_no_edges():
    even = torch.full((4, 3, 64, 64), 0.5)
    for name in ("edge_discs", "edge_bar"):
        assert torch.equal(DefectGenerator(DefectPreset({name: 1.0}), seed=5)(even)[0], even)


def test_the_operators_are_one_family_that_training_may_draw():
    families = {FAMILIES[name] for name in PRESETS["board"].operators}
    assert families == {"trace"} and not families & HELD_OUT
