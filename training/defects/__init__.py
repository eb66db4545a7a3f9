"""Artificial defects, shared by all methods: presets, and a generator that draws them for a batch at once."""

from training.defects.generator import DefectGenerator, Drawn
from training.defects.operators import OPERATORS
from training.defects.presets import PRESETS, DefectPreset

__all__ = ["OPERATORS", "PRESETS", "DefectGenerator", "DefectPreset", "Drawn"]
