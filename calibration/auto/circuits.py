"""Circuits: `--method auto` takes the variant that is made for them; by the usual artificial defects it would guess."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.capture.images.image_reader import ImageReader
from edge.core.errors import UsageError
from edge.preprocessing.preprocess import Preprocess

if TYPE_CHECKING:
    from training.run.preparation import Recipe

METHOD, VARIANT = "isstad", "board"
_USUAL_VARIANT, _LAYOUT_SIDE = "pretrained", 128


def circuits(recipe: Recipe, data: Path, reader: ImageReader) -> tuple[Recipe, str] | None:
    """The recipe for pictures of two tones in free layouts, and why it is taken; None for all other parts.

    None too where their pictures have no field of their own scale, or another variant is asked for. Raises UsageError
    for bad data.
    """
    from edge.preprocessing.geometry import GeometryWish, chosen_geometry
    from training.data.dataset import MOST_TWO_TONES, layout_of, load_normal_samples, two_tone_share
    from training.methods import find_method

    if recipe.variant != _USUAL_VARIANT:
        return None
    share = two_tone_share(data, reader)
    if share < MOST_TWO_TONES or recipe.polygon is not None:
        return None
    small = Preprocess(_LAYOUT_SIDE, _LAYOUT_SIDE, recipe.rectangle)
    layout = recipe.layout or layout_of(load_normal_samples(data, small, reader=reader))[0]
    if layout != "free":
        return None
    side = find_method(METHOD, VARIANT).variants[VARIANT].size
    square = Preprocess(side, side, recipe.rectangle)
    try:
        wish = GeometryWish(recipe.align, "native" if recipe.shape is None else recipe.fit, recipe.shape)
        field = chosen_geometry(square, data, wish, any_shape=True, reader=reader).preprocess
    except UsageError:
        return None
    if min(field.shape) < side:
        return None
    words = (
        f"two tones: {share:.0%} of the good parts are bright and dark with nothing between, in free layouts; "
        f"{METHOD} {VARIANT} is taken, which is made for circuits"
    )
    return replace(recipe, method=METHOD, variant=VARIANT), words
