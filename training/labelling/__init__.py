"""What an expert knows about defects, as fuzzy rules; and what it makes of a defective picture: pseudo-labels.

    book = load_rules(rules_path(file_or_name))                      a rules file, or a starter     (docs/rules.md)
    inspected = inspected_mask(book, roi, height, width)             both polygons, or None
    reference = fit_reference(pictures, zmaps, inspected)            good parts
    reference = with_weak_parts(reference, pictures, zmaps, inspected)   defective ones, only for `auto` sets
    label = pseudo_labels(picture, zmap, book, reference, roi=roi)   a defective part
    label_sheet(pictures, zmaps, labels, path)                       for the expert to look at

Needs numpy, OpenCV and PyYAML; torch is not touched.
"""

from training.labelling.normal_levels import NormalReference, fit_reference, with_weak_parts
from training.labelling.pseudo_labels import JudgedRegion, PseudoLabel, inspected_mask, pseudo_labels
from training.labelling.sheet import label_sheet
from training.rules.loading import load_rules
from training.rules.rulebook import RuleBook
from training.rules.starters import rules_path

__all__ = [
    "JudgedRegion",
    "NormalReference",
    "PseudoLabel",
    "RuleBook",
    "fit_reference",
    "inspected_mask",
    "label_sheet",
    "load_rules",
    "pseudo_labels",
    "rules_path",
    "with_weak_parts",
]
