"""Which defects are drawn, and how often: one preset for each method and purpose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from training.defects.families import FAMILIES, HELD_OUT


@dataclass(frozen=True)
class DefectPreset:
    """How often each operator (training/defects/operators.py) is drawn; weights need not sum to one.

    clean_share: share of pictures left as they are. smallest, largest: share of the inspected area that a defect must,
    and may, visibly change.
    """

    operators: dict[str, float]
    clean_share: float = 0.0
    smallest: float = 3e-4
    largest: float = 0.5

    @property
    def families(self) -> frozenset[str]:
        """Of the operators that are drawn."""
        return frozenset(FAMILIES[name] for name, weight in self.operators.items() if weight > 0)

    def without(self, families: Iterable[str]) -> DefectPreset:
        """The preset without the operators of these families."""
        dropped = set(families)
        kept = {name: weight for name, weight in self.operators.items() if FAMILIES[name] not in dropped}
        return replace(self, operators=kept)

    def only(self, family: str) -> DefectPreset:
        """The preset with the operators of this family alone."""
        return self.without(self.families - {family})


# what industrial parts really suffer, by prior knowledge
_SURFACE = {
    "pores": 0.09, "crack": 0.1, "scratch": 0.08, "fibre": 0.03, "pen_mark": 0.03, "dust": 0.03, "chip": 0.09,
    "uneven": 0.06, "stain": 0.05, "burn": 0.04, "frayed": 0.06, "foreign_body": 0.05, "warp": 0.05, "bite": 0.06,
    "pin_hole": 0.03, "bridge": 0.06, "missing_component": 0.08, "cross_image_swap": 0.04,
    "misplaced_component": 0.03, "erased": 0.06, "transplant": 0.15,
}  # fmt: skip
# those of them that are defects only because parts lie the same way
_OF_LAYOUT = {"missing_component", "cross_image_swap", "misplaced_component", "erased"}
# of families that training leaves out
_JUDGING = {
    "scratch": 0.2, "pen_mark": 0.1, "fibre": 0.12, "foreign_body": 0.18, "warp": 0.2, "frayed": 0.2,
}  # fmt: skip

PRESETS = {
    # erasing has a share of its own: a missing part is the commonest real defect of an assembled object, and no
    # texture paste looks like it
    "reconstruction": DefectPreset(
        {"elsewhere": 0.25, "foreign_texture": 0.15, "flat": 0.15, "other": 0.1, "recoloured": 0.15, "erased": 0.2},
        clean_share=0.2,
    ),
    "draem": DefectPreset({"perlin_texture": 1.0}, clean_share=0.5, largest=1.0),
    "fair_nodtd": DefectPreset({"perlin_other": 0.5, "cutpaste": 0.5}, clean_share=0.5, largest=1.0),
    "isstad_new": DefectPreset({"shapes": 1.0}, clean_share=1 / 3, largest=1.0),
    "isstad_old": DefectPreset({"small_rectangles": 1.0}, clean_share=1 / 6, largest=1.0),
    # half of the pictures stay clean, because the segmenter must learn most of all to leave good parts alone
    "sparsity_prior": DefectPreset(
        {"perlin_other": 0.3, "cutpaste": 0.3, "erased": 0.15, "recoloured": 0.15, "flat": 0.1}, clean_share=0.5
    ),
    # every normal gets one altered partner; 49 of 256 x 256 pixels
    "slsg": DefectPreset({"slsg_texture": 0.42, "slsg_structure": 0.58}, smallest=49 / 65536, largest=1.0),
    "surface": DefectPreset(_SURFACE, clean_share=0.2),
    # the published shapes, and what parts suffer
    "isstad_aligned": DefectPreset({"shapes": 0.5} | _SURFACE, clean_share=1 / 3),
    # where good parts vary, a piece of one in another place, or gone, may be good
    "isstad_free": DefectPreset(
        {"shapes_changed": 0.4} | {name: share for name, share in _SURFACE.items() if name not in _OF_LAYOUT},
        clean_share=1 / 3,
    ),
    # what heads on a pre-trained encoder learn from: what parts suffer, and pieces of elsewhere
    "head_aligned": DefectPreset(
        {name: share for name, share in _SURFACE.items() if name != "transplant"}
        | {"elsewhere": 0.1, "foreign_texture": 0.08, "flat": 0.08, "recoloured": 0.08, "erased": 0.13}
        | {"transplant": 0.3},
        clean_share=3 / 8,
    ),
    "head_free": DefectPreset(
        {name: share for name, share in _SURFACE.items() if name not in (*_OF_LAYOUT, "transplant")}
        | {"foreign_texture": 0.1, "flat": 0.05, "recoloured": 0.1, "transplant": 0.3},
        clean_share=3 / 8,
    ),
    # what score paths are judged by: families that no training draws (families.py), for every method and layout
    "judging": DefectPreset(_JUDGING),
    # printed circuits and other pictures of two tones; what is smaller passes for a ragged edge
    "two_tone": DefectPreset(
        {"bite": 0.3, "pin_hole": 0.2, "bridge": 0.3, "spot": 0.2}, clean_share=1 / 4, smallest=1.5e-3, largest=0.05
    ),
    # the same at their own scale, in crops of 160 px: defects of 25 to 600 px, one to three of them
    "board": DefectPreset(
        {"edge_discs": 0.35, "hole_or_island": 0.25, "edge_bar": 0.4},
        clean_share=0.4, smallest=25 / 160**2, largest=0.1,
    ),
    # castings and ground metal, whose own marks run with the tool: no scratches
    "ground_metal": DefectPreset(
        {"pores": 0.26, "crack": 0.24, "chip": 0.14, "frayed": 0.12, "uneven": 0.18, "stain": 0.06, "transplant": 0.2},
        clean_share=1 / 4, smallest=6e-4,
    ),
    # brittle plates that are lit through or glow: cells, glass, ceramics. What is cut off goes dark
    "brittle_plate": DefectPreset(
        {
            "crack": 0.45, "dead_area": 0.25, "uneven": 0.1, "pores": 0.05, "scratch": 0.1, "stain": 0.05,
            "transplant": 0.2,
        },
        clean_share=1 / 4, smallest=1e-3,
    ),
    # baked and other natural goods
    "natural_goods": DefectPreset(
        {
            "crack": 0.4, "chip": 0.25, "stain": 0.05, "burn": 0.1, "warp": 0.05, "foreign_body": 0.1, "dust": 0.05,
            "transplant": 0.2,
        },
        clean_share=1 / 4, smallest=1e-3,
    ),
    # rounds of self-training: the same, and real defects as they were found
    "self_training": DefectPreset(
        {
            "elsewhere": 0.15, "foreign_texture": 0.1, "flat": 0.1, "other": 0.07, "recoloured": 0.1, "erased": 0.13,
            "transplant": 0.35,
        },
        clean_share=0.2,
    ),
}  # fmt: skip


def training_preset(name: str) -> DefectPreset:
    """The preset of this name as training draws it: without the families that score paths are judged by."""
    return PRESETS[name].without(HELD_OUT)
