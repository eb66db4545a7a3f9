"""Rules and residual of a defective picture → pseudo-labels of its pixels: anomalous, normal or ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8
from training.labelling.normal_levels import NormalReference, check_pair
from training.labelling.region_features import measure
from training.labelling.regions import Candidate, candidate_regions
from training.labelling.rule_scores import Firing, firings, model_evidence, score_by_rules
from training.rules.membership import F64
from training.rules.rulebook import Mask, PictureRules, RuleBook

ANOMALOUS, NORMAL, IGNORED = 1, 0, -1
# degrees from which a pixel is anomalous, and up to which it is normal
ANOMALOUS_FROM, NORMAL_UP_TO = 0.6, 0.2
# nothing is called normal this near to what is called anomalous: borders of regions are not that exact
_GAP_PX = 2


@dataclass(frozen=True)
class JudgedRegion:
    """A candidate region in map pixels, and why it is what it is.

    degree g = kappa^a · evidence^(1-a). kappa: what the rules say; evidence: what the residual says; both 0..1.
    firings: the rules that spoke, strongest first. features: on the scale of 0..1. parent: index, among the regions,
    of the one around it. chosen: whether its pixels are labelled anomalous.
    """

    x: int
    y: int
    width: int
    height: int
    area_px: int
    degree: float
    kappa: float
    evidence: float
    firings: tuple[Firing, ...]
    features: dict[str, float]
    parent: int | None
    chosen: bool

    @property
    def explanation(self) -> str:
        """The rule that spoke loudest, such as `crack: grey very dark, elongation elongated (0.83)`."""
        if not self.firings:
            return f"no rule; residual {self.evidence:.2f}"
        first = self.firings[0]
        verdict = "" if first.conclusion == "anomalous" else "normal, "
        return f"{first.rule}: {first.gist} ({verdict}{first.strength:.2f})"


@dataclass(frozen=True)
class PseudoLabel:
    """pi: float32 (h, w), how anomalous each pixel is. state: int8 (h, w), 1 anomalous, 0 normal, -1 ignored."""

    pi: F32
    state: NDArray[np.int8]
    regions: tuple[JudgedRegion, ...]


def pseudo_labels(
    picture: U8,
    zmap: F32,
    book: RuleBook | None,
    reference: NormalReference,
    a: float = 0.5,
    roi: Mask | None = None,
) -> PseudoLabel:
    """Label a picture that is known to show a defective part: uint8 (h, w, 3) BGR, z-map float32 (h, w).

    a: how much the rules count against the residual, 0 to 1; without rules it is 0. roi: bool (h, w), True where the
    part is inspected, beside the book's own polygon; pixels outside are ignored. Deterministic.
    """
    check_pair(picture, zmap)
    if not 0 <= a <= 1:
        raise ValueError(f"a is {a}, not 0 to 1")
    book = book or RuleBook()
    weight = a if book.rules else 0.0
    inspected = inspected_mask(book, roi, *zmap.shape)
    candidates = candidate_regions(zmap, reference.levels, inspected, book.picture.inside_roi)
    of_picture = _of_picture(picture, zmap, book, reference, inspected) if weight > 0 else []
    means = [candidate.mean_z for candidate in candidates] + [contrast for _, contrast in of_picture]
    candidates = (*candidates, *(candidate for candidate, _ in of_picture))
    scaled = reference.scaled(book, measure(picture, candidates, inspected))
    by_rules = score_by_rules(book, reference, scaled)
    evidence = model_evidence(np.array(means, np.float64))
    degrees = by_rules.kappa**weight * evidence ** (1 - weight)
    chosen = _chosen(candidates, degrees, evidence, book.picture, zmap.shape)
    # the residual sees something that no rule explains: calling it normal would teach the network to copy it
    unexplained = (weight < 1) & (evidence >= 0.5) & (by_rules.normal < 0.5)
    around = _background_degree(picture, zmap, candidates, inspected, book, reference)
    pi = _painted_degrees(candidates, degrees, around, zmap.shape)
    state = _states(pi, candidates, chosen, unexplained)
    if inspected is not None:
        pi[~inspected], state[~inspected] = 0, IGNORED
    regions = tuple(
        JudgedRegion(
            x=candidate.x,
            y=candidate.y,
            width=candidate.width,
            height=candidate.height,
            area_px=candidate.area_px,
            degree=float(degrees[index]),
            kappa=float(by_rules.kappa[index]),
            evidence=float(evidence[index]),
            firings=firings(book, by_rules.strengths[:, index]),
            features={name: float(values[index]) for name, values in scaled.items()},
            parent=candidate.parent,
            chosen=index in chosen,
        )
        for index, candidate in enumerate(candidates)
    )
    return PseudoLabel(pi, state, regions)


def _of_picture(
    picture: U8, zmap: F32, book: RuleBook, reference: NormalReference, inspected: Mask | None
) -> list[tuple[Candidate, float]]:
    """Candidates that stand out in the picture itself and that a rule calls anomalous, each with its mean contrast.

    In spreads of good parts, which stands in for the residual: a network that rebuilds a defect well leaves none. None
    where there are no rules: contrast alone is no defect.
    """
    if reference.contrast is None or not any(rule.conclusion == "anomalous" for rule in book.rules):
        return []
    contrast = reference.contrast.in_spreads(picture)
    found = candidate_regions(contrast, reference.contrast.levels, inspected, book.picture.inside_roi)
    if not found:
        return []
    # features of a candidate speak of the residual, not of the contrast
    seen = [_with_residual(candidate, zmap) for candidate in found]
    by_rules = score_by_rules(book, reference, reference.scaled(book, measure(picture, seen, inspected)))
    kept = np.flatnonzero(by_rules.kappa >= ANOMALOUS_FROM)
    return [(replace(seen[index], parent=None), max(found[index].mean_z, seen[index].mean_z)) for index in kept]


def _with_residual(candidate: Candidate, zmap: F32) -> Candidate:
    values = zmap[candidate.window][candidate.mask]
    return replace(candidate, mean_z=float(values.mean(dtype=np.float64)), max_z=float(values.max()))


def inspected_mask(book: RuleBook, roi: Mask | None, height: int, width: int) -> Mask | None:
    """True inside both the given region and the book's polygon; None when that is everything."""
    polygon = book.roi_mask(height, width)
    if roi is None or polygon is None:
        return polygon if roi is None else roi
    return np.asarray(roi & polygon)


def _chosen(
    candidates: Sequence[Candidate], degrees: F64, evidence: F64, rules: PictureRules, shape: tuple[int, ...]
) -> frozenset[int]:
    """The regions labelled anomalous: those of degree 0.6 and more, by falling degree, while area and count allow.

    The picture shows a defect, so the best region is taken in any case, unless its degree is 0: then nothing says
    which it is. Regions that are not normal join while the picture is below its least area or count. A best region
    too large for the picture gives way to the next one that is not, and where all are, to the smallest.
    """
    order = sorted(range(len(candidates)), key=lambda i: (-degrees[i], -evidence[i], candidates[i].area_px, i))
    possible = [index for index in order if degrees[index] > 0]
    taken: list[int] = []
    union = np.zeros(shape, bool)
    for index in possible:
        if taken and degrees[index] < ANOMALOUS_FROM and (degrees[index] <= NORMAL_UP_TO or _is_enough(union, rules)):
            break
        larger = union.copy()
        larger[candidates[index].window] |= candidates[index].mask
        if _is_too_much(larger, rules):
            if taken:
                break
            continue
        taken.append(index)
        union = larger
    if possible and not taken:
        taken = [min(possible, key=lambda index: candidates[index].area_px)]
    return frozenset(taken)


def _is_enough(union: Mask, rules: PictureRules) -> bool:
    return not (rules.area and union.mean() < rules.area[0]) and not (rules.count and _places(union) < rules.count[0])


def _is_too_much(union: Mask, rules: PictureRules) -> bool:
    return bool(rules.area and union.mean() > rules.area[1]) or bool(rules.count and _places(union) > rules.count[1])


def _places(union: Mask) -> int:
    """Separate places of a mask, 8-connected."""
    return int(cv2.connectedComponents(union.astype(np.uint8), connectivity=8)[0]) - 1


def _background_degree(
    picture: U8,
    zmap: F32,
    candidates: Sequence[Candidate],
    inspected: Mask | None,
    book: RuleBook,
    reference: NormalReference,
) -> float:
    """How anomalous everything outside the candidates is: the residual's evidence, less what normal rules say of it."""
    rest = np.ones(zmap.shape, bool) if inspected is None else inspected.copy()
    for candidate in candidates:
        rest[candidate.window] &= ~candidate.mask
    if not rest.any():
        return 0.0
    values = zmap[rest]
    background = Candidate(0, 0, rest, -1, float(values.mean(dtype=np.float64)), float(values.max()))
    evidence = float(model_evidence(background.mean_z))
    if not any(rule.conclusion == "normal" for rule in book.rules):
        return evidence
    scaled = reference.scaled(book, measure(picture, [background], inspected))
    return evidence * (1 - float(score_by_rules(book, reference, scaled).normal[0]))


def _painted_degrees(candidates: Sequence[Candidate], degrees: F64, around: float, shape: tuple[int, ...]) -> F32:
    """pi(p): the highest degree of the regions that hold p; outside of all, the background's."""
    pi = np.full(shape, -1, np.float32)
    for candidate, degree in zip(candidates, degrees, strict=True):
        place = pi[candidate.window]
        place[candidate.mask] = np.maximum(place[candidate.mask], np.float32(degree))
    pi[pi < 0] = around
    return pi


def _states(
    pi: F32, candidates: Sequence[Candidate], chosen: frozenset[int], unexplained: NDArray[np.bool_]
) -> NDArray[np.int8]:
    state = np.full(pi.shape, IGNORED, np.int8)
    state[pi <= NORMAL_UP_TO] = NORMAL
    anomalous = np.zeros(pi.shape, np.uint8)
    doubtful = np.zeros(pi.shape, bool)
    # from the outside in: the innermost region that holds a pixel has the say
    for index in sorted(range(len(candidates)), key=lambda index: candidates[index].level):
        candidate = candidates[index]
        doubtful[candidate.window][candidate.mask] = unexplained[index]
        if index in chosen:
            anomalous[candidate.window][candidate.mask] = 1
    state[doubtful] = IGNORED
    near = cv2.dilate(anomalous, np.ones((2 * _GAP_PX + 1, 2 * _GAP_PX + 1), np.uint8))
    state[(near > 0) & (state == NORMAL)] = IGNORED
    state[anomalous > 0] = ANOMALOUS
    return state
