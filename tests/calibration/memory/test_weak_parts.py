"""A head learns what defective parts have in common, is used only where it pays, and never judges what it has seen."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.memory.head_training import train_head
from calibration.memory.same_part import folds_of_good_parts, folds_of_groups, groups_of
from calibration.memory.weak_parts import judged_heads, weak_folds
from tests.calibration.memory.weak_places import FOLDS, shown


@pytest.mark.parametrize("noise", [False, True])
def test_a_head_finds_the_places_that_only_defective_parts_have(noise):
    good, bad = shown(20, planted=False, seed=0), shown(12, planted=True, seed=1)
    head = train_head(good.seen, bad.seen, 0, noise=noise)
    unseen = shown(8, planted=True, seed=2).seen
    found = np.stack([head(each.astype(np.float32), far) for each, far in zip(*vars(unseen).values(), strict=True)])
    planted = unseen.places[..., 2] == 6
    assert found[planted].min() > found[~planted].max()


def test_the_same_seed_gives_the_same_head():
    good, bad = shown(8, planted=False, seed=0), shown(6, planted=True, seed=1)
    first, second, other = (train_head(good.seen, bad.seen, seed, noise=True) for seed in (0, 0, 1))
    assert np.array_equal(first.hidden, second.hidden)
    assert not np.array_equal(first.hidden, other.hidden)


@pytest.fixture(scope="module")
def worth_having():
    groups = np.arange(12)
    weak = shown(12, planted=True, seed=1, copies=1, folds=weak_folds(groups, FOLDS, 0))
    return judged_heads(shown(20, planted=False, seed=0, copies=1), weak, groups, "aligned", 0)


def test_a_head_that_finds_defects_which_distances_do_not_show_is_used(worth_having):
    assert worth_having.without < 0.7
    assert worth_having.with_head > 0.85
    assert worth_having.pays
    assert worth_having.text.endswith("the head is used")


def test_logits_of_good_parts_that_a_head_has_not_seen_have_half_the_spread_of_distances(worth_having):
    assert worth_having.logits.mean() == pytest.approx(0, abs=1e-3)
    assert worth_having.logits.std() == pytest.approx(0.5, abs=1e-3)


def test_labels_that_mean_nothing_are_set_aside():
    groups = np.arange(30)
    weak = shown(30, planted=False, seed=1, folds=weak_folds(groups, FOLDS, 0))
    verdicts = [judged_heads(shown(40, planted=False, seed=10 + s), weak, groups, "aligned", s) for s in range(2)]
    assert [verdict.pays for verdict in verdicts] == [False] * 2
    assert all("set aside" in verdict.text for verdict in verdicts)
    assert max(abs(verdict.with_head - 0.5) for verdict in verdicts) < 0.2


def test_pictures_of_one_part_do_not_judge_the_head_that_learned_from_its_others():
    # every part has an axis of its own: who has seen it knows its other pictures, and nothing of other parts
    groups = np.repeat(np.arange(5), 4)
    good = shown(20, planted=False, seed=0)

    def judged(fold_of):
        weak = shown(20, planted=False, seed=1, folds=fold_of)
        for picture, group in enumerate(groups):
            weak.seen.places[picture, 3] = 0
            weak.seen.places[picture, 3, :, group] = 7
        return judged_heads(good, weak, groups, "aligned", 0)

    leaking, whole = judged(np.arange(20) % FOLDS), judged(weak_folds(groups, FOLDS, 0))
    assert leaking.with_head > whole.with_head + 0.1


def test_the_head_of_a_fold_has_not_seen_the_good_parts_of_the_fold():
    groups = np.arange(10)
    weak = shown(10, planted=True, seed=1, folds=weak_folds(groups, FOLDS, 0))
    good = shown(20, planted=False, seed=0, copies=1)
    before = judged_heads(good, weak, groups, "free", 0)
    # a fold's parts become others: its own head stays, all others change
    places = good.seen.places.copy()
    mine = good.fold_of[good.part_of] == 3
    places[mine] = -places[mine]
    after = judged_heads(replace(good, seen=replace(good.seen, places=places)), weak, groups, "free", 0)

    def direction(head):
        return head.hidden / np.linalg.norm(head.hidden)

    same = [np.allclose(direction(a), direction(b)) for a, b in zip(before.folds, after.folds, strict=True)]
    assert same == [fold == 3 for fold in range(FOLDS)]
    assert not np.allclose(direction(before.head), direction(after.head))


def surfaces(count, seed):
    """Fields of rough surfaces, uint8 (n, 96, 96, 3)."""
    random = np.random.default_rng(seed)
    return random.integers(60, 200, (count, 96, 96, 1), np.uint8).repeat(3, 3)


def test_pictures_of_one_name_are_of_one_part():
    fields = surfaces(5, 0)
    assert groups_of(fields, ["a", "b", "a", "c", "b"], "free").tolist() == [0, 1, 0, 2, 1]


def test_the_same_surface_moved_and_in_another_light_is_one_part():
    one, other, third = surfaces(3, 1)
    moved = (np.roll(one, (5, -3), (0, 1)) * 0.7).astype(np.uint8)
    fields = np.stack([one, other, moved, third])
    assert groups_of(fields, ["1", "2", "3", "4"], "free").tolist() == [0, 1, 0, 2]
    fields[2] = one
    assert groups_of(fields, ["1", "2", "3", "4"], "aligned").tolist() == [0, 1, 0, 2]


def test_folds_keep_groups_whole_and_share_the_pictures():
    groups = np.repeat(np.arange(9), [6, 1, 1, 2, 3, 1, 4, 1, 1])
    fold_of = folds_of_groups(groups, 4, np.random.default_rng(0))
    assert all(len(set(fold_of[groups == group])) == 1 for group in range(9))
    assert sorted(np.bincount(fold_of).tolist()) == [4, 5, 5, 6]


def test_a_surface_seen_several_times_stands_in_one_fold():
    shown = surfaces(10, 2)
    fields = np.concatenate([shown, (np.roll(shown, 4, 1) * 0.8).astype(np.uint8)])
    fold_of = folds_of_good_parts(fields, "free", 5, np.random.default_rng(0))
    assert fold_of[:10].tolist() == fold_of[10:].tolist()
    assert np.bincount(fold_of).tolist() == [4] * 5


@pytest.mark.parametrize(("fields", "layout"), [(surfaces(12, 3), "free"), (surfaces(1, 4).repeat(12, 0), "free"),
                                                (surfaces(6, 5).repeat(2, 0), "aligned")])  # fmt: skip
def test_where_nothing_tells_which_pictures_show_one_part_folds_are_drawn(fields, layout):
    drawn = np.random.default_rng(7).permutation(12) % 5
    assert folds_of_good_parts(fields, layout, 5, np.random.default_rng(7)).tolist() == drawn.tolist()
