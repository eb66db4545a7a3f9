"""Start of shift: golden parts must come out OK and defects NG before a line counts as ready.

Pictures go in, a verdict on each comes out. `challenge_records` keeps them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from edge.core.datatypes import Decision, Frame, Verdict
from edge.inspection.inspector import Inspector
from edge.inspection.synthetic_defects import synthetic_defects

# golden: a part known to be good; synthetic: a defect drawn on it; defective: a part known to be so
Kind = Literal["golden", "synthetic", "defective"]


@dataclass(frozen=True)
class JudgedPart:
    """The verdict on one picture. score: None where nothing was scored. review: OK, in the unsure band."""

    kind: Kind
    name: str
    decision: Decision
    score: float | None
    detail: str
    review: bool = False

    @property
    def right(self) -> bool:
        return self.decision is (Decision.OK if self.kind == "golden" else Decision.NG)


@dataclass(frozen=True)
class Challenge:
    """All parts of one challenge with their verdicts, and what judged them."""

    utc: datetime
    source: str
    bundle_sha256: str
    model_sha256: str
    threshold: float
    parts: tuple[JudgedPart, ...]

    def of(self, *kinds: Kind) -> list[JudgedPart]:
        return [part for part in self.parts if part.kind in kinds]

    @property
    def passed(self) -> bool:
        """Every verdict is right, and there were both good parts and defects."""
        both = bool(self.of("golden")) and bool(self.of("synthetic", "defective"))
        return both and all(part.right for part in self.parts)

    @property
    def golden_score(self) -> float | None:
        """The median score of the golden parts, whose trend shows changes of light, lens and position."""
        scores = [part.score for part in self.of("golden") if part.score is not None]
        return statistics.median(scores) if scores else None

    def summary(self) -> str:
        """READY or NOT READY, and why, in one line."""
        golden, defects = self.of("golden"), self.of("synthetic", "defective")
        accepted, found = sum(part.right for part in golden), sum(part.right for part in defects)
        text = f"{accepted} of {len(golden)} golden parts OK, {found} of {len(defects)} defects found"
        lacks = "; no golden part was shown" * (not golden) + "; no defect was shown" * (not defects)
        return f"{'READY' if self.passed else 'NOT READY'}: {text}{lacks}"

    def as_json(self) -> dict[str, Any]:
        return {
            "ready": self.passed,
            "utc": self.utc.isoformat(timespec="seconds"),
            "source": self.source,
            "bundle_sha256": self.bundle_sha256,
            "engine_sha256": self.model_sha256,
            "threshold": self.threshold,
            "golden_score": self.golden_score,
            "looks": [{**vars(part), "decision": str(part.decision), "right": part.right} for part in self.parts],
        }


@dataclass(frozen=True)
class Shown:
    """One picture of a challenge with its verdict, to be drawn."""

    part: JudgedPart
    frame: Frame
    verdict: Verdict


def challenged(
    inspector: Inspector, parts: Iterable[tuple[Kind, str, Frame]], defects: int, area: float
) -> Iterator[Shown]:
    """Judge each part, and `defects` synthetic defects of this share of the area on each golden part."""
    for kind, name, frame in parts:
        shown = _shown(inspector, kind, name, frame)
        yield shown
        if kind != "golden" or frame.image is None or shown.verdict.decision is Decision.INVALID:
            continue
        for defect in synthetic_defects(frame.image, inspector.preprocess, defects, area):
            text = f"{defect.name} of {100 * defect.area:.2g} % on {name}"
            # the time that drawing took is not the line's
            now_ns = time.perf_counter_ns()
            yield _shown(inspector, "synthetic", text, replace(frame, image=defect.picture, captured_ns=now_ns))


def _shown(inspector: Inspector, kind: Kind, name: str, frame: Frame) -> Shown:
    verdict = inspector.inspect(frame)
    detail = verdict.detail if verdict.score is not None else f"{verdict.reason}: {verdict.detail}"
    return Shown(JudgedPart(kind, name, verdict.decision, verdict.score, detail, verdict.review), frame, verdict)
