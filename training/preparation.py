"""From a recipe and good parts to what trains: the learner, its stages, its batches, and who is held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from edge import __version__
from edge.errors import UsageError
from edge.manifest import ScoreSpec
from edge.preprocess import Preprocess
from training.dataset import Normals, WeakAnomalies, layout_of, load_normals, load_textures, load_weak, split_held_out
from training.knowledge import rules_path
from training.methods import find_method
from training.methods.base import Design, Layout, Learner, Method, Stage, TrainingData
from training.optimise import BatchSource

Blend = Literal["product", "wsum", "max", "noisy_or", "gate"]


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how; everything here is part of what makes two runs the same run.

    layout: None looks at the good parts. steps: of all stages together, None: the variant's own. smallest_defect: share
    of the field. blend: only score paths that blend so. rules: a rules file or the name of a starter.
    """

    method: str
    variant: str
    seed: int
    layout: Layout | None = None
    ablations: frozenset[str] = frozenset()
    blend: Blend | None = None
    steps: int | None = None
    smallest_defect: float | None = None
    rules: str | None = None
    rectangle: tuple[int, int, int, int] | None = None
    polygon: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs, on its device. held_out: (n, 3, s, s) in 0..1; held_out_parts: who they are."""

    design: Design
    size: int
    candidates: dict[str, ScoreSpec]
    learner: Learner
    stages: tuple[Stage, ...]
    batches: BatchSource
    held_out: Tensor
    held_out_parts: Normals
    trained_on: Normals
    weak: WeakAnomalies
    rules: Path | None

    def signature(self, recipe: Recipe) -> dict[str, Any]:
        """What makes two runs the same run."""
        values = asdict(recipe) | {"layout": self.design.layout, "ablations": sorted(recipe.ablations)}
        values["rules"] = None if self.rules is None else self.rules.read_text(encoding="utf-8")
        return {
            "recipe": values,
            "stages": [asdict(stage) for stage in self.stages],
            "normals": self.trained_on.hashes,
            "weak": self.weak.hashes,
            "software": __version__,
        }


def prepare(
    data: Path, run_directory: Path, recipe: Recipe, notice: Callable[[str], None] = lambda text: None
) -> Prepared:
    """Read the parts and build the learner; raises UsageError for bad data or an option the method does not have."""
    method = find_method(recipe.method, recipe.variant)
    _check_options(method, recipe)
    plan = method.variants[recipe.variant]
    preprocess = Preprocess(plan.size, recipe.rectangle, recipe.polygon)
    normals = load_normals(data, preprocess, notice)
    weak = load_weak(data, preprocess, normals)
    rules = _rules(data, recipe, weak, notice)
    trained_on, held_out = split_held_out(normals, recipe.seed)
    design = Design(recipe.variant, recipe.layout or _seen_layout(normals, notice), recipe.ablations)
    candidates = _candidates(method, plan.size, design.layout, recipe.blend)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(recipe.seed)
    learner = method.learner(design).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    roi = None if normals.weight is None else torch.from_numpy(normals.weight)[None, None].to(device)
    batches = BatchSource(
        pictures_from_fields(trained_on.fields).to(device), roi, plan.bend, design.layout, recipe.seed,
        _textures(data, plan.size, device),
    )  # fmt: skip
    kept = pictures_from_fields(held_out.fields).to(device)
    learner.attach(
        TrainingData(
            normals=batches.normals, held_out=kept, weak=pictures_from_fields(weak.fields).to(device),
            kinds=weak.kinds, roi=roi, rules=rules, random=batches.random,
            vary=batches.vary, set_bank=batches.set_bank, run_directory=run_directory, notice=notice,
        )
    )  # fmt: skip
    stages = tuple(stage for stage in plan.stages if learner.applies(stage))
    if recipe.steps is not None:
        stages = _shortened(stages, recipe.steps)
    return Prepared(
        design=design,
        size=plan.size,
        candidates=candidates,
        learner=learner,
        stages=stages,
        batches=batches,
        held_out=kept,
        held_out_parts=held_out,
        trained_on=trained_on,
        weak=weak,
        rules=rules,
    )


def pictures_from_fields(fields: np.ndarray) -> Tensor:
    """uint8 (n, s, s, 3) BGR → float32 (n, 3, s, s) RGB in 0..1."""
    planes = np.ascontiguousarray(fields[..., ::-1].transpose(0, 3, 1, 2))
    return torch.from_numpy(planes).float() / 255


def _check_options(method: Method, recipe: Recipe) -> None:
    unknown = sorted(recipe.ablations - set(method.ablations))
    if unknown:
        raise UsageError(
            f"{method.name} has no part {unknown[0]!r} that could be left out",
            fix=f"choose from: {', '.join(method.ablations) or 'nothing, this method has no such parts'}",
        )


def _shortened(stages: tuple[Stage, ...], steps: int) -> tuple[Stage, ...]:
    """The stages with `steps` in all, shared out as the variant does; at least one each."""
    total = sum(stage.steps for stage in stages)
    counts = [max(1, round(stage.steps * steps / total)) for stage in stages]
    return tuple(replace(stage, steps=count) for stage, count in zip(stages, counts, strict=True))


def _seen_layout(normals: Normals, notice: Callable[[str], None]) -> Layout:
    layout, correlation = layout_of(normals)
    meaning = "always lie the same way" if layout == "aligned" else "vary in layout, or are a texture"
    notice(f"layout: {layout} (correlation {correlation:.2f}: the parts {meaning}; --layout decides otherwise)")
    return layout


def _textures(data: Path, side: int, device: str) -> Tensor | None:
    textures = load_textures(data, side)
    return None if textures is None else pictures_from_fields(textures).to(device)


def _rules(data: Path, recipe: Recipe, weak: WeakAnomalies, notice: Callable[[str], None]) -> Path | None:
    """The rules given, or the data folder's own; a notice when nothing can come of them."""
    own = data / "rules.yaml"
    rules = (own if own.is_file() else None) if recipe.rules is None else rules_path(recipe.rules)
    if rules is not None and not weak.hashes and recipe.method == "kist":
        notice(f"{rules} has no effect: rules judge parts known to be defective, and train/weak/ holds none")
    return rules


def _candidates(method: Method, size: int, layout: Layout, blend: Blend | None) -> dict[str, ScoreSpec]:
    candidates = method.score_candidates(size, layout)
    if blend is None:
        return candidates
    chosen = {name: spec for name, spec in candidates.items() if spec.blend.mode == blend}
    if not chosen:
        modes = ", ".join(sorted({spec.blend.mode for spec in candidates.values()}))
        raise UsageError(f"{method.name} has no score path that blends by {blend}", fix=f"choose one of: {modes}")
    return chosen
