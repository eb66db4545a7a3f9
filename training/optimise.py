"""The stage loop: the only place where torch steps. Resumable, and the same for every method and device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from edge.errors import UsageError
from training.augmentation import cropped, mirrored, vary, with_sensor_noise
from training.defects import PRESETS, DefectGenerator
from training.methods.base import Batch, Layout, Learner, Stage
from training.threads import one_thread

_WEIGHT_DECAY = 1e-4
_AVERAGE_DECAY = 0.99
_LARGEST_GRADIENT = 5.0
# in a row, before the run is given up
_SKIPPED_STEPS = 10
# validation per stage, and how many in a row may bring nothing before the stage ends
_CHECKS, _PATIENCE = 10, 4
_VALIDATION_PICTURES = 32
# points kept of each loss curve of a stage
_CURVE_POINTS = 500

# done steps, all steps, what to show of the stage and its losses
Progress = Callable[[int, int, str], None]
State = dict[str, Any]


@dataclass
class Curves:
    """What was measured on the way: stage name → loss name → [[step, value], ...]; `validation` is one of them."""

    values: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)

    def add(self, stage: str, name: str, step: int, value: float) -> None:
        self.values.setdefault(stage, {}).setdefault(name, []).append([step, float(f"{value:.6g}")])


class BatchSource:
    """Batches of varied normals with artificial defects. All randomness is in two generators, kept in the state.

    crop: side of the squares that batches are cut to; None: whole fields.
    """

    def __init__(
        self,
        normals: Tensor,
        roi: Tensor | None,
        bend: float,
        layout: Layout,
        seed: int,
        textures: Tensor | None,
        crop: int | None = None,
    ) -> None:
        self.random = torch.Generator(device="cpu").manual_seed(seed)
        self.normals, self.roi = normals, roi
        self.crop = crop or normals.shape[-1]
        self._bend, self.layout = bend, layout
        self._seed, self._textures = seed, textures
        self._generators: dict[str, DefectGenerator] = {}
        self._bank: tuple[Tensor, Tensor] | None = None

    def draw(self, stage: Stage, count: int) -> Batch:
        """`count` normals, varied; with the stage's artificial defects and sensor noise."""
        indexes = torch.randint(self.normals.shape[0], (count,), generator=self.random)
        with one_thread():
            return self.defective(self.vary(self.cut(self.normals[indexes.to(self.normals.device)])), stage)

    def cut(self, pictures: Tensor) -> Tensor:
        """Squares of the side that batches have."""
        return cropped(pictures, self.crop, self.random)

    def vary(self, pictures: Tensor) -> Tensor:
        """Natural variation; parts without a fixed layout are mirrored as well."""
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

    def _generator(self, preset: str) -> DefectGenerator:
        if preset not in self._generators:
            device = self.normals.device.type
            generator = DefectGenerator(PRESETS[preset], self._seed, device, textures=self._textures)
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
    """One run through a learner's stages, from wherever its state says."""

    def __init__(
        self,
        learner: Learner,
        stages: tuple[Stage, ...],
        batches: BatchSource,
        held_out: Tensor,
        progress: Progress,
        notice: Callable[[str], None],
    ) -> None:
        self.learner, self.stages, self.batches = learner, stages, batches
        self.curves = Curves()
        self._held_out = held_out
        self._progress, self._notice = progress, notice
        self._halved = False
        self._stage_index, self._step = 0, 0
        self._left_out: list[int] = []
        self._tools: _StageTools | None = None

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages that ran, run or are still to come."""
        return sum(stage.steps for index, stage in enumerate(self.stages) if self._takes_place(index))

    def run(self, save: Callable[[], None]) -> None:
        """To the end of the last stage; `save` is offered between steps and decides itself whether it is time.

        Raises UsageError when a loss is not finite, or when half the batch does not fit into memory either.
        """
        while self._stage_index < len(self.stages):
            stage = self.stages[self._stage_index]
            if self._tools is None and not self.learner.applies(stage):
                self._left_out.append(self._stage_index)
                self._stage_index += 1
                continue
            if self._tools is None:
                self.learner.prepare(stage)
                self._tools = _StageTools(self.learner, stage)
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
            "learner": self.learner.state_dict(),
            "tools": None if self._tools is None else self._tools.state(),
            "batches": self.batches.state(),
            "torch": torch.get_rng_state(),
            "curves": self.curves.values,
        }

    def load_state(self, state: State) -> None:
        self._stage_index, self._step, self._halved = state["stage"], state["step"], state["halved"]
        self._left_out = state["left_out"]
        self.learner.load_state_dict(state["learner"])
        if state["tools"] is not None:
            self._tools = _StageTools(self.learner, self.stages[self._stage_index])
            self._tools.load_state(state["tools"])
        self.batches.load_state(state["batches"])
        torch.set_rng_state(state["torch"])
        self.curves.values = state["curves"]

    def _run_stage(self, stage: Stage, tools: _StageTools, save: Callable[[], None]) -> None:
        learner, total = self.learner, self.steps
        before = sum(self.stages[index].steps for index in range(self._stage_index) if self._takes_place(index))
        interval = max(1, stage.steps // _CHECKS)
        learner.train()
        while self._step < stage.steps:
            losses = self._try_step(stage, tools)
            self._step += 1
            if self._step % max(1, stage.steps // _CURVE_POINTS) == 0 or self._step == stage.steps:
                for name, value in losses.items():
                    self.curves.add(stage.name, name, self._step, value)
            shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            self._progress(before + self._step, total, f"{stage.name}  {shown}")
            if stage.keep_best and (self._step % interval == 0 or self._step == stage.steps):
                validation = self._validation_loss(stage, tools)
                self.curves.add(stage.name, "validation", self._step, validation)
                if tools.enough(validation):
                    self._notice(
                        f"{stage.name} ended after {self._step} of {stage.steps} steps: validation stood still"
                    )
                    break
            save()

    def _try_step(self, stage: Stage, tools: _StageTools) -> dict[str, float]:
        while True:
            try:
                return self._one_step(stage, tools)
            except RuntimeError as error:
                if not _out_of_memory(error):
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
        batch, share = self.batches.draw(stage, self._batch(stage)), self._step / stage.steps
        device = batch.clean.device.type
        shown: dict[str, float] = {}
        if tools.adversary is not None:
            with torch.autocast(device, torch.bfloat16):
                losses = self.learner.adversary_losses(stage, batch, share)
            tools.adversary.step(losses["total"])
            shown |= {f"adversary {name}": float(value.detach()) for name, value in losses.items()}
        with torch.autocast(device, torch.bfloat16):
            losses = self.learner.losses(stage, batch, share)
        shown |= {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(shown["total"]):
            raise UsageError(
                f"the loss became {shown['total']} at step {self._step} of {stage.steps} of {stage.name}",
                fix="run again with another --seed; if it recurs, look for damaged pictures in the data",
            )
        tools.main.step(losses["total"])
        tools.update_average()
        return shown

    def _validation_loss(self, stage: Stage, tools: _StageTools) -> float:
        """Of the averaged weights, on the same held-out pictures with the same artificial defects every time."""
        source = BatchSource(
            self._held_out, self.batches.roi, 0.0, self.batches.layout, 1, None, self.batches.crop
        )  # fmt: skip
        chosen = torch.arange(_VALIDATION_PICTURES) % self._held_out.shape[0]
        with one_thread():
            batch = source.defective(source.cut(self._held_out[chosen.to(self._held_out.device)]), stage)
        self.learner.eval()
        with tools.averaged_weights(), torch.no_grad(), torch.autocast(batch.clean.device.type, torch.bfloat16):
            value = float(self.learner.validation_loss(stage, batch))
        self.learner.train()
        return value


class _Optimiser:
    """AdamW with one warm-up and cosine decay over a stage; gradients are clipped, those not finite are left out."""

    def __init__(self, groups: list[dict[str, Any]], stage: Stage, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        rates = [stage.learning_rate * group.get("scale", 1.0) for group in groups]
        parameters = [{"params": group["params"], "lr": rate} for group, rate in zip(groups, rates, strict=True)]
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._skipped = 0
        self._adam = torch.optim.AdamW(parameters, stage.learning_rate, betas, weight_decay=_WEIGHT_DECAY)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._adam, rates, max(2, stage.steps), pct_start=0.1, cycle_momentum=False
        )

    def step(self, loss: Tensor) -> None:
        self._adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self._parameters, _LARGEST_GRADIENT))
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped > _SKIPPED_STEPS:
            raise UsageError(
                f"the gradient was not finite {self._skipped} steps in a row",
                fix="run again with another --seed; if it recurs, look for damaged pictures in the data",
            )
        # bfloat16 kernels of some processors return a NaN now and then; one would spoil every weight
        if not self._skipped:
            self._adam.step()
        # one more call than steps would raise; the last step of a stage needs no next rate
        if self._schedule.last_epoch < self._schedule.total_steps - 1:
            self._schedule.step()

    def state(self) -> State:
        return {"adam": self._adam.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state(self, state: State) -> None:
        self._adam.load_state_dict(state["adam"])
        self._schedule.load_state_dict(state["schedule"])


class _StageTools:
    """Optimisers, weight average and best weights of the stage that runs."""

    def __init__(self, learner: Learner, stage: Stage) -> None:
        learner.set_up(stage)
        self._learner = learner
        self.main = _Optimiser(learner.parameter_groups(stage), stage)
        adversary = learner.adversary_parameters(stage)
        # the usual betas of adversaries: a long memory of gradients makes the two chase each other
        self.adversary = _Optimiser([{"params": adversary}], stage, (0.5, 0.999)) if adversary else None
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
        self._average, self._best = state["average"], state["best"]
        self._updates, self._best_loss, self._checks_without = (
            state["updates"], state["best_loss"], state["checks_without"]
        )  # fmt: skip


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


def _out_of_memory(error: RuntimeError) -> bool:
    words = str(error).lower()
    return "out of memory" in words or "not enough memory" in words or "can't allocate memory" in words
