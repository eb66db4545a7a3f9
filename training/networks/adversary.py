"""A discriminator that judges reconstructions, and the guard that keeps it from spoiling a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

# hinge loss of a discriminator: 2 where it cannot tell, 0 where it always can, above 4 where it is worse than blind
SATURATED_BELOW, SATURATED_ABOVE = 0.05, 4.0
# steps in a row that count as destabilised
SATURATED_STEPS = 200
# spectral norm keeps logits near 1; beyond this something went wrong
LARGEST_LOGIT = 100.0
# a discriminator of a blurred reconstruction asks for detail anywhere: left free, it moved held-out normals away from
# their pictures more than the pictures drew them near
LARGEST_SAY = 0.1
# with so many failures its weight is next to nothing, and it rests
FAILURES_ALLOWED = 4


class PatchDiscriminator(nn.Module):
    """One logit per overlapping patch, 70 pixels wide for three widths: is it a picture of a real part?

    Isola et al. (2017), with spectral norm (Miyato et al., 2018) in place of batch norm.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((3, *widths)):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True)]
        layers += [spectral_norm(nn.Conv2d(widths[-1], widths[-1], 4, 1, 1)), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 4, 1, 1)))

    def forward(self, picture: Tensor) -> Tensor:
        logits: Tensor = self.layers(picture)
        return logits


class Adversary(nn.Module):
    """Hinge losses of a discriminator whose say falls to a tenth each time it destabilises.

    It is destabilised when it has been saturated for SATURATED_STEPS steps, or gives numbers that are not finite or far
    out of range; in the latter case it starts anew. Neither loss is ever infinite or NaN, so it cannot end a run.
    """

    # whole numbers: weights are averaged over steps, these must not be
    failures: Tensor
    saturated: Tensor

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self._widths = widths
        self.discriminator = PatchDiscriminator(widths)
        self.register_buffer("failures", torch.zeros((), dtype=torch.long))
        self.register_buffer("saturated", torch.zeros((), dtype=torch.long))

    @property
    def weight(self) -> float:
        return float(0.1 ** int(self.failures))

    @property
    def resting(self) -> bool:
        return int(self.failures) >= FAILURES_ALLOWED

    def discriminator_loss(self, real: Tensor, made: Tensor, notice: Callable[[str], None]) -> Tensor:
        """Hinge loss over real and made pictures (n, 3, s, s) in -1..1; zero while it rests or has to start anew."""
        nothing = torch.zeros((), device=real.device, requires_grad=True)
        if self.resting:
            return nothing
        logits = self.discriminator(torch.cat([real, made.detach()])).float()
        of_real, of_made = logits.chunk(2)
        loss = functional.relu(1 - of_real).mean() + functional.relu(1 + of_made).mean()
        if not _sound(loss):
            self._start_anew(notice)
            return nothing
        saturated = not SATURATED_BELOW <= float(loss.detach()) <= SATURATED_ABOVE
        self.saturated.copy_((self.saturated + 1) * saturated)
        if int(self.saturated) > SATURATED_STEPS:
            self._weaken(f"was saturated for {SATURATED_STEPS} steps", notice)
            self.saturated.zero_()
        return loss

    def generator_loss(self, made: Tensor, repair: Tensor, notice: Callable[[str], None]) -> Tensor:
        """How fake the made pictures look, times the adversary's weight; zero while it rests or has to start anew.

        repair: the loss it is added to, computed from `made`. Scaled down where its gradient at the pictures would
        exceed LARGEST_SAY of that of `repair`.
        """
        if self.resting:
            return torch.zeros((), device=made.device)
        # its own weights need no gradient here
        self.discriminator.requires_grad_(False)
        loss: Tensor = -self.discriminator(made).float().mean()
        self.discriminator.requires_grad_(True)
        if not _sound(loss):
            self._start_anew(notice)
            return torch.zeros((), device=made.device)
        own, others = (torch.autograd.grad(of, made, retain_graph=True)[0].float().norm() for of in (loss, repair))
        say: Tensor = (LARGEST_SAY * others / own.clamp(min=1e-12)).clamp(max=1.0)
        return loss * (say * self.weight)

    def _weaken(self, what: str, notice: Callable[[str], None]) -> None:
        self.failures.add_(1)
        say = "it has no say any more" if self.resting else f"its weight falls to {self.weight:.3g}"
        notice(f"the discriminator {what}: {say}; training goes on")

    def _start_anew(self, notice: Callable[[str], None]) -> None:
        self._weaken("gave numbers that are not finite or far out of range, and starts anew", notice)
        # into the same tensors: the optimiser holds them
        self.discriminator.load_state_dict(PatchDiscriminator(self._widths).state_dict())


def _sound(loss: Tensor) -> bool:
    """False for NaN too, which no comparison holds for."""
    return bool(loss.detach().abs() <= LARGEST_LOGIT)
