"""Variation of pictures, and of their labels with them."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from training.data.augmentation import vary, vary_labelled  # noqa: E402


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_labels_move_with_their_pictures_and_are_not_relit():
    bright = torch.full((4, 3, 40, 40), 0.2)
    bright[:, :, 12:24, 16:30] = 0.6
    labels = (bright[:, :1] > 0.5).float()
    moved, theirs = vary_labelled(bright, labels, seeded(), turn_degrees=20, shift=0.1, bend=0.05)
    assert set(theirs.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(theirs, labels)
    # the border itself lies between pixels
    assert ((moved[:, :1] > 0.4) != (theirs > 0)).float().mean() < 0.01


def test_where_a_picture_was_extended_nothing_is_labelled():
    labels = torch.ones(8, 1, 40, 40)
    _, theirs = vary_labelled(torch.rand(8, 3, 40, 40, generator=seeded()), labels, seeded(), shift=0.2)
    assert 0.5 < theirs.mean() < 0.999


def test_pictures_vary_alike_with_and_without_labels():
    pictures = torch.rand(3, 3, 24, 24, generator=seeded(1))
    assert torch.equal(
        vary_labelled(pictures, pictures[:, :1], seeded(), bend=0.04)[0], vary(pictures, seeded(), bend=0.04)
    )
