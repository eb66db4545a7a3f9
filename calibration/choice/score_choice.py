"""Choose how a network's outputs become a score: on good parts held out, against defects that training never drew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from calibration.choice.figures import Figure, Judge
from calibration.choice.measured import Measured
from calibration.choice.scores import score_all
from edge.core.manifest import ScoreSpec

# of image AUROC: smaller differences could not be seen on a line
EQUAL = 0.005
# what taking the median off must bring, and in how many standard errors: an artificial defect leaves the rest of a good
# part as it was, so that the part's own level tells nothing of it. Real defects often change the whole part
_MEDIAN_BRINGS, _MEDIAN_ERRORS = 0.02, 2.0
RULE = (
    "score path: mean over families, small and large, of the image AUROC of artificial defects that training never "
    "draws, on held-out normals against these, cross-fitted; within one standard error of the best, or 0.005, the "
    "simpler: fewer evidences, the smaller map, the more usual smoothing and top share; less the median only where "
    "that brings two standard errors and 0.02"
)


@dataclass(frozen=True)
class Choice:
    """The score path chosen, and the figure of every candidate.

    weighed: how many evidences. tied: how many candidates were as good as `best`, the best of all. exhibits: what was
    judged by, in words. run_ms: one run of the network in FP32.
    """

    name: str
    spec: ScoreSpec
    figures: dict[str, Figure]
    weighed: int
    best: str
    tied: int
    exhibits: str
    run_ms: float

    @property
    def figure(self) -> Figure:
        return self.figures[self.name]

    @property
    def selection(self) -> str:
        """For the manifest: the rule, what was judged by, what was chosen, and what the best reached."""
        return (
            f"{RULE}; {self.exhibits}; chosen: {self.name}, {self.figure.mean:.3f} ± {self.figure.spread:.3f}; "
            f"best of {len(self.figures)}: {self.best}, {self.figures[self.best].mean:.3f}"
        )


def choose_score(
    candidates: Mapping[str, ScoreSpec],
    measured: Measured,
    seed: int,
    progress: Callable[[int, int, str], None] = lambda done, total, shown: None,
) -> Choice:
    """candidates: in the order in which equals are preferred, first those that are usual."""
    exhibits = measured.exhibits
    scores = score_all(candidates, measured, progress)
    judge = Judge(exhibits, seed)
    figures = {name: judge.figure(found) for name, found in scores.items()}
    plain = [name for name in figures if not candidates[name].image_score.minus_median] or list(figures)
    best = max(figures, key=lambda name: figures[name].mean)
    best_plain = max(plain, key=lambda name: figures[name].mean)
    if as_good(figures[best_plain], figures[best], _MEDIAN_BRINGS, _MEDIAN_ERRORS):
        best = best_plain
    else:
        plain = list(figures)
    tied = [name for name in plain if as_good(figures[name], figures[best])]
    # the first of equally simple ones: the order is that of the candidates
    name = min(tied, key=lambda name: simplicity(candidates[name], measured))
    judged = f"{exhibits.good} normals and {len(exhibits) - exhibits.good} defects ({', '.join(exhibits.names)})"
    weighed = len(evidences(candidates[name], measured.names))
    return Choice(name, candidates[name], figures, weighed, best, len(tied), judged, measured.run_ms)


def as_good(figure: Figure, best: Figure, least: float = EQUAL, errors: float = 1.0) -> bool:
    """Whether a figure is within so many standard errors of the difference, or `least`, of the best of these parts."""
    return best.mean - figure.mean <= max(least, errors * float((best.draws - figure.draws).std()))


def simplicity(spec: ScoreSpec, measured: Measured) -> tuple[int, bool, int]:
    """Smaller is simpler: evidences that are weighed, whether the median is taken off, places of the map."""
    height, width = measured.exhibits.fields.shape[1:3]
    places = (height // spec.map_scale) * (width // spec.map_scale)
    return len(evidences(spec, measured.names)), spec.image_score.minus_median, places


def evidences(spec: ScoreSpec, outputs: Collection[str]) -> tuple[str, ...]:
    """Which of a network's outputs a score path weighs."""
    there = {"recon": spec.residual.used, "seg_logit": "seg_logit" in outputs, "emb_dist": "emb_dist" in outputs}
    names = [name for name, present in there.items() if present]
    blend = spec.blend
    if blend.mode == "sum":
        weights = {"recon": blend.alpha, "seg_logit": blend.beta, "emb_dist": blend.gamma}
        return tuple(name for name in names if weights[name] > 0)
    if blend.mode == "product" and len(names) == 2:
        return tuple(name for name, weight in zip(names, (blend.alpha, blend.beta), strict=True) if weight > 0)
    return tuple(names)
