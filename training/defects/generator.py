"""Artificial defects: a normal batch in, a defective batch and its exact masks out, on the training device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.defects.masks import altered_region
from training.defects.operators import OPERATORS
from training.defects.presets import DefectPreset
from training.defects.random_source import RandomSource
from training.defects.scene import Bank, Batch, Scene, grouped
from training.threads import one_thread

# how often to try for a defect of a fitting size
_ATTEMPTS = 12
# what remains between two tones is about as wide as a camera's own blur
_SHARPENING = 4.0
# temporary copies of more pictures would fill caches, and a small machine's memory
AT_ONCE = 32


@dataclass(frozen=True)
class Drawn:
    """Defective pictures (n, 3, h, w), masks (n, 1, h, w), and the operator of each; "" where a picture is clean."""

    pictures: Tensor
    masks: Tensor
    operators: list[str]


class DefectGenerator:
    """Draw defects of one preset.

    Images are (n, 3, h, w) float32 in 0..1; masks are (n, 1, h, w) float32, 1 where the picture was altered
    (masks.altered_region). `random` holds the whole state: a run that restores it draws the same defects. Recipes:
    docs/models/methods.md.
    """

    def __init__(self, preset: DefectPreset, seed: int, device: str = "cpu", textures: Tensor | None = None) -> None:
        """textures: (t, 3, h, w) in 0..1, used instead of procedural ones."""
        self.preset = preset
        self.random = torch.Generator(device="cpu").manual_seed(seed)
        self.device = torch.device(device)
        self._textures = None if textures is None else textures.to(self.device)
        self._bank: Bank | None = None

    def set_bank(self, pictures: Tensor, masks: Tensor) -> None:
        """Real defects for `transplant`: pictures (b, 3, h, w) in 0..1, masks (b, 1, h, w); none empties the bank."""
        self._bank = Bank(pictures.to(self.device), masks.to(self.device)) if len(pictures) else None

    def __call__(self, images: Tensor, roi: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (defective images, masks); `roi` (1, 1, h, w) keeps every defect inside it."""
        drawn = self.draw(images, roi)
        return drawn.pictures, drawn.masks

    def draw(self, images: Tensor, roi: Tensor | None = None) -> Drawn:
        """Defects for a batch; a defect that is too small, too large or invisible is drawn again, at last dropped."""
        parts = images.tensor_split(max(1, -(-images.shape[0] // AT_ONCE)))
        with torch.no_grad(), one_thread():
            drawn = [self._draw(part, roi) for part in parts]
        return Drawn(
            torch.cat([part.pictures for part in drawn]),
            torch.cat([part.masks for part in drawn]),
            [name for part in drawn for name in part.operators],
        )

    def _draw(self, images: Tensor, roi: Tensor | None) -> Drawn:
        pictures, masks = images.clone(), torch.zeros_like(images[:, :1])
        operators = [""] * images.shape[0]
        if self._bank is not None and self._bank.pictures.shape[2:] != images.shape[2:]:
            sizes = "the bank's pictures are {}x{} px, these are {}x{} px"
            raise ValueError(sizes.format(*self._bank.pictures.shape[2:], *images.shape[2:]))
        batch = Batch(images, RandomSource(self.random, images.device), roi, self._textures, self._bank)
        area = float(images.shape[2] * images.shape[3] if roi is None else (roi > 0).sum())
        wanted = torch.rand(images.shape[0], generator=self.random) >= self.preset.clean_share
        pending = wanted.nonzero().flatten().tolist()
        for _ in range(_ATTEMPTS):
            if not pending:
                break
            members = torch.tensor(pending, device=images.device)
            scene = Scene(batch, members)
            altered, names = self._alter(scene, roi)
            visible, region = altered_region((altered - scene.images).abs_().amax(1, keepdim=True))
            # what can be seen decides whether a defect is large enough, and not the gaps between
            shares = [count / area for count in visible.sum((1, 2, 3)).tolist()]
            fits = [self.preset.smallest <= share <= self.preset.largest for share in shares]
            kept = torch.tensor(
                [place for place, fit in enumerate(fits) if fit], device=images.device, dtype=torch.long
            )
            pictures[members[kept]], masks[members[kept]] = altered[kept], region[kept].to(masks.dtype)
            for picture, name, fit in zip(pending, names, fits, strict=True):
                operators[picture] = name if fit else ""
            pending = [picture for picture, fit in zip(pending, fits, strict=True) if not fit]
        return Drawn(pictures, masks, operators)

    @staticmethod
    def _in_two_tones(scene: Scene, altered: Tensor) -> Tensor:
        """What is altered of pictures of two tones has two tones too: soft borders would give every defect away."""
        assert scene.batch.tones is not None
        dark, bright = (tone.index_select(0, scene.members) for tone in scene.batch.tones)
        step = ((altered - (dark + bright) / 2) * (_SHARPENING / (bright - dark).clamp(min=0.1))).add_(0.5).clamp_(0, 1)
        here = ((altered - scene.images).abs().amax(1, keepdim=True) > 1e-3) & (bright > dark)
        return torch.where(here, torch.lerp(dark, bright, step), altered)

    def _alter(self, scene: Scene, roi: Tensor | None) -> tuple[Tensor, list[str]]:
        """Every picture of the scene altered by one operator, and the operators' names."""
        weights = dict(self.preset.operators)
        if self._bank is None:
            weights.pop("transplant", None)
        if not any(weights.values()):
            return scene.images, [""] * scene.count
        names = list(weights)
        choices = scene.rng.choose(scene.count, list(weights.values()))
        altered = torch.empty_like(scene.images)
        for position, members in grouped(choices).items():
            index = torch.tensor(members, device=altered.device)
            altered.index_copy_(0, index, OPERATORS[names[position]](scene.take(members)))
        altered.clamp_(0, 1)
        if scene.batch.grey is not None:
            # a camera without colour sees defects without colour
            grey = scene.batch.grey.index_select(0, scene.members)
            altered = torch.where(grey, altered.mean(1, keepdim=True), altered)
        if scene.batch.tones is not None:
            altered = self._in_two_tones(scene, altered)
        if roi is not None:
            altered = torch.where(roi > 0, altered, scene.images)
        return altered, [names[position] for position in choices]
