"""Whether a version goes on, waits or is halted: from what boxes report, and from what their records say."""

import pytest

from edge.fleet.channel.box_report import BoxReport
from edge.fleet.channel.channel_file import RINGS, Channel, ChannelFile, ring_of, ring_text
from edge.fleet.channel.figures import PARTS, Figures, figures_of, left_interval, newest_row
from edge.fleet.channel.judgement import judge
from edge.metrics import rate_interval
from edge.review.labels import Answer
from tests.edge.review.review_fakes import INVALID, NG, OK, record, say

FILE = ChannelFile(sha256="0" * 64, bytes=1)
BEFORE = Figures(parts=1000, ng=10, invalid=2)
AS_BEFORE = Figures(parts=1000, ng=13, invalid=1)
WORSE = Figures(parts=1000, ng=60, invalid=1)


def channel(ring=1, version=7):
    return Channel(
        version=version, revision=0, product="plate", method="kist", manifest=FILE, signature=FILE, ring=ring,
        published_utc="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def report(box, after=AS_BEFORE, *, before=BEFORE, state="live", version=7, ring=1, why=""):
    return BoxReport(
        box=f"box{box}", software="0", utc="", version=version, revision=0, state=state, why=why, ring=ring,
        before=before, after=after,
    )  # fmt: skip


def test_a_ring_that_goes_on_as_before_is_widened_up_to_all():
    reports = [report(number) for number in range(10)]
    assert judge(channel(1), reports).action == "widen"
    assert judge(channel(2), reports).action == "widen"
    found = judge(channel(3), reports)
    assert (found.action, found.why) == ("wait", "10 of 10 boxes have version 7")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (WORSE, "rejects 4."),
        (Figures(parts=1000, ng=10, invalid=40), "INVALID 2."),
        (Figures(parts=1000, ng=13, looked_at=13, false_rejects=13), "overkill 0."),
    ],
)
def test_more_rejects_invalid_parts_or_overkill_than_before_halt_it(after, words):
    before = BEFORE.model_copy(update={"looked_at": 10, "false_rejects": 0})
    reports = [report(number, after if number < 2 else AS_BEFORE, before=before) for number in range(10)]
    found = judge(channel(), reports)
    assert found.action == "halt"
    assert found.why.startswith("2 of 10 boxes with version 7 got worse: box0: ")
    assert words in found.why and "or more, before" in found.why


def test_one_box_of_ten_neither_halts_nor_widens_and_one_of_one_halts():
    reports = [report(number, WORSE if number == 0 else AS_BEFORE) for number in range(10)]
    found = judge(channel(), reports)
    assert found.action == "wait"
    assert "too few to halt, too many to go on: 1 of 10 got worse: box0" in found.why
    assert judge(channel(), reports[:1]).action == "halt"


def test_a_box_in_a_hundred_with_a_trouble_of_its_own_stops_nothing():
    reports = [report(number, WORSE if number == 0 else AS_BEFORE) for number in range(100)]
    assert judge(channel(2), reports).action == "widen"


def test_refusals_halt_it_too():
    reports = [
        report(number, state="refused" if number < 2 else "live", why="the trial was refused") for number in range(9)
    ]
    found = judge(channel(), reports)
    assert found.action == "halt"
    assert "box0: refused it: the trial was refused" in found.why


def test_a_ring_waits_for_parts_and_for_nine_boxes_of_ten():
    few = Figures(parts=100, ng=1)
    reports = [report(number, few if number < 2 else AS_BEFORE) for number in range(10)]
    assert judge(channel(), reports).why == "8 of 10 boxes of ring 1 (1 % of boxes) have judged 1000 parts with it"
    assert judge(channel(), reports, parts=100).action == "widen"
    reports = [report(number, state="waiting" if number < 2 else "live") for number in range(10)]
    assert judge(channel(), reports).action == "wait"
    reports = [report(number, version=6 if number < 1 else 7) for number in range(10)]
    assert judge(channel(), reports).action == "widen"


def test_nothing_is_widened_or_halted_without_figures_to_compare():
    assert "no box of ring 1 (1 % of boxes) has reported" in judge(channel(), []).why
    assert "channel.ring: 1" in judge(channel(), [report(1, ring=3)]).why
    nothing = [report(number, Figures(), before=Figures()) for number in range(3)]
    assert judge(channel(), nothing).why.startswith("0 of 3 boxes of ring 1")


def test_rings_are_drawn_by_name_and_version_and_a_small_one_is_inside_the_larger():
    drawn = [ring_of(f"box{number}", 7, None) for number in range(20_000)]
    assert drawn == [ring_of(f"box{number}", 7, None) for number in range(20_000)]
    for ring, share in enumerate(RINGS, 1):
        inside = sum(each <= ring for each in drawn)
        assert rate_interval(inside, len(drawn), 0.999).low <= share <= rate_interval(inside, len(drawn), 0.999).high
    first = {number for number in range(20_000) if drawn[number] == 1}
    again = {number for number in range(20_000) if ring_of(f"box{number}", 8, None) == 1}
    assert len(first & again) < len(first) / 4
    assert ring_of("box1", 7, 2) == 2
    assert [ring_text(ring) for ring in (1, 2, 3)] == [
        "ring 1 (1 % of boxes)", "ring 2 (10 % of boxes)", "ring 3 (all boxes)",
    ]  # fmt: skip


def test_reports_of_another_program_or_hand_do_not_break_the_judgement():
    odd = Figures(parts=3, ng=5, invalid=9, looked_at=8, false_rejects=9)
    assert left_interval(odd, WORSE) == []
    assert left_interval(WORSE, odd) == []
    assert left_interval(Figures(), Figures()) == []


def test_figures_come_from_the_newest_parts_of_a_version(tmp_path):
    record(tmp_path, [*[OK] * 20, *[NG] * 4, *[INVALID] * 2], keep_ok_share=1.0)
    for verdict_id, answer in ((21, Answer.GOOD), (22, Answer.DEFECT), (23, Answer.UNSURE)):
        say(tmp_path, verdict_id, answer)
    say(tmp_path, 24, Answer.GOOD, asked=False)
    sha256 = "b" * 64
    assert figures_of(tmp_path, sha256) == Figures(parts=26, ng=4, invalid=2, looked_at=2, false_rejects=1)
    assert newest_row(tmp_path) == 26
    assert figures_of(tmp_path, sha256, after_row=22) == Figures(parts=4, ng=2, invalid=2)
    assert figures_of(tmp_path, "c" * 64) == Figures()
    record(tmp_path, [OK] * PARTS)
    assert figures_of(tmp_path, sha256) == Figures(parts=PARTS)


def test_there_are_no_figures_without_records(tmp_path):
    assert figures_of(None, "b" * 64) == figures_of(tmp_path, "b" * 64) == Figures()
    (tmp_path / "verdicts.sqlite").write_text("not a database")
    assert (figures_of(tmp_path, "b" * 64), newest_row(tmp_path), newest_row(None)) == (Figures(), 0, 0)
