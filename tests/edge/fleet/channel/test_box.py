"""How often a box looks and reports."""

from edge.fleet.channel.box import Reporter, next_look_s
from edge.fleet.channel.box_report import BoxReport, read_reports
from edge.fleet.channel.transport import FolderPlace


def test_what_fails_again_and_again_is_looked_at_less_often_up_to_an_hour():
    assert [next_look_s(300, failures) for failures in (0, 1, 2, 3, 4, 5, 100)] == [
        300,
        300,
        600,
        1200,
        2400,
        3600,
        3600,
    ]
    assert [next_look_s(7200, failures) for failures in (0, 5)] == [7200, 7200]


def test_a_report_is_sent_when_it_says_something_new_and_once_an_hour(tmp_path):
    clock, place = {"s": 100.0}, FolderPlace(tmp_path / "reports")
    send = Reporter(place, lambda: clock["s"])
    report = BoxReport(box="left", software="0", utc="1", version=1, revision=0, state="waiting")
    sent = []
    for changes, s in (
        ({}, 0),
        ({"utc": "2"}, 60),
        ({"state": "live"}, 120),
        ({"utc": "3"}, 600),
        ({"utc": "4"}, 3730),
    ):
        clock["s"] = 100.0 + s
        report = report.model_copy(update=changes)
        send(report)
        sent.append(place.requests)
    assert sent == [1, 1, 2, 2, 3]
    assert [(each.state, each.utc) for each in read_reports(tmp_path / "reports")] == [("live", "4")]


def test_a_report_that_could_not_be_sent_is_sent_again(channel, box, tmp_path):
    channel.publish(0.4)
    box.settings["report"] = str(tmp_path / "not mounted" / "reports")
    box.takes()
    assert not (tmp_path / "not mounted").exists()
    (tmp_path / "not mounted").mkdir()
    box.takes()
    assert (tmp_path / "not mounted" / "reports" / "left.json").exists()
