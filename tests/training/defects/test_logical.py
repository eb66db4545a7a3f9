"""Logical anomalies: valid pieces where they do not belong; and what good parts are found to be made of."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from tests.training.data.aligned_part import BODY, LABEL, SIDE, part, parts  # noqa: E402
from training.defects.logical import LOGICAL_OPERATORS, LogicalDefects, filled  # noqa: E402
from training.defects.logical_components import anatomy_of, find_kinds, mean_silhouette  # noqa: E402
from training.defects.scene import Batch, Scene  # noqa: E402


def random(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def anatomy():
    return anatomy_of(parts(16), random())


def box(place):
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, place[0], place[1]] = 1
    return mask


def overlap(masks, wanted):
    """Largest intersection over union of any mask with one place."""
    both, either = (masks * wanted).sum((1, 2, 3)), torch.maximum(masks, wanted).sum((1, 2, 3))
    return float((both / either).max())


@pytest.mark.parametrize("place", [BODY, LABEL], ids=["body", "label"])
def test_a_component_is_found_whole(anatomy, place):
    best = overlap(anatomy.components.masks.float(), box(place))
    assert best > 0.8


def test_the_two_kinds_are_told_apart(anatomy):
    assert len(anatomy.kinds) == 2
    kinds = anatomy.kind_of(parts(6, first=40)).tolist()
    assert kinds == [kinds[0], 1 - kinds[0]] * 3


def test_parts_of_one_kind_are_one_kind():
    assert find_kinds(parts(16, kind=0)) is None


def test_the_silhouette_is_high_for_what_lies_apart_and_zero_for_a_cut_through_one_heap():
    apart = torch.tensor([0.0, 0.1, 0.2, 9.0, 9.1, 9.2])
    distances = (apart[:, None] - apart[None]).abs().numpy()
    assert mean_silhouette(distances, torch.tensor([0, 0, 0, 1, 1, 1]).numpy()) > 0.95
    assert mean_silhouette(distances, torch.tensor([0, 1, 0, 1, 0, 1]).numpy()) < 0.0


def drawn_by(name, defects, pictures, kinds, index=0):
    """What one operator makes of one of these pictures: (altered, mask), or None."""
    _, draw = LOGICAL_OPERATORS[name]
    return draw(defects, Scene(Batch(pictures, defects.rng, kinds=kinds), torch.tensor([index])))


def test_every_operator_alters_what_its_mask_says_and_little_else(anatomy, subtests):
    for name in LOGICAL_OPERATORS:
        with subtests.test(name=name):
            batch = parts(6, first=20)
            kinds = anatomy.kind_of(batch)
            defects, drawn = LogicalDefects(anatomy, random(1)), []
            for attempt in range(60):
                index = attempt % len(batch)
                altered = drawn_by(name, defects, batch, kinds, index)
                if altered is not None and float(altered[1].mean()) > 5e-4:
                    drawn.append((batch[index], *altered))
            assert len(drawn) >= 10
            for before, after, mask in drawn:
                assert after.shape == before.shape
                assert torch.isfinite(after).all()
                assert -1e-3 <= float(after.min()) <= float(after.max()) <= 1 + 1e-3
                change = (after - before).abs().amax(0, keepdim=True)
                # a mismatch marks the smaller side of a contradiction, which may not be the side that was pasted
                if name != "mismatch":
                    assert float(change[mask > 0].mean()) > 4 * float(change[mask == 0].mean())


def test_a_label_of_the_other_kind_is_marked_where_it_lies(anatomy):
    host, donor = part(50, kind=0), part(51, kind=1)
    defects = LogicalDefects(anatomy, random())
    defects.region = lambda: box(LABEL)
    altered, mask = drawn_by("mismatch", defects, torch.stack([host, donor]), torch.tensor([0, 1]))
    assert torch.allclose(altered[:, 48, 46], donor[:, 48, 46], atol=1e-5)
    assert overlap(mask[None], box(LABEL)) > 0.8


def test_the_body_of_the_other_kind_marks_the_smaller_side_the_label(anatomy):
    host, donor = part(50, kind=0), part(51, kind=1)
    defects = LogicalDefects(anatomy, random())
    defects.region = lambda: box(BODY)
    _, mask = drawn_by("mismatch", defects, torch.stack([host, donor]), torch.tensor([0, 1]))
    assert overlap(mask[None], box(LABEL)) > 0.8


def test_a_harmless_graft_never_mixes_kinds(anatomy):
    pictures = parts(6, first=60)
    grafted = LogicalDefects(anatomy, random(2)).harmless(pictures)
    for before, after in zip(pictures, grafted, strict=True):
        assert float((after - before).abs().mean()) < 0.02


def test_a_hole_is_filled_with_what_surrounds_it():
    picture = torch.zeros(3, SIDE, SIDE)
    picture[:, :, : SIDE // 2] = 0.2
    picture[:, :, SIDE // 2 :] = 0.8
    hole = torch.zeros(1, SIDE, SIDE)
    hole[:, 20:30, 4:14] = 1
    hole[:, 20:30, 50:60] = 1
    result = filled(picture * (1 - hole), hole)
    assert torch.allclose(result[:, 25, 9], torch.tensor(0.2), atol=0.05)
    assert torch.allclose(result[:, 25, 55], torch.tensor(0.8), atol=0.05)
    assert torch.equal(result[:, :20], picture[:, :20])


def test_the_same_seed_draws_the_same_anomalies(anatomy):
    first, second = (LogicalDefects(anatomy, random(7))(parts(4)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
