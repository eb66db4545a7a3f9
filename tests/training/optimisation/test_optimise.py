"""The stage loop: it resumes exactly, averages, stops early, survives too little memory and refuses nonsense."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from edge.core.errors import UsageError  # noqa: E402
from training.methods.base import Learner, Stage, network_range  # noqa: E402
from training.optimisation.stages import BatchSource, Training  # noqa: E402
from training.run.run_files import Resumable  # noqa: E402

SIDE = 16
FIRST = Stage("first", 6, 4, 1e-2, keep_best=True)
SECOND = Stage("second", 8, 4, 1e-2, preset=None)


class SmallLearner(Learner):
    """Two convolutions; the second stage adds an adversary, and every hook leaves a trace."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1)
        )
        self.judge = torch.nn.Conv2d(3, 1, 3)
        self.calls = []

    def prepare(self, stage):
        self.calls.append(f"prepare {stage.name}")

    def set_up(self, stage):
        self.calls.append(f"set up {stage.name}")

    def parameter_groups(self, stage):
        return [{"params": list(self.network.parameters()), "scale": 1.0}]

    def losses(self, stage, batch, share):
        error = (self.network(network_range(batch.corrupted)) - network_range(batch.clean)).square().mean()
        return {"total": error, "share": torch.tensor(share)}

    def adversary_parameters(self, stage):
        return list(self.judge.parameters()) if stage.name == "second" else []

    def adversary_losses(self, stage, batch, share):
        return {"total": self.judge(batch.clean).square().mean()}


def pictures(count=12):
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def training(learner, stages=(FIRST, SECOND), notices=None, progress=lambda *a: None):
    source = BatchSource(pictures(), None, 0.0, "free", 3, None)
    return Training(learner, stages, source, pictures(8), progress, (notices if notices is not None else []).append)


def weights(learner):
    return torch.cat([parameter.detach().flatten() for parameter in learner.parameters()])


class _PulledPlug(Exception):
    pass


@pytest.mark.parametrize("cut", [2, 6, 9])
def test_a_run_cut_off_anywhere_goes_on_to_the_same_weights_and_curves(cut, tmp_path):
    whole = training(SmallLearner())
    whole.run(lambda: None)

    clock = iter(range(0, 10_000, 100))
    keeper = Resumable(tmp_path, {"run": 1}, clock=lambda: float(next(clock)))
    first = training(SmallLearner())
    done = 0

    def save():
        nonlocal done
        done += 1
        keeper.save(first)
        if done == cut:
            raise _PulledPlug

    with pytest.raises(_PulledPlug):
        first.run(save)

    # another learner, with other weights: everything must come from the file
    second = training(SmallLearner())
    torch.nn.init.zeros_(second.learner.network[0].weight)
    assert Resumable(tmp_path, {"run": 1}).restore(second)
    second.run(lambda: None)
    assert torch.equal(weights(second.learner), weights(whole.learner))
    assert second.curves.values == whole.curves.values
    # a stage that goes on is set up again, but not prepared again
    assert second.learner.calls[0] == ("set up first" if cut < 6 else "set up second" if cut > 6 else "set up first")


def test_the_state_of_another_run_is_not_used(tmp_path):
    clock = iter(range(0, 10_000, 100))
    keeper = Resumable(tmp_path, {"seed": 1}, clock=lambda: float(next(clock)))
    run = training(SmallLearner())
    keeper.save(run)
    assert not Resumable(tmp_path, {"seed": 2}).restore(run)


def test_a_damaged_state_starts_the_run_anew(tmp_path):
    (tmp_path / "resume.pt").write_bytes(b"half a file")
    assert not Resumable(tmp_path, {}).restore(training(SmallLearner()))


def test_losses_of_both_sides_and_validation_are_recorded():
    run = training(SmallLearner())
    run.run(lambda: None)
    assert set(run.curves.values["first"]) == {"total", "share", "validation"}
    assert set(run.curves.values["second"]) == {"total", "share", "adversary total"}
    assert [step for step, _ in run.curves.values["first"]["validation"]] == [1, 2, 3, 4, 5, 6]


def test_the_weights_with_the_lowest_validation_loss_are_kept():
    class Worsening(SmallLearner):
        seen = 0

        def validation_loss(self, stage, batch):
            self.seen += 1
            if self.seen == 2:
                self.kept = weights(self).clone()
            return torch.tensor(0.1 if self.seen == 2 else 1.0)

    learner = Worsening()
    training(learner, (FIRST,)).run(lambda: None)
    assert torch.equal(weights(learner), learner.kept)


def test_a_stage_ends_when_validation_stands_still():
    class Standing(SmallLearner):
        def validation_loss(self, stage, batch):
            return torch.tensor(1.0)

    notices = []
    run = training(Standing(), (replace(FIRST, steps=40),), notices)
    run.run(lambda: None)
    # the first check is the best and four more bring nothing, but no stage ends before 70 % of its steps
    assert run.curves.values["first"]["total"][-1][0] == 28
    assert "ended after 28 of 40 steps" in notices[0]


def test_the_average_is_handed_on_and_not_the_last_step():
    class Watching(SmallLearner):
        def losses(self, stage, batch, share):
            self.last = weights(self)
            return super().losses(stage, batch, share)

    averaged, plain = Watching(), Watching()
    training(averaged, (replace(SECOND, averaged=True),)).run(lambda: None)
    training(plain, (replace(SECOND, averaged=False),)).run(lambda: None)
    assert torch.equal(averaged.last, plain.last)
    assert not torch.equal(weights(averaged), weights(plain))


def test_too_little_memory_halves_the_batch_once_and_says_so():
    class Hungry(SmallLearner):
        def losses(self, stage, batch, share):
            if len(batch.clean) > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().losses(stage, batch, share)

    notices = []
    training(Hungry(), (SECOND,), notices).run(lambda: None)
    assert notices == ["out of memory: going on with 2 pictures a step instead of 4"]


def test_too_little_memory_for_half_the_batch_is_an_error_with_a_way_out():
    class Starving(SmallLearner):
        def losses(self, stage, batch, share):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(UsageError, match="out of memory at half the batch of 4") as caught:
        training(Starving(), (SECOND,)).run(lambda: None)
    assert "smaller --variant" in caught.value.fix


def test_other_errors_of_torch_are_not_taken_for_lack_of_memory():
    class Wrong(SmallLearner):
        def losses(self, stage, batch, share):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        training(Wrong(), (SECOND,)).run(lambda: None)


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step():
    class Exploding(SmallLearner):
        def losses(self, stage, batch, share):
            return {"total": super().losses(stage, batch, share)["total"] * (float("nan") if share > 0.3 else 1)}

    with pytest.raises(UsageError, match=r"the loss became nan at step 3 of 8 of second"):
        training(Exploding(), (SECOND,)).run(lambda: None)


class NowAndThen(torch.autograd.Function):
    """A value unchanged, and a gradient of NaN where asked for."""

    @staticmethod
    def forward(context, value, spoilt):
        context.spoilt = spoilt
        return value.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * (float("nan") if context.spoilt else 1.0), None


def with_gradients(spoilt):
    class Spoilt(SmallLearner):
        step = 0

        def losses(self, stage, batch, share):
            losses = super().losses(stage, batch, share)
            losses["total"] = NowAndThen.apply(losses["total"], spoilt(self.step))
            self.step += 1
            return losses

    return Spoilt()


def test_a_gradient_that_is_not_finite_spoils_no_weight():
    learner = with_gradients(lambda step: step in (2, 3))
    training(learner, (SECOND,)).run(lambda: None)
    assert torch.isfinite(weights(learner)).all()


def test_gradients_that_are_never_finite_end_the_run():
    with pytest.raises(UsageError, match="the gradient was not finite 11 steps in a row"):
        training(with_gradients(lambda step: True), (replace(SECOND, steps=40),)).run(lambda: None)


def test_progress_counts_over_all_stages_and_names_the_losses():
    told = []
    training(SmallLearner(), progress=lambda *a: told.append(a)).run(lambda: None)
    assert [done for done, _, _ in told] == list(range(1, 15))
    assert {total for _, total, _ in told} == {14}
    assert told[0][2].startswith("first  total ")
    assert told[-1][2].startswith("second  adversary total ")


def test_parts_without_a_layout_are_mirrored():
    source = BatchSource(pictures(1), None, 0.0, "free", 0, None)
    upright = BatchSource(pictures(1), None, 0.0, "aligned", 0, None)
    ramp = torch.linspace(0, 1, SIDE).expand(1, 3, SIDE, SIDE).clone()
    slopes = [float((source.vary(ramp)[..., -4:] - source.vary(ramp)[..., :4]).mean()) for _ in range(12)]
    assert min(slopes) < 0 < max(slopes)
    assert all(float((p := upright.vary(ramp))[..., -4:].mean() - p[..., :4].mean()) > 0 for _ in range(12))


def test_parts_with_a_free_layout_may_have_defects_of_their_own():
    stage = replace(FIRST, preset="reconstruction", free_preset="surface")
    drawn = {}
    for layout in ("aligned", "free"):
        source = BatchSource(pictures(4), None, 0.0, layout, 0, None)
        source.draw(stage, 4)
        drawn[layout] = set(source.state()["generators"])
    assert drawn == {"aligned": {"reconstruction"}, "free": {"surface"}}
    assert FIRST.preset_for("free") == FIRST.preset


THIRD = Stage("third", 4, 4, 1e-2)


class Choosing(SmallLearner):
    """Leaves `second` out from the start, and calls `third` off when `first` has ended, if told to."""

    def __init__(self, calls_off=False):
        super().__init__()
        self.calls_off = calls_off
        self.done = set()

    def applies(self, stage):
        return stage.name != "second" and not (stage.name == "third" and self.calls_off and "first" in self.done)

    def finish(self, stage):
        self.calls.append(f"finish {stage.name}")
        self.done.add(stage.name)

    def get_extra_state(self):
        return {"done": sorted(self.done)}

    def set_extra_state(self, state):
        self.done = set(state["done"])


def test_a_stage_that_does_not_apply_is_left_out_and_not_counted():
    told = []
    run = training(Choosing(), (FIRST, SECOND, THIRD), progress=lambda *a: told.append(a[:2]))
    run.run(lambda: None)
    assert told == [(step, 10) for step in range(1, 11)]
    assert run.steps == 10
    assert run.learner.calls == [
        "prepare first", "set up first", "finish first", "prepare third", "set up third", "finish third"
    ]  # fmt: skip
    assert set(run.curves.values) == {"first", "third"}


def test_a_stage_can_call_off_what_was_to_come():
    told = []
    run = training(Choosing(calls_off=True), (FIRST, SECOND, THIRD), progress=lambda *a: told.append(a[:2]))
    assert run.steps == 10
    run.run(lambda: None)
    assert told[-1] == (6, 10)
    assert run.steps == 6


def test_a_run_that_goes_on_knows_what_was_left_out(tmp_path):
    whole = training(Choosing(), (FIRST, SECOND, THIRD))
    whole.run(lambda: None)
    first = training(Choosing(), (FIRST, SECOND, THIRD))
    keeper = Resumable(tmp_path, {}, clock=iter(map(float, range(0, 10_000, 100))).__next__)
    steps = 0

    def save():
        nonlocal steps
        steps += 1
        keeper.save(first)
        if steps == 8:
            raise _PulledPlug

    with pytest.raises(_PulledPlug):
        first.run(save)
    told = []
    second = training(Choosing(), (FIRST, SECOND, THIRD), progress=lambda *a: told.append(a[:2]))
    assert Resumable(tmp_path, {}).restore(second)
    second.run(lambda: None)
    assert told == [(9, 10), (10, 10)]
    assert torch.equal(weights(second.learner), weights(whole.learner))
