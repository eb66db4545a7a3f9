"""The discriminator judges, and cannot end a run whatever becomes of it."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from training.networks import adversary as room  # noqa: E402
from training.networks.adversary import LARGEST_SAY, SATURATED_STEPS, Adversary, PatchDiscriminator  # noqa: E402

WIDTHS = (8, 16)


@pytest.fixture
def adversary():
    torch.manual_seed(0)
    return Adversary(WIDTHS)


@pytest.fixture
def notices():
    return []


def pictures(value=0.0, count=4):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(count)) * 0.1 + value


def away_from_grey(made):
    """Stands for the loss of a repair."""
    return 100 * made.square().mean()


def look(adversary, made, notices):
    made = made.requires_grad_()
    return adversary.generator_loss(made, away_from_grey(made), notices.append)


def spoil(adversary, value):
    with torch.no_grad():
        for parameter in adversary.discriminator.parameters():
            parameter.fill_(value)


def test_it_learns_to_tell_real_from_made(adversary, notices):
    optimiser = torch.optim.Adam(adversary.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        loss = adversary.discriminator_loss(pictures(0.5), pictures(-0.5), notices.append)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(2, abs=0.5)
    assert losses[-1] < 0.5
    looks_made, looks_real = (look(adversary, pictures(v), notices).detach() for v in (-0.5, 0.5))
    assert float(looks_made) > float(looks_real)
    assert notices == []


def test_the_generators_loss_moves_the_pictures_and_not_the_discriminator(adversary, notices):
    made = pictures().requires_grad_()
    look(adversary, made, notices).backward()
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in adversary.parameters())
    assert all(parameter.requires_grad for parameter in adversary.parameters())


@pytest.mark.parametrize(("strength", "capped"), [(1e-3, True), (1e3, False)])
def test_its_pull_on_the_pictures_is_at_most_a_tenth_of_that_of_the_repair(adversary, notices, strength, capped):
    made = pictures().requires_grad_()
    repair = strength * away_from_grey(made)
    pull, most = (
        torch.autograd.grad(loss, made, retain_graph=True)[0].norm()
        for loss in (adversary.generator_loss(made, repair, notices.append), repair)
    )
    if capped:
        assert float(pull / most) == pytest.approx(LARGEST_SAY, rel=1e-3)
    else:
        free = torch.autograd.grad(-adversary.discriminator(made).mean(), made)[0].norm()
        assert float(pull) == pytest.approx(float(free), rel=1e-3)


def test_the_discriminators_loss_does_not_move_the_pictures(adversary, notices):
    made = pictures().requires_grad_()
    adversary.discriminator_loss(pictures(1.0), made, notices.append).backward()
    assert made.grad is None


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_discriminator_that_blew_up_starts_anew_and_its_say_falls_to_a_tenth(adversary, notices, value):
    spoil(adversary, value)
    # as in training: autocast remembers weights until it ends
    for expected in (0, 2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = adversary.discriminator_loss(pictures(1.0), pictures(), notices.append)
        assert float(loss.detach()) == pytest.approx(expected, abs=0.5)
    assert adversary.weight == pytest.approx(0.1)
    assert all(parameter.isfinite().all() for parameter in adversary.parameters())
    assert len(notices) == 1
    assert "starts anew" in notices[0]
    assert "0.1" in notices[0]


def test_a_discriminator_that_blew_up_gives_the_generator_no_loss(adversary, notices):
    spoil(adversary, math.nan)
    assert float(look(adversary, pictures(), notices)) == 0
    assert math.isfinite(float(look(adversary, pictures(), notices).detach()))
    assert len(notices) == 1


def test_a_discriminator_saturated_for_long_loses_nine_tenths_of_its_say(adversary, notices, monkeypatch):
    monkeypatch.setattr(room, "SATURATED_BELOW", 10.0)
    for step in range(SATURATED_STEPS + 1):
        assert adversary.weight == 1, step
        adversary.discriminator_loss(pictures(1.0, 1), pictures(0.0, 1), notices.append)
    assert adversary.weight == pytest.approx(0.1)
    assert len(notices) == 1
    assert f"saturated for {SATURATED_STEPS} steps" in notices[0]


def test_one_step_in_balance_starts_the_count_anew(adversary, notices):
    adversary.saturated.fill_(SATURATED_STEPS)
    adversary.discriminator_loss(pictures(), pictures(), notices.append)
    assert int(adversary.saturated) == 0
    assert adversary.weight == 1


def test_an_adversary_that_keeps_failing_rests_and_steps_still_work(adversary, notices):
    optimiser = torch.optim.Adam(adversary.parameters())
    for _ in range(5):
        spoil(adversary, math.nan)
        loss = adversary.discriminator_loss(pictures(), pictures(), notices.append)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert adversary.resting
    assert float(look(adversary, pictures(), notices)) == 0
    assert "no say any more" in notices[-1]
    assert len(notices) == 4


def test_three_widths_see_patches_of_70_pixels():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator((4, 4, 4))
    picture = torch.zeros(1, 3, 128, 128, requires_grad=True)
    logits = discriminator(picture)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = picture.grad.abs().sum((0, 1)) > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 70
