"""The gate: verdicts and maps of two judges compared, limits kept or named, and a page that shows it."""

import json
import re

import numpy as np
import pytest

from edge.core.config import GateSettings
from edge.core.datatypes import AnomalyMap
from edge.core.errors import ModelError, UsageError
from export.evaluation_set import at_shape
from export.gate import gate_report
from export.gate_page import gate_page
from export.paired_scores import GateSample, ScoredModel, score_pairs

ROWS, COLUMNS = 16, 24
MASK = np.zeros((ROWS, COLUMNS), np.bool_)
MASK[4:8, 4:8] = True


class Told:
    """A backend that says what a frame's first two pixels tell it: the score, and how far the defect stands out."""

    model_sha256 = "e" * 64

    def __init__(self, name, shift=lambda score: score, stands_out=1.0):
        self.name, self._shift, self._stands_out = name, shift, stands_out

    def score(self, image, clock):
        score = self._shift(float(image[0, 0, 0]) / 100)
        values = np.full((ROWS, COLUMNS), 0.01, np.float32) + np.linspace(0, 0.001, COLUMNS, dtype=np.float32)
        values[MASK] += np.float32(self._stands_out * score)
        return AnomalyMap(values, score, 0)

    def close(self):
        pass


def gate_samples(good=(10, 12, 14, 16), bad=(60, 70, 80)):
    frame = lambda score: np.full((20, 30, 3), score, np.uint8)  # noqa: E731
    return [
        *(GateSample(f"good {score}", frame(score), False) for score in good),
        *(GateSample(f"bad {score}", frame(score), True, MASK) for score in bad),
    ]


def judged(candidate, parts=None, budget=0.005, **limits):
    judges = ScoredModel(Told("exact"), 0.5), ScoredModel(candidate, 0.5)
    pairs = score_pairs(gate_samples() if parts is None else parts, *judges)
    report = gate_report(
        pairs, *judges, GateSettings(**limits), budget=budget, target="cpu", precision="int8", defects="scratches",
        created_utc="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return report, pairs


def test_the_same_judge_twice_passes_with_nothing_changed():
    report, _ = judged(Told("same"))
    assert report.passed
    assert (report.new_rejects, report.fewer_rejects, report.missed, report.found) == (0, 0, 0, 0)
    assert (*report.auroc, *report.aupro) == pytest.approx((1.0,) * 4)
    assert (report.score_shift_max, report.map_difference_max) == (0, 0)
    assert report.map_correlation == pytest.approx(1)


def test_a_good_part_that_is_newly_rejected_is_one_too_many():
    report, _ = judged(Told("nervous", lambda score: score if score != 0.16 else 0.55))
    assert (report.new_rejects, report.flips_allowed) == (1, 0)
    assert report.exceeded == ("1 good parts newly rejected, 0 allowed",)


def test_the_false_reject_budget_allows_its_share_of_flips_and_the_limit_overrides_it():
    nervous = Told("nervous", lambda score: score if score != 0.16 else 0.55)
    assert judged(nervous, budget=0.25)[0].passed
    assert judged(nervous, flip_share=0.25)[0].passed
    assert not judged(nervous, budget=0.25, flip_share=0.2)[0].passed


def test_a_good_part_that_is_no_longer_rejected_is_counted_and_not_held_against_it():
    calm, parts = Told("calm", lambda score: min(score, 0.48)), gate_samples(good=(10, 12, 55), bad=(99,))
    report, _ = judged(calm, parts, auroc_drop=1.0, aupro_drop=1.0, missed_share=1.0)
    assert (report.fewer_rejects, report.new_rejects, report.missed) == (1, 0, 1)
    assert report.passed


def test_a_falling_auroc_is_refused_beyond_its_limit():
    deaf = Told("deaf", lambda score: min(score, 0.55 + score / 100) if score < 0.6 else 0.11)
    report, _ = judged(deaf)
    # of four good parts three now score above every defective one
    assert report.auroc == (1.0, 0.25)
    assert 0.25 <= report.auroc_drop_proven < 0.75
    assert [reason for reason in report.exceeded if reason.startswith("image AUROC falls by 0.7500, by 0.")]
    assert not [reason for reason in judged(deaf, auroc_drop=0.75)[0].exceeded if "AUROC" in reason]


def test_one_pair_of_few_that_changes_places_proves_nothing():
    report, _ = judged(
        Told("other", lambda score: 0.59 if score == 0.55 else score), gate_samples(bad=(55, 57, 90, 95))
    )
    assert report.auroc_drop_proven == 0
    mixed = gate_samples(good=(10, 12, 14, 16, 18, 20, 22, 49), bad=(48, 52, 60, 70, 80, 90))
    report, _ = judged(Told("other", lambda score: 0.53 if score == 0.52 else 0.47 if score == 0.48 else score), mixed)
    assert report.auroc[0] - report.auroc[1] < 0.005
    swapped, _ = judged(Told("other", lambda score: 0.48 if score == 0.52 else score), mixed, missed_share=1.0)
    assert swapped.auroc[0] - swapped.auroc[1] == pytest.approx(1 / 48)
    assert swapped.auroc_drop_proven == 0
    assert swapped.passed


def test_defective_parts_that_are_newly_missed_are_limited_and_those_newly_found_deducted():
    parts = gate_samples(bad=(48, 52, 60, 70))
    dull = Told("dull", lambda score: 0.49 if score == 0.52 else score)
    assert "1 more defective parts missed, 0 allowed" in judged(dull, parts)[0].exceeded
    assert judged(dull, parts, missed_share=0.25)[0].passed
    other = Told("other", lambda score: {0.52: 0.49, 0.48: 0.51}.get(score, score))
    assert judged(other, parts)[0].passed


def test_maps_that_lose_the_defect_are_refused_although_every_verdict_is_the_same():
    report, _ = judged(Told("blind", stands_out=-0.01))
    assert (report.missed, report.new_rejects, report.auroc) == (0, 0, (1.0, 1.0))
    assert [reason for reason in report.exceeded if reason.startswith("AUPRO falls by")]
    assert report.map_correlation < 0.5


def test_one_map_of_many_that_loses_its_defect_proves_nothing():
    class Forgetful(Told):
        def score(self, image, clock):
            found = super().score(image, clock)
            return found if found.score != 0.66 else AnomalyMap(np.roll(found.values, 8, axis=0), found.score, 0)

    many = gate_samples(bad=tuple(range(60, 90)))
    report, _ = judged(Forgetful("forgetful"), many)
    assert report.aupro[0] - report.aupro[1] > 0.01
    assert report.aupro_drop_proven <= 0.01
    assert report.passed
    few, _ = judged(Told("blind", stands_out=-0.01), many)
    assert few.aupro_drop_proven > 0.5 and not few.passed


def test_score_shifts_are_told_in_margins():
    # the median good score lies 0.37 below the threshold
    report, _ = judged(Told("shifted", lambda score: score + 0.037))
    assert report.margin == pytest.approx(0.37)
    assert report.score_shift_mean == pytest.approx(0.1)


def test_without_defects_or_masks_nothing_is_said_about_finding_them():
    report, _ = judged(Told("same"), gate_samples(bad=()))
    assert (report.auroc, report.aupro, report.passed) == (None, None, True)
    unmasked = [*gate_samples(bad=()), GateSample("bad", np.full((20, 30, 3), 90, np.uint8), True)]
    report, _ = judged(Told("same"), unmasked)
    assert (report.auroc, report.aupro) == ((1.0, 1.0), None)


def test_without_good_parts_there_is_no_gate():
    with pytest.raises(UsageError, match="no good parts"):
        judged(Told("same"), gate_samples(good=()))


def test_a_network_that_fails_fails_the_replay():
    def fail(score):
        raise ModelError("not finite", fix="none")

    with pytest.raises(ModelError):
        judged(Told("broken", fail))


def test_a_judge_remembers_what_it_saw_and_keeps_it_for_another_threshold():
    reference, asked = ScoredModel(Told("exact"), 0.5), []
    for threshold in (0.5, 0.65):
        candidate = ScoredModel(Told("counting", lambda score: asked.append(score) or score), threshold)
        score_pairs(gate_samples(), reference, candidate)
        reference.backend = None
        again = score_pairs((), reference, ScoredModel(None, 0.65, candidate.sample_scores))
        assert [part.candidate_excess > 0 for part in again] == [False] * 5 + [True] * 2
    assert len(asked) == 2 * len(gate_samples())


def test_the_report_is_json_and_says_whether_it_passed():
    report, _ = judged(Told("nervous", lambda score: score if score != 0.16 else 0.55))
    values = json.loads(json.dumps(report.as_dict()))
    assert values["passed"] is False
    assert values["candidate"] == {"backend": "nervous", "model_sha256": "e" * 64, "threshold": 0.5}
    assert "REFUSED: 1 good parts newly rejected" in report.summary()[0]


def test_the_page_shows_the_parts_that_flipped_first_and_runs_and_fetches_nothing():
    report, pairs = judged(Told("nervous", lambda score: score if score != 0.16 else 0.55))
    page = gate_page(report, pairs).decode()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions[0].startswith("good 16 (good): OK → NG, moved by +")
    assert len(captions) == 7
    assert page.count("<circle") == 7
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)='(?!data:)", page)


def test_names_of_files_cannot_break_the_page():
    parts = [GateSample("<b>&'.png", np.full((20, 30, 3), 10, np.uint8), False)]
    page = gate_page(*judged(Told("same"), parts)).decode()
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;&#39;.png" in page


def test_masks_take_the_shape_of_maps_of_any_aspect():
    mask = np.zeros((64, 96), np.bool_)
    mask[8:16, 24:40] = True
    # half of a place and more counts
    mask[32:34, 60:64] = mask[40:41, 60:64] = True
    small = at_shape(mask, (16, 24))
    assert small.shape == (16, 24)
    assert np.argwhere(small).tolist() == [[y, x] for y in (2, 3) for x in range(6, 10)] + [[8, 15]]
