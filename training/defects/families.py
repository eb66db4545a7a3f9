"""Which family each operator belongs to, and which families training never draws.

A head finds best what it was trained on. A score path that is judged by the same defects is chosen for that, and not
for what it finds on the line. So training draws some families, and judging draws the others.
"""

from __future__ import annotations

FAMILIES: dict[str, str] = {
    # pieces of elsewhere, and changed pieces of the place itself
    **dict.fromkeys(
        (
            "elsewhere", "foreign_texture", "flat", "other", "recoloured", "perlin_texture", "perlin_other",
            "perlin_self", "cutpaste", "cutpaste_scar", "shapes", "shapes_changed", "small_rectangles", "slsg_texture",
            "slsg_structure", "noise", "blur",
        ),
        "piece",
    ),
    # material is broken, cut, joined or eaten away
    **dict.fromkeys(("crack", "chip", "dead_area", "bite", "bridge"), "structural"),
    # the same on circuits at their own scale; whether a hole belongs there, only its outline says
    **dict.fromkeys(("edge_discs", "edge_bar", "hole_or_island"), "trace"),
    # small places of another brightness
    **dict.fromkeys(("pores", "dust", "pin_hole", "spot"), "spot"),
    # wide or thin places of another colour
    **dict.fromkeys(("uneven", "stain", "burn"), "tint"),
    # thin lines and strokes on the surface
    **dict.fromkeys(("scratch", "pen_mark"), "marking"),
    # something lies on the part
    **dict.fromkeys(("foreign_body", "fibre"), "foreign"),
    # the surface is pushed, smeared or out of order
    **dict.fromkeys(("warp", "frayed", "grid_shuffle"), "deformation"),
    # something is gone
    **dict.fromkeys(("erased", "missing_component"), "missing"),
    # something valid is in a wrong place
    **dict.fromkeys(("misplaced_component", "cross_image_swap"), "logical"),
    # real defects that were found on parts of the training data
    "transplant": "real",
}  # fmt: skip

# judged by, and so never trained on: each resembles something that training does draw, and is not the same
HELD_OUT = frozenset({"marking", "foreign", "deformation"})
