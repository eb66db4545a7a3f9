"""The stage loop: the only place where torch steps. Resumable, and the same for every method and device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from edge.core.errors import UsageError
from training.data.augmentation import cropped, mirrored, quarter_turned, relit, vary, with_sensor_noise
from training.defects import DefectGenerator, training_preset
from training.methods.base import Batch, Layout, Learner, Stage
from training.optimisation.arithmetic import Arithmetic
from training.optimisation.optimiser import Optimiser, State
from training.optimisation.time_budget import TimeBudget
from training.threads import one_thread

_AVERAGE_DECAY = 0.99
# validation per stage, and how many in a row may bring nothing before the stage ends
_CHECKS, _PATIENCE = 10, 4
# and from which share of its steps on: the learning rate must have fallen, or the best weights are still to come
_MAY_END = 0.7
_VALIDATION_PICTURES = 32
# points kept of each loss curve of a stage
_CURVE_POINTS = 500
# steps between two looks at the time that is left
_LOOK_EVERY = 5

# done steps, all steps, what to show of the stage and its losses
Progress = Callable[[int, int, str], None]


@dataclass
class Curves:
    """What was measured on the way: stage name → loss name → [[step, value], ...]; `validation` is one of them."""

    values: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)

    def add(self, stage: str, name: str, step: int, value: float) -> None:
        self.values.setdefault(stage, {}).setdefault(name, []).append([step, float(f"{value:.6g}")])


class BatchSource:
    """Batches of varied normals with artificial defects. All randomness is in two generators, kept in the state.

    crop: side of the squares that batches are cut to; None: fields stay whole, of any aspect. native: they are turned
    by quarters and mirrored, and no pixel is interpolated.
    """

    def __init__(
        self, normals: Tensor, roi: Tensor | None, bend: float, layout: Layout, seed: int, textures: Tensor | None,
        crop: int | None = None, native: bool = False,
    ) -> None:  # fmt: skip
        self.random = torch.Generator(device="cpu").manual_seed(seed)
        self.normals, self.roi = normals, roi
        self.crop = crop
        self._bend, self.layout, self._native = bend, layout, native
        self._seed, self._textures = seed, textures
        self._generators: dict[str, DefectGenerator] = {}
        self._bank: tuple[Tensor, Tensor] | None = None

    def draw(self, stage: Stage, count: int) -> Batch:
        """`count` normals, varied; with the stage's artificial defects and sensor noise."""
        indexes = torch.randint(self.normals.shape[0], (count,), generator=self.random)
        with one_thread():
            return self.defective(self.vary(self.cut(self.normals[indexes.to(self.normals.device)])), stage)

    def cut(self, pictures: Tensor) -> Tensor:
        """Squares of the side that batches have, where they are cut."""
        return cropped(pictures, self.crop, self.random)

    def vary(self, pictures: Tensor) -> Tensor:
        """Natural variation; parts without a fixed layout are mirrored as well."""
        if self._native:
            return relit(quarter_turned(mirrored(pictures, self.random), self.random), self.random)
        if self.layout == "free":
            pictures = mirrored(pictures, self.random)
        return vary(pictures, self.random, bend=self._bend)

    def defective(self, clean: Tensor, stage: Stage) -> Batch:
        """A batch of these pictures with the stage's artificial defects."""
        corrupted, masks = clean, torch.zeros_like(clean[:, :1])
        preset = stage.preset_for(self.layout)
        if preset is not None:
            corrupted, masks = self._generator(preset)(clean, self.roi)
        return Batch(with_sensor_noise(corrupted, self.random), clean, masks)

    def set_bank(self, pictures: Tensor, masks: Tensor) -> None:
        """Real defects for the generators to paste."""
        self._bank = (pictures, masks)
        for generator in self._generators.values():
            generator.set_bank(pictures, masks)

    def apart(self, seed: int) -> BatchSource:
        """The same batches from random numbers of their own."""
        other = BatchSource(
            self.normals, self.roi, self._bend, self.layout, seed, self._textures, self.crop, self._native
        )
        if self._bank is not None:
            other.set_bank(*self._bank)
        return other

    def _generator(self, preset: str) -> DefectGenerator:
        if preset not in self._generators:
            device = self.normals.device.type
            generator = DefectGenerator(training_preset(preset), self._seed, device, textures=self._textures)
            if self._bank is not None:
                generator.set_bank(*self._bank)
            self._generators[preset] = generator
        return self._generators[preset]

    def state(self) -> State:
        generators = {name: made.random.get_state() for name, made in self._generators.items()}
        return {"random": self.random.get_state(), "generators": generators}

    def load_state(self, state: State) -> None:
        self.random.set_state(state["random"])
        for name, random in state["generators"].items():
            self._generator(name).random.set_state(random)


class Training:
    """One run through a learner's stages, from wherever its state says.

    arithmetic: a state that is loaded brings its own. budget: stages get fewer steps when the time is short.
    """

    def __init__(
        self,
        learner: Learner,
        stages: tuple[Stage, ...],
        batches: BatchSource,
        held_out: Tensor,
        progress: Progress,
        notice: Callable[[str], None],
        arithmetic: Arithmetic | None = None,
        budget: TimeBudget | None = None,
    ) -> None:
        self.learner, self.stages, self.batches = learner, stages, batches
        self.curves = Curves()
        self.arithmetic = arithmetic or Arithmetic()
        self._budget = budget
        # steps of each stage: its own, or what there is time for
        self._planned = [stage.steps for stage in stages]
        self._held_out = held_out
        self._progress, self._notice = progress, notice
        self._halved = False
        self._stage_index, self._step = 0, 0
        self._left_out: list[int] = []
        self._tools: _StageTools | None = None

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages that ran, run or are still to come."""
        return sum(steps for index, steps in enumerate(self._planned) if self._takes_place(index))

    def run(self, save: Callable[[], None]) -> None:
        """Train to the end of the last stage; calls `save` after each step, which decides itself when to write.

        Raises UsageError when a loss is not finite, or when half the batch does not fit into memory either.
        """
        self.learner.to(memory_format=self.arithmetic.memory_format)  # type: ignore[call-overload]
        while self._stage_index < len(self.stages):
            stage = self.stages[self._stage_index]
            if self._tools is None and not self.learner.applies(stage):
                self._left_out.append(self._stage_index)
                self._stage_index += 1
                continue
            if self._tools is None:
                self.learner.prepare(stage)
                self._tools = _StageTools(self.learner, stage, self.arithmetic)
            self._run_stage(stage, self._tools, save)
            self._tools.hand_on(stage)
            self._tools = None
            self.learner.finish(stage)
            self._stage_index, self._step = self._stage_index + 1, 0

    def _takes_place(self, index: int) -> bool:
        if index <= self._stage_index:
            return index not in self._left_out
        return self.learner.applies(self.stages[index])

    def state(self) -> State:
        """Everything needed to go on, as tensors, numbers and strings."""
        return {
            "stage": self._stage_index,
            "step": self._step,
            "left_out": self._left_out,
            "halved": self._halved,
            "arithmetic": asdict(self.arithmetic),
            "planned": self._planned,
            "spent_s": None if self._budget is None else self._budget.spent_s,
            "learner": self.learner.state_dict(),
            "tools": None if self._tools is None else self._tools.state(),
            "batches": self.batches.state(),
            "torch": torch.get_rng_state(),
            "curves": self.curves.values,
        }

    def load_state(self, state: State) -> None:
        self._stage_index, self._step, self._halved = state["stage"], state["step"], state["halved"]
        self._left_out = state["left_out"]
        self.arithmetic, self._planned = Arithmetic(**state["arithmetic"]), state["planned"]
        if self._budget is not None and state["spent_s"] is not None:
            self._budget.spend(state["spent_s"])
        self.learner.load_state_dict(state["learner"])
        if state["tools"] is not None:
            self._tools = _StageTools(self.learner, self.stages[self._stage_index], self.arithmetic)
            self._tools.load_state(state["tools"])
        self.batches.load_state(state["batches"])
        torch.set_rng_state(state["torch"])
        self.curves.values = state["curves"]

    def _run_stage(self, stage: Stage, tools: _StageTools, save: Callable[[], None]) -> None:
        learner, index = self.learner, self._stage_index
        learner.train()
        self._plan()
        while self._step < self._planned[index]:
            started = 0.0 if self._budget is None else self._budget.spent_s
            losses = self._try_step(stage, tools)
            self._step += 1
            if self._budget is not None:
                self._budget.note(stage, self._budget.spent_s - started)
                if self._step % _LOOK_EVERY == 0:
                    self._plan()
            ends = self._step == self._planned[index]
            if self._step % max(1, self._planned[index] // _CURVE_POINTS) == 0 or ends:
                for name, value in losses.items():
                    self.curves.add(stage.name, name, self._step, value)
            shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            before = sum(self._planned[other] for other in range(index) if self._takes_place(other))
            self._progress(before + self._step, self.steps, f"{stage.name}  {shown}")
            if stage.keep_best and (self._step % max(1, self._planned[index] // _CHECKS) == 0 or ends):
                validation = self._validation_loss(stage, tools)
                self.curves.add(stage.name, "validation", self._step, validation)
                if tools.enough(validation) and self._step >= _MAY_END * self._planned[index]:
                    self._notice(
                        f"{stage.name} ended after {self._step} of {self._planned[index]} steps: validation stood still"
                    )
                    break
            save()

    def _plan(self) -> None:
        """Give the stage that runs, and those that come, as many steps as there is time for."""
        if self._budget is None:
            return
        coming = [index for index in range(self._stage_index, len(self.stages)) if self._takes_place(index)]
        share = self._budget.share_of([self.stages[index] for index in coming], self._step)
        for index in coming:
            self._planned[index] = max(1, round(share * self.stages[index].steps))
        self._planned[self._stage_index] = max(self._step, self._planned[self._stage_index])

    def _try_step(self, stage: Stage, tools: _StageTools) -> dict[str, float]:
        while True:
            try:
                return self._one_step(stage, tools)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if self._halved:
                    raise UsageError(
                        f"out of memory at half the batch of {stage.batch} pictures",
                        fix="use a smaller --variant, or a machine with more memory",
                    ) from error
                self._halved = True
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                self._notice(
                    f"out of memory: going on with {self._batch(stage)} pictures a step instead of {stage.batch}"
                )

    def _batch(self, stage: Stage) -> int:
        return max(2, stage.batch // 2) if self._halved else stage.batch

    def _one_step(self, stage: Stage, tools: _StageTools) -> dict[str, float]:
        batch = self.learner.next_batch(stage, lambda: self.batches.draw(stage, self._batch(stage)))
        batch = batch.laid_out(self.arithmetic.memory_format)
        planned = self._planned[self._stage_index]
        share = self._step / planned
        device = batch.clean.device.type
        shown: dict[str, float] = {}
        if tools.adversary is not None:
            with self.arithmetic.autocast(device):
                losses = self.learner.adversary_losses(stage, batch, share)
            tools.adversary.step(losses["total"], share)
            shown |= {f"adversary {name}": float(value.detach()) for name, value in losses.items()}
        with self.arithmetic.autocast(device):
            losses = self.learner.losses(stage, batch, share)
        shown |= {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(shown["total"]):
            raise UsageError(
                f"the loss became {shown['total']} at step {self._step} of {planned} of {stage.name}",
                fix="run again with another --seed; if it recurs, look for damaged pictures in the data",
            )
        tools.main.step(losses["total"], share)
        tools.update_average()
        return shown

    def _validation_loss(self, stage: Stage, tools: _StageTools) -> float:
        """Of the averaged weights, on the same held-out pictures with the same artificial defects every time."""
        own = self.batches
        source = BatchSource(self._held_out, own.roi, 0.0, own.layout, 1, None, own.crop)
        chosen = torch.arange(_VALIDATION_PICTURES) % self._held_out.shape[0]
        with one_thread():
            batch = source.defective(source.cut(self._held_out[chosen.to(self._held_out.device)]), stage)
        batch = batch.laid_out(self.arithmetic.memory_format)
        self.learner.eval()
        with tools.averaged_weights(), torch.no_grad(), self.arithmetic.autocast(batch.clean.device.type):
            value = float(self.learner.validation_loss(stage, batch))
        self.learner.train()
        return value


class _StageTools:
    """Optimisers, weight average and best weights of the stage that runs."""

    def __init__(self, learner: Learner, stage: Stage, arithmetic: Arithmetic) -> None:
        learner.set_up(stage)
        self._learner = learner
        scaled = arithmetic.needs_scaling
        self.main = Optimiser(learner.parameter_groups(stage), stage, scaled=scaled)
        adversary = learner.adversary_parameters(stage)
        # the usual betas of adversaries: a long memory of gradients makes the two chase each other
        self.adversary = Optimiser([{"params": adversary}], stage, (0.5, 0.999), scaled) if adversary else None
        self._average = _weights(learner) if stage.averaged else None
        self._updates = 0
        self._best: dict[str, Tensor] | None = None
        self._best_loss = math.inf
        self._checks_without = 0

    @torch.no_grad()
    def update_average(self) -> None:
        if self._average is None:
            return
        self._updates += 1
        # at first the average must forget the weights it started from
        decay = min(_AVERAGE_DECAY, (1 + self._updates) / (10 + self._updates))
        live = _weights(self._learner, copy=False)
        torch._foreach_lerp_(list(self._average.values()), [live[name] for name in self._average], 1 - decay)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The learner with its averaged weights, for a look."""
        if self._average is None:
            yield
            return
        live = _weights(self._learner)
        _set_weights(self._learner, self._average)
        try:
            yield
        finally:
            _set_weights(self._learner, live)

    def enough(self, validation: float) -> bool:
        """Keep the averaged weights if they are the best yet; True when nothing has come for long."""
        if validation < self._best_loss:
            kept = self._average if self._average is not None else _weights(self._learner)
            self._best = {name: value.clone() for name, value in kept.items()}
            self._best_loss, self._checks_without = validation, 0
        else:
            self._checks_without += 1
        return self._checks_without >= _PATIENCE

    def hand_on(self, stage: Stage) -> None:
        """The stage's result becomes the learner's weights."""
        chosen = self._best if stage.keep_best and self._best is not None else self._average
        if chosen is not None:
            _set_weights(self._learner, chosen)

    def state(self) -> State:
        return {
            "main": self.main.state(),
            "adversary": None if self.adversary is None else self.adversary.state(),
            "average": self._average,
            "updates": self._updates,
            "best": self._best,
            "best_loss": self._best_loss,
            "checks_without": self._checks_without,
        }

    def load_state(self, state: State) -> None:
        self.main.load_state(state["main"])
        if self.adversary is not None:
            self.adversary.load_state(state["adversary"])
        self._average, self._best, self._best_loss = state["average"], state["best"], state["best_loss"]
        self._updates, self._checks_without = state["updates"], state["checks_without"]


def _weights(learner: Learner, copy: bool = True) -> dict[str, Tensor]:
    """Every floating-point parameter and buffer, by name."""
    found = {}
    for name, value in learner.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point():
            found[name] = value.detach().clone() if copy else value.detach()
    return found


@torch.no_grad()
def _set_weights(learner: Learner, weights: dict[str, Tensor]) -> None:
    live = _weights(learner, copy=False)
    for name, value in weights.items():
        live[name].copy_(value)


def out_of_memory(error: RuntimeError) -> bool:
    words = str(error).lower()
    return "out of memory" in words or "not enough memory" in words or "can't allocate memory" in words
