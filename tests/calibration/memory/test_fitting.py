"""Memories of good parts: what they find unusual, that no part is judged by a memory of itself, what is repeatable."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no memory can be written")

from calibration.memory.centres import farthest_first, farthest_first_of_blocks
from calibration.memory.designs import MemoryDesign, designs_for
from calibration.memory.fitting import Chooser, fit_memories, graphs_of, refit_memories
from calibration.memory.looks import copies_of, varied
from calibration.ranges import collect_ranges
from edge.kernels.cpu import planes_from_field
from export.memory_graph import memories_of
from export.qdq import quantized_for_cpu
from tests.export.graphs import run
from tests.export.tap_graphs import HEIGHT, WIDTH, tapped_network

LOCAL = MemoryDesign("fine", ("tap2", "tap4"), axes=6, centres=8, block=2)
GLOBAL = MemoryDesign("fine", ("tap2", "tap4"), axes=6, centres=40, block=0)
COARSE = MemoryDesign("coarse", ("tap6",), axes=6, centres=20, block=0)


def parts(count, seed=0):
    """A bright left and a dark right half, with noise."""
    random = np.random.default_rng(seed)
    fields = np.full((count, HEIGHT, WIDTH, 3), 60, np.float64)
    fields[:, :, : WIDTH // 2] = 180
    fields += random.normal(0, 6, fields.shape) + random.uniform(-8, 8, (count, 1, 1, 1))
    return fields.clip(0, 255).astype(np.uint8)


def planes(field):
    return planes_from_field(field, np.empty((3, HEIGHT, WIDTH), np.float32))


def distances(graph, field):
    return run(graph, planes(field), "emb_dist")[0]


@pytest.fixture(scope="module")
def model():
    return tapped_network()


@pytest.mark.parametrize("design", [LOCAL, GLOBAL], ids=["local", "global"])
def test_a_defect_is_far_from_what_good_parts_hold_and_other_good_parts_are_not(model, design):
    graph = graphs_of(model, fit_memories(model, parts(20), "aligned", [design])).deployed
    good, bad = parts(4, seed=9), parts(4, seed=9)
    bad[:, 8:20, 40:56] = (250, 20, 20)
    ordinary = max(distances(graph, field).max() for field in good)
    for field in bad:
        found = distances(graph, field)
        assert found.max() > 2 * ordinary
        # places of 4 x 4 px, and what a 3 x 3 mean and the network see around them
        row, column = np.unravel_index(found.argmax(), found.shape)
        assert 0 <= row <= 6
        assert 8 <= column <= 15


def test_only_a_local_memory_knows_what_belongs_where(model):
    swapped = parts(1, seed=9)[0]
    swapped[:, :32], swapped[:, 32:] = swapped[:, 32:].copy(), swapped[:, :32].copy()
    found = {}
    for design in (LOCAL, GLOBAL):
        graph = graphs_of(model, fit_memories(model, parts(20), "aligned", [design])).deployed
        # inside each half, away from the edge between them
        found[design.block > 0] = np.median(distances(graph, swapped))
    assert found[True] > 3 * max(1.0, found[False])


@pytest.mark.parametrize("layout", ["aligned", "free"])
def test_what_was_measured_without_a_part_is_what_the_graph_of_its_fold_gives(model, layout):
    fields = parts(12)
    fit = fit_memories(model, fields, layout, [GLOBAL, COARSE])
    graphs = graphs_of(model, fit)
    assert len(graphs.folds) == 5
    assert sorted(np.bincount(fit.fold_of)) == [2, 2, 2, 3, 3]
    for number in (0, 5, 11):
        given = distances(graphs.folds[fit.fold_of[number]], fields[number])
        assert given == pytest.approx(fit.held_out[number], abs=0.05)


def test_a_part_like_no_other_is_near_only_to_a_memory_that_holds_it(model):
    fields = parts(12)
    fields[3, 4:20, 4:20] = (0, 255, 0)
    fit = fit_memories(model, fields, "aligned", [LOCAL])
    graphs = graphs_of(model, fit)
    fold = fit.fold_of[3]
    alone = distances(graphs.folds[fold], fields[3]).max()
    for other, graph in enumerate(graphs.folds):
        if other != fold:
            assert distances(graph, fields[3]).max() < 0.5 * alone
    assert fit.held_out[3].max() == max(map_.max() for map_ in fit.held_out)


def test_distances_of_held_out_parts_are_deviations(model):
    fit = fit_memories(model, parts(30), "free", [GLOBAL])
    assert fit.held_out.mean() == pytest.approx(0, abs=0.3)
    assert fit.held_out.std() == pytest.approx(1, abs=0.3)


def noisy_above(count):
    """Parts whose upper half differs much, and whose lower one does not."""
    fields = parts(count).astype(np.int16)
    fields[:, : HEIGHT // 2] += np.random.default_rng(5).integers(-40, 40, fields[:, : HEIGHT // 2].shape)
    return fields.clip(0, 255).astype(np.uint8)


def spread_of_halves(model, count):
    (memory,) = fit_memories(model, noisy_above(count), "aligned", [LOCAL]).memories
    # without the places in between, which see both
    return 1 / memory.inv_std[:3].mean(), 1 / memory.inv_std[5:].mean()


def test_with_many_parts_a_place_has_its_own_spread_and_with_few_mostly_that_of_all(model):
    few, many = ((upper / lower) for upper, lower in (spread_of_halves(model, count) for count in (6, 60)))
    assert many > 1.2 * few
    assert few > 1


def test_every_depth_has_its_memory_and_blocks_of_its_own_where_parts_lie_the_same_way():
    taps = [f"tap{number}" for number in range(2, 7)]
    aligned, free = (designs_for(taps, layout, 40) for layout in ("aligned", "free"))
    assert [design.name for design in aligned] == ["fine", "middle", "coarse"]
    # of 8, 16 and 32 px a place: one block is as wide as what all sides of a field are multiples of
    assert [8 * design.block * scale for design, scale in zip(aligned, (1, 2, 4), strict=True)] == [32, 32, 32]
    assert [design.block > 0 for design in free] == [True, False, False]


@pytest.mark.parametrize(("parts_taught", "centres"), [(5, 200), (60, 480), (1000, 3000)])
def test_what_may_lie_anywhere_needs_the_more_centres_the_more_parts_there_are(parts_taught, centres):
    taps = [f"tap{number}" for number in range(2, 7)]
    assert designs_for(taps, "free", parts_taught)[1].centres == centres


def test_the_same_parts_and_seed_give_the_same_memory(model):
    first, again = (graphs_of(model, fit_memories(model, parts(8), "free", [GLOBAL], seed=4)) for _ in range(2))
    assert first.deployed == again.deployed
    assert first.folds == again.folds
    assert first.deployed != graphs_of(model, fit_memories(model, parts(8), "free", [GLOBAL], seed=5)).deployed


def test_refitting_a_graph_to_its_own_parts_gives_the_same_folds(model):
    fields = parts(10)
    graphs = graphs_of(model, fit_memories(model, fields, "aligned", [LOCAL], seed=1))
    again = graphs_of(graphs.deployed, refit_memories(graphs.deployed, fields, "aligned", seed=1))
    for one, other in zip(graphs.folds, again.folds, strict=True):
        assert distances(other, fields[0]) == pytest.approx(distances(one, fields[0]), abs=0.02)


@pytest.mark.parametrize("design", [LOCAL, GLOBAL], ids=["local", "global"])
def test_more_parts_join_and_what_the_memory_knew_stays(model, design):
    green, earlier, later = parts(6, seed=3), parts(20), parts(6, seed=7)
    green[:, 4:20, 4:20] = (0, 255, 0)
    graph = graphs_of(model, fit_memories(model, np.concatenate([earlier, green]), "aligned", [design])).deployed
    later[:, 8:24, 40:60] = (255, 0, 255)
    extended = graphs_of(graph, refit_memories(graph, later, "aligned", earlier=26)).deployed

    def worst(judge, fields):
        return np.mean([distances(judge, field).max() for field in fields])

    unknown = graphs_of(model, fit_memories(model, later, "aligned", [design])).deployed
    assert worst(extended, later) < 0.6 * worst(graph, later)
    assert worst(extended, green) < 0.5 * worst(unknown, green)


def test_what_is_rare_on_good_parts_has_a_centre_of_its_own():
    random = np.random.default_rng(0)
    common = random.normal(0, 0.1, (500, 4)).astype(np.float32)
    rare = np.full((1, 4), 5, np.float32)
    centres = farthest_first(np.concatenate([common, rare]), 8, random)
    assert len(centres) == 8
    assert np.abs(centres - rare).sum(1).min() == 0
    assert len(farthest_first(common[:3], 8, random)) == 3


def test_the_centres_of_a_block_come_from_it_and_half_a_block_around():
    numbers = np.arange(4 * 8, dtype=np.float32).reshape(1, 4, 8, 1)
    places = np.concatenate([numbers, numbers + 100])
    centres = farthest_first_of_blocks(places, 2, 40, np.random.default_rng(0))
    assert centres.shape == (2, 4, 40, 1)
    assert set(centres[1, 1].ravel().tolist()) == {float(value) for value in places[:, 1:, 1:5].ravel()}
    assert set(centres[0, 0].ravel().tolist()) == {float(value) for value in places[:, :3, :3].ravel()}


def test_fewer_copies_are_looked_at_the_more_parts_there_are():
    assert [copies_of(count, 400, 4) for count in (20, 80, 100, 200, 350, 500)] == [4, 4, 3, 1, 0, 0]


def test_copies_are_mirrored_only_where_parts_may_lie_so():
    field = parts(1)[0]
    random = np.random.default_rng(0)
    kept = [varied(field, "aligned", random) for _ in range(12)]
    turned = [varied(field, "free", random) for _ in range(12)]
    assert all(copy[:, :20].mean() > copy[:, -20:].mean() for copy in kept)
    assert {bool(copy[:, :20].mean() > copy[:, -20:].mean()) for copy in turned} == {True, False}
    assert all(copy.shape == field.shape for copy in (*kept, *turned))


def test_copies_have_the_noise_of_sensors():
    field, random = np.full((32, 32, 3), 128, np.uint8), np.random.default_rng(0)
    spreads = [float(varied(field, "aligned", random).std()) for _ in range(40)]
    assert min(spreads) < 1 and 2 < max(spreads) < 3.3


@pytest.mark.parametrize("design", [LOCAL, GLOBAL], ids=["local", "global"])
def test_a_rounded_network_keeps_the_same_places_in_its_own_features(model, design):
    fields = parts(12)
    fit = fit_memories(model, fields, "aligned", [design])
    exact = graphs_of(model, fit).deployed
    int8 = quantized_for_cpu(exact, collect_ranges(exact, [planes(field) for field in fields]))
    other, own, at_hand = (
        refit_memories(int8, fields, "aligned", chosen_by=chooser)
        for chooser in (None, Chooser(exact), Chooser(exact, fit.places))
    )
    kept = memories_of(exact)[0].centres
    # rounding moves a place a little; another place is elsewhere
    apart = np.abs(own.memories[0].centres - kept).mean()
    assert 0 < apart < 0.3 * np.abs(other.memories[0].centres - kept).mean()
    # what the exact one saw need not be looked at again
    assert np.array_equal(at_hand.memories[0].centres, own.memories[0].centres)
