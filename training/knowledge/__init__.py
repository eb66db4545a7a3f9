"""What an expert knows about defects, as fuzzy rules; and what it makes of a defective picture: pseudo-labels.

    book = load_rules(path)                                     rules.yaml, checked          (docs/rules.md)
    reference = fit_reference(pictures, zmaps)                  good parts
    reference = with_weak_parts(reference, pictures, zmaps)     only for `auto` sets
    label = pseudo_labels(picture, zmap, book, reference)       a defective part
    label_sheet(pictures, zmaps, labels, path)                  for the expert to look at

Needs numpy, OpenCV and PyYAML; torch is not touched.
"""

from training.knowledge.labels import JudgedRegion, PseudoLabel, pseudo_labels
from training.knowledge.loading import load_rules
from training.knowledge.reference import NormalReference, fit_reference, with_weak_parts
from training.knowledge.rulebook import RuleBook

__all__ = [
    "JudgedRegion",
    "NormalReference",
    "PseudoLabel",
    "RuleBook",
    "fit_reference",
    "load_rules",
    "pseudo_labels",
    "with_weak_parts",
]
