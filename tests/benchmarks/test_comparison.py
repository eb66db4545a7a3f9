"""Which detector is recommended, and why; and that the page shows what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.comparison import NETWORK, TRIVIAL, Contender, artificial_auroc, lead_interval, recommend
from benchmarks.quality.comparison_page import comparison_page, comparison_text, shown_pictures
from benchmarks.quality.labelled import EVALUATION_SIDE, LabelledPicture, Truth
from benchmarks.quality.predictions import Prediction, Predictions, figures_of_merit
from edge.core.errors import UsageError
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part

GOOD, BAD = 20, 20


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twenty good parts, and twenty bad ones of two kinds."""
    folder = tmp_path_factory.mktemp("parts")
    found = []
    for number in range(GOOD + BAD):
        kind = "good" if number < GOOD else ("scratch", "<dent>")[number % 2]
        path = write_picture(folder / f"{number}.png", (good_part if kind == "good" else bad_part)(number))
        found.append(LabelledPicture(path, kind, None, None))
    return tuple(found)


def contender(pictures, name, group, swapped, artificial=0.9, milliseconds=5.0, seeds=1, mapped=True):
    """A detector that takes `swapped` of the good parts for the worst."""
    scores = np.concatenate([np.linspace(0, 0.4, GOOD), np.linspace(0.5, 0.9, BAD)])
    scores[:swapped] += 0.55
    side = (EVALUATION_SIDE, EVALUATION_SIDE)
    predictions = Predictions(
        pictures=pictures,
        scores=scores,
        maps=tuple(np.full(side, score, np.float32) if mapped else None for score in scores),
        truths=tuple(Truth(np.zeros(side, np.bool_), ()) if p.kind == "good" else None for p in pictures),
        milliseconds=np.full(len(scores), milliseconds),
        n_left_out=0,
        weak_kinds=frozenset(),
    )
    figures = figures_of_merit(predictions, 0.45, 0.005)
    return Contender(name, group, (figures,) * seeds, (artificial,) * seeds, predictions)


def test_artificial_defects_rank_the_networks_that_beat_what_needs_none(pictures):
    bar = contender(pictures, "eigen-images", "network-free", swapped=6)
    perfect = contender(pictures, "perfect on the test", NETWORK, swapped=0, artificial=0.8)
    ranked = contender(pictures, "ranked first", NETWORK, swapped=1, artificial=0.9)
    loser = contender(pictures, "loser", NETWORK, swapped=9, artificial=1.0)
    advice = recommend([perfect, ranked, loser, bar])
    assert (advice.name, advice.bar) == ("ranked first", "eigen-images")
    assert advice.lead.low > 0
    assert "Of 2 methods that beat it" in advice.text
    assert "At its threshold it finds 100% of the defects and rejects 5% of the good parts." in advice.text


def test_of_equally_good_networks_the_faster_is_taken(pictures):
    bar = contender(pictures, "eigen-images", "network-free", swapped=6)
    slow = contender(pictures, "slow", NETWORK, swapped=1, artificial=0.950, milliseconds=9)
    fast = contender(pictures, "fast", NETWORK, swapped=1, artificial=0.947, milliseconds=3)
    assert recommend([slow, fast, bar]).name == "fast"


@pytest.mark.parametrize("swapped", [4, 8])
def test_no_network_is_recommended_that_does_not_beat_what_needs_none(pictures, swapped):
    bar = contender(pictures, "eigen-images", "network-free", swapped=4)
    advice = recommend([contender(pictures, "kist", NETWORK, swapped=swapped, artificial=1.0), bar])
    assert (advice.name, advice.lead) == ("eigen-images", None)
    assert advice.text.startswith("None of the methods beats eigen-images")
    assert "collect more pictures of good parts" in advice.text


def test_one_number_per_picture_that_is_not_beaten_is_a_warning_not_a_recommendation(pictures):
    bar = contender(pictures, "high brightness", TRIVIAL, swapped=0)
    advice = recommend([contender(pictures, "kist", NETWORK, swapped=3), bar])
    assert advice.name is None
    assert "photographed the same way" in advice.text


def test_a_lead_that_may_be_chance_is_called_so(pictures):
    bar = contender(pictures, "eigen-images", "network-free", swapped=2)
    advice = recommend([contender(pictures, "kist", NETWORK, swapped=1), bar])
    assert advice.name == "kist"
    assert advice.lead.low <= 0 < advice.lead.high
    assert "may be chance" in advice.text


def test_a_comparison_needs_both_sides(pictures):
    with pytest.raises(UsageError, match="1 methods and 0 baselines"):
        recommend([contender(pictures, "kist", NETWORK, swapped=1)])


def test_leads_are_of_the_same_pictures_only(pictures):
    one = contender(pictures, "one", NETWORK, swapped=1).predictions
    assert (lead_interval(one, one).low, lead_interval(one, one).high) == (0.0, 0.0)
    other = contender(pictures[::-1], "other", NETWORK, swapped=1).predictions
    with pytest.raises(UsageError, match="different test pictures"):
        lead_interval(one, other)


def test_artificial_defects_are_scored_against_the_parts_they_were_made_of():
    normals, defective = [good_part(0), good_part(1)], [bad_part(0), bad_part(1), good_part(1)]

    def detector(picture, reference):
        return Prediction(float((picture < 20).mean()), None)

    # two of three stand out; the third ties with both good parts
    assert artificial_auroc(detector, normals, defective) == pytest.approx((2 + 0.5) / 3)


def test_the_page_holds_everything_and_loads_nothing(pictures):
    contenders = [
        contender(pictures, "kist", NETWORK, swapped=1, seeds=2),
        contender(pictures, "eigen-images", "network-free", swapped=5),
        contender(pictures, "high brightness", TRIVIAL, swapped=9, mapped=False),
        contender(pictures, "low brightness", TRIVIAL, swapped=12, mapped=False),
    ]
    advice = recommend(contenders)
    page = comparison_page("<plates>", "tiny", contenders, advice)
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 6 * 3
    assert page.count("<svg") == 2
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?:|@import|url\(|<script", page)
    # names of folders are text, not markup
    assert "&lt;plates&gt;" in page
    assert "&lt;dent&gt;" in page
    assert "<dent>" not in page
    assert advice.text in page
    assert "±" in page
    # of one number's directions only the better one
    assert "high brightness" in page
    assert "low brightness" not in page
    assert "Use kist" in comparison_text(contenders, advice)


def test_shown_pictures_come_from_every_kind_good_parts_first():
    parts = [("good", 9), ("dent", 3), ("scratch", 7)]
    pictures = [LabelledPicture(Path(f"{k}/{n}"), k, None, None) for k, count in parts for n in range(count)]
    shown = shown_pictures(pictures)
    assert len(shown) == len(set(shown)) == 6
    assert [pictures[index].kind for index in shown][:2] == ["good", "dent"]
    assert 4 in shown
    assert sum(pictures[index].kind == "good" for index in shown) == 1
