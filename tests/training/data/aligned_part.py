"""A small aligned part in two kinds, for tests: a body and, far from it, a label of the colour that goes with it."""

import torch

SIDE = 64
BODY, LABEL = (slice(8, 24), slice(8, 24)), (slice(44, 54), slice(36, 58))
BODY_COLOURS = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.3, 0.9]])
LABEL_COLOURS = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.8, 0.7]])


def part(seed: int, kind: int | None = None, label: int | None = None, side: int = SIDE) -> torch.Tensor:
    """(3, side, side) in 0..1; the kind is seed modulo two, and the label that of the kind unless given."""
    kind = seed % 2 if kind is None else kind
    label = kind if label is None else label
    random = torch.Generator().manual_seed(seed)
    picture = torch.full((3, SIDE, SIDE), 0.45) + torch.randn(3, 1, 1, generator=random) * 0.01
    for (rows, columns), colour in ((BODY, BODY_COLOURS[kind]), (LABEL, LABEL_COLOURS[label])):
        picture[:, rows, columns] = colour[:, None, None]
    picture[:, 30:33, 4:60] = 0.15
    picture = picture + torch.randn(3, SIDE, SIDE, generator=random) * 0.01
    if side != SIDE:
        picture = torch.nn.functional.interpolate(picture[None], (side, side), mode="nearest")[0]
    return picture.clamp(0, 1)


def parts(count: int, first: int = 0, **fixed: int) -> torch.Tensor:
    return torch.stack([part(seed, **fixed) for seed in range(first, first + count)])
