"""Artificial defects, shared by all methods: presets, and a generator that draws them for a batch at once."""

from training.defects.families import FAMILIES, HELD_OUT
from training.defects.generator import DefectGenerator, Drawn
from training.defects.operators import OPERATORS
from training.defects.presets import PRESETS, DefectPreset, training_preset

__all__ = [
    "FAMILIES",
    "HELD_OUT",
    "OPERATORS",
    "PRESETS",
    "DefectGenerator",
    "DefectPreset",
    "Drawn",
    "training_preset",
]
