"""Publishing a bundle, widening its ring and halting it: one file is replaced, at once and last."""

import json
import os
import shutil
import threading

import pytest

from edge.bundles.bundle import load_bundle
from edge.bundles.signature import key_id, make_keys
from edge.core.errors import BundleError, ChannelError, UsageError
from edge.core.files.file_lock import file_lock
from edge.fleet.channel.box_report import read_reports
from edge.fleet.channel.channel_file import channel_from_bytes
from edge.fleet.channel.publish import advance
from tests.bundle_edits import edit_manifest


def present(channel):
    data = (channel.folder / "channel.json").read_bytes()
    return channel_from_bytes(data, key_id(channel.public), "here").channel


def test_versions_count_up_and_the_bundle_itself_stays_as_it_is(channel):
    before = {file.name: file.read_bytes() for file in channel.source.iterdir()}
    numbers = [channel.publish().channel.number, channel.publish(ring=3).channel.number]
    assert numbers == [(1, 0), (2, 0)]
    assert {file.name: file.read_bytes() for file in channel.source.iterdir()} == before
    assert (present(channel).ring, present(channel).product) == (3, "toy alien")


def test_what_a_box_has_taken_can_be_published_again_as_the_same_version(channel, box):
    first = channel.publish(0.4).channel
    box.takes()
    shutil.rmtree(channel.source)
    shutil.copytree(box.bundle, channel.source)
    again = channel.publish()
    # names that hold their hash already, so that not a byte of the manifest changes
    assert (again.channel.manifest, again.new_bytes) == (first.manifest, 0)
    assert again.channel.manifest.sha256 == load_bundle(box.bundle).sha256


def test_a_damaged_file_in_the_channel_is_stored_anew(channel):
    channel.publish()
    file = channel.file_of("model_fp32")
    file.write_bytes(b"half")
    assert channel.publish().new_bytes == file.stat().st_size


def test_nothing_is_published_over_another_channel(channel, tmp_path):
    channel.publish()
    before = (channel.folder / "channel.json").read_bytes()
    mine, channel.key = channel.key, tmp_path / "other.pem"
    make_keys(channel.key)
    with pytest.raises(ChannelError, match="signed by key"):
        channel.publish()
    channel.key = mine
    edit_manifest(channel.source, lambda values: values.update(product="bracket"))
    with pytest.raises(UsageError, match="is the channel of 'toy alien' by memory; this bundle is 'bracket' by memory"):
        channel.publish()
    assert (channel.folder / "channel.json").read_bytes() == before


def test_a_damaged_bundle_is_not_published(channel):
    (channel.source / "ranges.json").write_text("{}")
    with pytest.raises(BundleError, match=r"ranges\.json is damaged"):
        channel.publish()
    assert not (channel.folder / "channel.json").exists()


def test_a_lost_folder_is_begun_anew_above_the_number_that_boxes_know(channel, box):
    channel.publish()
    channel.publish(0.4)
    box.takes()
    (channel.folder / "channel.json").write_text("lost")
    with pytest.raises(ChannelError, match="not a channel file") as refusal:
        channel.publish()
    assert "--version" in refusal.value.fix
    (channel.folder / "channel.json").unlink()
    channel.publish(0.3)
    box.refuses("version 1.0 is older than version 2.0")
    with pytest.raises(UsageError, match="--version 1: the channel is at version 1"):
        channel.publish(version=1)
    channel.publish(version=3)
    assert box.takes().version == 3


def test_two_that_publish_at_once_are_one_too_many(channel):
    channel.publish()
    with (
        file_lock(channel.folder / "publish.lock"),
        pytest.raises(ChannelError, match="another process publishes there"),
    ):
        channel.publish()


def test_a_file_is_there_before_the_channel_names_it(channel, box):
    """A box that looks all the time never finds a channel whose files are missing."""
    channel.publish(0.4)
    stop, found = threading.Event(), []

    def look():
        while not stop.is_set():
            found.append(box.look())

    looking = threading.Thread(target=look)
    looking.start()
    for threshold in (0.41, 0.42, 0.43):
        channel.publish(threshold)
    stop.set()
    looking.join()
    assert {(each.failure, each.report.state) for each in found} == {(None, "live")}


def test_a_person_can_widen_and_halt_and_a_halted_version_needs_a_new_one(channel):
    channel.publish()
    assert advance(channel.folder, channel.key, ring=3).channel.ring == 3
    with pytest.raises(UsageError, match="is at ring 3 already"):
        advance(channel.folder, channel.key, ring=2)
    assert advance(channel.folder, channel.key).action == "wait"
    assert advance(channel.folder, channel.key, halt="smoke").channel.halted == "smoke"
    step = advance(channel.folder, channel.key)
    assert (step.action, step.why) == ("halted", "version 1 was halted: smoke")
    with pytest.raises(UsageError, match="nothing is published there"):
        advance(channel.folder.with_name("nothing"), channel.key)


def test_a_halt_without_a_reason_and_a_folder_of_reports_that_is_not_there_are_refused(channel, box):
    """Both would be an ordinary `advance`: one may widen what was to be halted, the other never halts."""
    channel.publish()
    before = present(channel)
    for reason in ("", " "):
        with pytest.raises(UsageError, match="--halt says nothing"):
            advance(channel.folder, channel.key, halt=reason)
    with pytest.raises(UsageError, match="no such folder"):
        advance(channel.folder, channel.key, reports=channel.folder / "nothing")
    assert present(channel) == before
    # typed at a terminal of another encoding
    assert advance(channel.folder, channel.key, halt="zu gro\udcdf").channel.halted == "zu gro\\udcdf"
    assert box.look().report.state == "halted"


def test_reports_halt_a_version_and_odd_files_among_them_are_left_out(channel, box, caplog):
    channel.publish()
    box.settings["report"] = str(channel.folder / "reports")
    box.takes()
    file = channel.folder / "reports" / "left.json"
    values = json.loads(file.read_text())
    worse = {"before": {"parts": 1000, "ng": 1}, "after": {"parts": 200, "ng": 90}}
    file.write_text(json.dumps({**values, **worse}))
    (file.parent / "right.json").write_text(file.read_text())
    (file.parent / "half.json").write_text('{"report": 1,')
    (file.parent / "new.json").write_text(json.dumps({**values, "box": "new", "report": 2}))
    (file.parent / "huge.json").write_bytes(b" " * 100_000)
    # what would take the memory of whoever judges it
    (file.parent / "many.json").write_text(
        json.dumps({**values, "box": "many", "after": {"parts": 10**12, "ng": 10**11}})
    )
    (file.parent / "loop.json").symlink_to("loop.json")
    (file.parent / "folder.json").mkdir()
    os.mkfifo(file.parent / "pipe.json")
    (file.parent / "deep.json").write_text("[" * 16_000)
    assert [report.box for report in read_reports(file.parent)] == ["left"]
    assert sum("is no report" in record.message for record in caplog.records) == 8
    assert "is the report of another box: left" in caplog.text
    step = advance(channel.folder, channel.key)
    assert step.action == "halt"
    assert step.why.startswith(
        "1 of 1 boxes with version 1 got worse: left: rejects 38.0% or more, before 0.6% or less"
    )
    assert present(channel).halted == step.why
