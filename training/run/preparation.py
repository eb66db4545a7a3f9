"""Prepare a run from a recipe and normal samples: the learner, its stages, its batches, the held-out samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge import __version__
from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.core.config import AlignSettings
from edge.core.errors import UsageError
from edge.core.manifest import AlignSpec, Fit, TileSpec
from edge.preprocessing.field_shape import FIELD_STEP
from edge.preprocessing.geometry import FitWish, GeometryWish, chosen_geometry
from edge.preprocessing.normal_samples import parts_to_align
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.tile_choice import TileChoice, chosen_tiles
from training.data.dataset import (
    MOST_TWO_TONES,
    NormalSamples,
    WeakAnomalies,
    layout_of,
    load_normal_samples,
    load_textures,
    load_weak,
    split_held_out,
    two_tone_share,
)
from training.defects import PRESETS, training_preset
from training.labelling import rules_path
from training.methods import find_method, parts_of
from training.methods.base import Blend, Design, Layout, Learner, Method, Stage, TrainingData, Variant
from training.methods.score_candidates import score_candidates
from training.optimisation.stages import BatchSource


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how; everything here is part of what makes two runs the same run.

    layout: None looks at the good parts. steps: of all stages together, None: the variant's own. smallest_defect: share
    of the field. blend: only score paths that blend so. rules: a rules file or the name of a starter. field: side of
    the inspected field in pixels, None: the variant's own. shape, fit: (height, width) of the field, and how a view
    comes to its aspect; None: chosen from the good parts, as an alignment is where align has no mode
    (edge/preprocessing/geometry.py). weights: checkpoint of the encoder, None: the one of the package. defects: preset
    of artificial defects in place of the method's. minutes: in which all must be done, None: as long as it takes.
    tiles: inspect large frames in tiles, for defects of so many pixels of the frame; None: the whole frame at once.
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
    align: AlignSettings = field(default_factory=AlignSettings)
    field: int | None = None
    shape: tuple[int, int] | None = None
    fit: FitWish | None = None
    weights: str | None = None
    defects: str | None = None
    minutes: float | None = None
    tiles: float | None = None
    rectangle: tuple[int, int, int, int] | None = None
    polygon: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs, on its device. held_out: (n, 3, s, s) in 0..1; held_out_parts: who they are.

    build: makes learner and batches once more, on the same parts; takes the run's folder and what shows a notice.
    """

    design: Design
    shape: tuple[int, int]
    fit: Fit
    learner: Learner
    stages: tuple[Stage, ...]
    batches: BatchSource
    held_out: Tensor
    held_out_parts: NormalSamples
    trained_on: NormalSamples
    weak: WeakAnomalies
    rules: Path | None
    align: AlignSpec | None
    tiles: TileSpec | None
    build: Callable[[Path, Callable[[str], None]], tuple[Learner, BatchSource]]

    def signature(self, recipe: Recipe) -> dict[str, Any]:
        """What makes two runs the same run."""
        values = asdict(recipe) | {"layout": self.design.layout, "ablations": sorted(recipe.ablations)}
        values["align"] = recipe.align.model_dump()
        # the same path with another content is another run
        values["weights"] = None if recipe.weights is None else self.learner.weights_sha256
        values["rules"] = None if self.rules is None else self.rules.read_text(encoding="utf-8")
        return {
            "recipe": values,
            "stages": [asdict(stage) for stage in self.stages],
            "normals": self.trained_on.hashes,
            "weak": self.weak.hashes,
            "software": __version__,
        }


def prepare(
    data: Path, run_directory: Path, recipe: Recipe, notice: Callable[[str], None] = lambda text: None,
    reader: ImageReader = PLAIN,
) -> Prepared:  # fmt: skip
    """Read the parts and build the learner; raises UsageError for bad data or an option the method does not have."""
    method = find_method(recipe.method, recipe.variant)
    _check_options(method, recipe)
    plan = method.variants[recipe.variant]
    square = Preprocess(plan.size, plan.size, recipe.rectangle, recipe.polygon)
    tiles = None if recipe.tiles is None else _tiles(data, recipe, plan, square, notice, reader)
    if tiles is not None:
        recipe = _in_tiles(recipe, tiles)
    # of parts that are said to vary nothing is moved unless asked for
    align = recipe.align.model_copy(update={"mode": recipe.align.mode or ("none" if recipe.layout == "free" else None)})
    wish = GeometryWish(align, *_fit_wish(plan, recipe))
    geometry = chosen_geometry(square, data, wish, any_shape=plan.pretrained or plan.native, reader=reader)
    for line in geometry.said:
        notice(line)
    # in tiles nothing is trained: what parts look like as a whole is seen in the size of a tile
    preprocess = (
        geometry.preprocess
        if tiles is None
        else replace(geometry.preprocess, height=tiles.tile[0], width=tiles.tile[1])
    )
    normals = load_normal_samples(data, preprocess, notice, reader)
    layout = recipe.layout or _seen_layout(normals, notice)
    if layout == "free" and not plan.native:
        _tell_two_tones(data, notice, reader)
    side = plan.size if plan.pretrained or plan.native else _field_side(plan, recipe, layout)
    if plan.native:
        _require_crops(plan, recipe, preprocess)
        notice(f"training sees crops of {plan.size}x{plan.size} px of the field")
    if side > plan.size:
        notice(f"the field is {side}x{side} px; training sees crops of {plan.size}x{plan.size} px of it")
        preprocess = replace(preprocess, height=side, width=side)
        normals = load_normal_samples(data, preprocess, reader=reader)
    weak = load_weak(data, preprocess, normals, reader)
    rules = _rules(data, recipe, weak, notice)
    # what trains nothing has seen none of them
    parts = split_held_out(normals, recipe.seed) if plan.stages else (normals.take(np.arange(0)), normals)
    trained_on, held_out = parts
    design = Design(recipe.variant, layout, recipe.ablations, preprocess.shape if plan.pretrained else None)
    # a blend that the method does not have must not be found out after training
    score_candidates(method, recipe.variant, preprocess.shape, layout, recipe.blend)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    roi = None if normals.weight is None else torch.from_numpy(normals.weight)[None, None].to(device)
    # what a field bends by would set straight lines of a crop rippling
    bend = plan.bend if side == plan.size else 0.0
    crop = plan.size if plan.native or side != plan.size else None
    seen, kept, parts_known = (
        pictures_from_fields(each.fields).to(device) for each in (trained_on, held_out, weak)
    )  # fmt: skip
    shown = preprocess.shape if plan.pretrained else (plan.size, plan.size)
    textures = _textures(data, shown, device, reader)

    def build(directory: Path, notice: Callable[[str], None]) -> tuple[Learner, BatchSource]:
        torch.manual_seed(recipe.seed)
        learner = method.learner(design).to(device)
        batches = BatchSource(seen, roi, bend, layout, recipe.seed, textures, crop, plan.native)
        learner.attach(
            TrainingData(
                normals=batches.normals, held_out=kept, weak=parts_known, kinds=weak.kinds, roi=roi, rules=rules,
                random=batches.random, vary=batches.vary, set_bank=batches.set_bank, draws=batches.apart,
                run_directory=directory, notice=notice, crop=crop,
                weights=None if recipe.weights is None else Path(recipe.weights),
            )
        )  # fmt: skip
        return learner, batches

    learner, batches = build(run_directory, notice)
    stages = tuple(_with_defects(stage, recipe.defects) for stage in plan.stages if learner.applies(stage))
    if recipe.steps is not None:
        stages = _shortened(stages, recipe.steps)
    return Prepared(
        design=design,
        shape=preprocess.shape,
        fit=preprocess.fit,
        learner=learner,
        stages=stages,
        batches=batches,
        held_out=kept,
        held_out_parts=held_out,
        trained_on=trained_on,
        weak=weak,
        rules=rules,
        align=preprocess.align,
        tiles=None if tiles is None else tiles.spec,
        build=build,
    )


def pictures_from_fields(fields: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) BGR → float32 (n, 3, h, w) RGB in 0..1."""
    planes = np.ascontiguousarray(fields[..., ::-1].transpose(0, 3, 1, 2))
    return torch.from_numpy(planes).float() / 255


def _tiles(
    data: Path, recipe: Recipe, plan: Variant, square: Preprocess, notice: Callable[[str], None], reader: ImageReader
) -> TileChoice | None:
    """How the good parts' views are cut in tiles; None where they need not be. Raises UsageError."""
    assert recipe.tiles is not None, "asked for"
    if plan.stages or not plan.pretrained:
        raise UsageError(
            f"{recipe.method} {recipe.variant} learns from whole pictures, and cannot inspect in tiles",
            fix="use --method memory with --variant pretrained or light; or leave --tiles out",
        )
    for name, given in (("--field", recipe.shape or recipe.field), ("--fit", recipe.fit)):
        if given is not None:
            raise UsageError(f"--tiles decides about {name}, too", fix=f"leave {name} out, or --tiles")
    if recipe.align.mode == "upright":
        raise UsageError(
            "parts that are stood upright are not inspected in tiles", fix="use another --align, or leave --tiles out"
        )
    _, views = parts_to_align(square, data, reader)
    if not views:
        return None
    heights, widths = zip(*((view.height, view.width) for view in views), strict=True)
    # the largest view decides: in none of them is a defect smaller than it may be
    choice = chosen_tiles((max(heights), max(widths)), recipe.tiles, plan.size)
    none = f"tiles: none, a field of {plan.size} px shows a defect of {recipe.tiles:g} px of the frame"
    notice(none if choice is None else choice.said)
    return choice


def _in_tiles(recipe: Recipe, tiles: TileChoice) -> Recipe:
    """The recipe with the whole field, in which parts lie as they do unless they are asked to be moved."""
    align = recipe.align.model_copy(update={"mode": recipe.align.mode or "none"})
    return replace(recipe, shape=(tiles.spec.height, tiles.spec.width), align=align)


def _check_options(method: Method, recipe: Recipe) -> None:
    if recipe.defects is not None and recipe.defects not in PRESETS:
        raise UsageError(f"unknown artificial defects {recipe.defects!r}", fix=f"choose one of: {', '.join(PRESETS)}")
    if recipe.defects is not None and not training_preset(recipe.defects).operators:
        raise UsageError(
            f"the artificial defects {recipe.defects!r} judge score paths, and training draws none of them",
            fix="choose another preset; leave --defects out for the method's own",
        )
    if recipe.weights is not None and not method.variants[recipe.variant].takes_weights:
        raise UsageError(
            f"{method.name} {recipe.variant} has no encoder that a checkpoint could fill",
            fix="take the variant `pretrained`, or slsg `full` with a ResNet-18; or leave --weights out",
        )
    parts = parts_of(recipe.method, recipe.variant)
    unknown = sorted(recipe.ablations - set(parts))
    if unknown:
        raise UsageError(
            f"{method.name} {recipe.variant} has no part {unknown[0]!r} that could be left out",
            fix=f"choose from: {', '.join(parts) or 'nothing, it has no such parts'}",
        )


def _fit_wish(plan: Variant, recipe: Recipe) -> tuple[FitWish | None, tuple[int, int] | None]:
    """How pictures come into the field, and its (height, width); None: found out from the good parts."""
    if not plan.native:
        return recipe.fit, recipe.shape
    shape = recipe.shape if recipe.field is None else (recipe.field, recipe.field)
    return recipe.fit or ("native" if shape is None else None), shape


def _require_crops(plan: Variant, recipe: Recipe, preprocess: Preprocess) -> None:
    """Raises UsageError for a field that no crop fits into, or in which a polygon would lie elsewhere each time."""
    if min(preprocess.shape) < plan.size:
        raise UsageError(
            f"a field of {preprocess.width}x{preprocess.height} px is smaller than the crops of {plan.size} px that "
            f"{recipe.method} {recipe.variant} learns from",
            fix="take larger pictures, or another variant",
        )
    if recipe.polygon is not None:
        raise UsageError(
            f"{recipe.method} {recipe.variant} learns from crops, in which a polygon would lie elsewhere each time",
            fix="give roi.rectangle instead, or another variant",
        )


def _tell_two_tones(data: Path, notice: Callable[[str], None], reader: ImageReader) -> None:
    """A person who trains something else on circuits should know what is made for them."""
    share = two_tone_share(data, reader)
    if share >= MOST_TWO_TONES:
        notice(
            f"two tones: {share:.0%} of the good parts are bright and dark with nothing between, in free layouts; "
            "--method isstad --variant board is made for them"
        )


def _field_side(plan: Variant, recipe: Recipe, layout: Layout) -> int:
    """Side of the inspected field: larger than what training sees where the network does not know places.

    A polygon would lie elsewhere in every crop, so that its field is never cut.
    """
    may_be_cut = plan.free_field > 0 and layout == "free" and recipe.polygon is None
    wanted = (plan.free_field if may_be_cut else plan.size) if recipe.field is None else recipe.field
    if wanted == plan.size:
        return wanted
    if not may_be_cut:
        raise UsageError(
            f"{recipe.method} {recipe.variant} inspects a field of {plan.size} px here, and no other",
            fix="leave --field out; a larger field needs kist or isstad, --layout free, and no polygon",
        )
    if wanted < plan.size or wanted % FIELD_STEP:
        raise UsageError(
            f"a field of {wanted} px does not fit the network",
            fix=f"give --field a multiple of {FIELD_STEP}, at least {plan.size}",
        )
    return wanted


def _with_defects(stage: Stage, preset: str | None) -> Stage:
    """The stage with these artificial defects in place of its own; rounds of self-training need theirs."""
    if preset is None or stage.preset in (None, "self_training"):
        return stage
    return replace(stage, preset=preset, free_preset=None)


def _shortened(stages: tuple[Stage, ...], steps: int) -> tuple[Stage, ...]:
    """The stages with `steps` in all, shared out as the variant does; at least one each."""
    total = sum(stage.steps for stage in stages)
    counts = [max(1, round(stage.steps * steps / total)) for stage in stages]
    return tuple(replace(stage, steps=count) for stage, count in zip(stages, counts, strict=True))


def _seen_layout(normals: NormalSamples, notice: Callable[[str], None]) -> Layout:
    layout, correlation = layout_of(normals)
    meaning = "always lie the same way" if layout == "aligned" else "vary in layout, or are a texture"
    notice(f"layout: {layout} (correlation {correlation:.2f}: the parts {meaning}; --layout decides otherwise)")
    return layout


def _textures(data: Path, shape: tuple[int, int], device: str, reader: ImageReader) -> Tensor | None:
    textures = load_textures(data, shape, reader)
    return None if textures is None else pictures_from_fields(textures).to(device)


def _rules(data: Path, recipe: Recipe, weak: WeakAnomalies, notice: Callable[[str], None]) -> Path | None:
    """The rules given, or the data folder's own; a notice when nothing can come of them."""
    own = data / "rules.yaml"
    rules = (own if own.is_file() else None) if recipe.rules is None else rules_path(recipe.rules)
    if rules is not None and not weak.hashes and recipe.method == "kist":
        notice(f"{rules} has no effect: rules judge parts known to be defective, and train/weak/ holds none")
    return rules
