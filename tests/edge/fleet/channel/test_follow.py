"""What a box takes of a channel, what it refuses, and in which words; the live bundle stays as it is, byte for byte."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.bundles.signature import make_keys, require_signature
from edge.bundles.versions import roll_back
from edge.core.errors import ChannelError, UsageError
from edge.fleet.channel.memory import only_follower
from edge.fleet.channel.publish import advance
from tests.bundle_edits import commit_threshold, edit_manifest
from tests.edge.fleet.channel.conftest import content


def test_a_published_version_becomes_live_signed_and_in_the_history(channel, box):
    published = channel.publish(0.4)
    report = box.takes()
    live = load_bundle(box.bundle)
    assert (report.version, report.bundle) == (1, live.sha256) == (1, published.channel.manifest.sha256)
    live.verify()
    require_signature(live, channel.public)
    assert live.calibration("int8").threshold == 0.4
    assert [(entry.action, entry.refused) for entry in read_history(box.bundle)] == [
        ("candidate", False), ("channel", False),
    ]  # fmt: skip
    assert box.takes().version == 1
    assert len(read_history(box.bundle)) == 2


def test_only_what_changed_is_stored_and_fetched(channel, box, server, https_box):
    first = channel.publish()
    assert first.new_bytes == first.all_bytes > 7_000_000
    box.takes()
    # the shipped files have other names on the box, and the same content: none of them is fetched
    assert server.sent < 100_000
    before = server.sent
    second = channel.publish(0.4)
    assert second.new_bytes < 150_000
    assert box.takes().version == 2
    assert server.sent - before < 150_000


def test_a_box_without_a_bundle_gets_its_first(channel, box):
    channel.publish()
    shutil.rmtree(box.bundle)
    assert box.takes().version == 1
    load_bundle(box.bundle).verify()


def test_a_channel_of_another_key_is_refused(channel, box, tmp_path):
    stranger = tmp_path / "stranger.pem"
    make_keys(stranger)
    channel.key = stranger
    channel.publish(0.4)
    box.refuses("signed by key", "and this box trusts")
    assert not (box.bundle / "history.jsonl").exists()


def test_a_channel_that_was_changed_after_it_was_signed_is_refused(channel, box):
    channel.publish(0.4)
    file = channel.folder / "channel.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "channel": values["channel"].replace('"ring":1', '"ring":3')}))
    box.refuses("the signature does not fit: the file was changed after it was signed")
    file.write_bytes(file.read_bytes()[:200])
    box.refuses("not a channel file, or not a whole one")
    file.write_text("[" * 60000)
    box.refuses("not a channel file")


def test_an_older_channel_is_refused_also_after_a_restart_and_going_back_is_a_new_version(channel, box):
    channel.publish(0.4)
    first = (channel.folder / "channel.json").read_bytes()
    box.takes()
    at_first = load_bundle(box.bundle).sha256
    channel.publish(0.3)
    box.takes()
    second = (channel.folder / "channel.json").read_bytes()
    (channel.folder / "channel.json").write_bytes(first)
    box.refuses("version 1.0 is older than version 2.0, which this box has seen", "publish the older bundle as a new")
    assert not any(entry.refused for entry in read_history(box.bundle)), "a server must not fill the history"
    (channel.folder / "channel.json").write_bytes(second)
    channel.publish(0.4)
    assert box.takes().version == 3
    assert load_bundle(box.bundle).sha256 == at_first


def test_two_files_of_the_same_number_are_noticed(channel, box):
    channel.publish(0.4)
    box.takes()
    shutil.rmtree(channel.folder)
    channel.publish(0.3)
    box.refuses("another file of version 1.0 than this box has seen: two were signed")


def test_files_that_were_cut_off_exchanged_or_are_missing_are_refused(channel, box):
    channel.publish(0.4)
    file = channel.file_of("calibration_int8")
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    box.refuses(f"{len(whole) - 100} bytes, and the signed manifest says {len(whole)}", state="waiting")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    box.refuses("same size, other content", "copy the folder of the channel to the server again", state="waiting")
    file.unlink()
    box.refuses("No such file", state="waiting")
    file.mkdir()
    box.refuses("is not a plain file", state="waiting")
    file.rmdir()
    file.write_bytes(whole)
    manifest = channel.folder / "files" / json.loads(
        json.loads((channel.folder / "channel.json").read_text())["channel"]
    )["manifest"]["sha256"]  # fmt: skip
    data = manifest.read_bytes()
    manifest.write_bytes(data.replace(b'"toy alien"', b'"toy agent"'))
    box.refuses("is damaged", state="waiting")
    assert not (box.bundle / "history.jsonl").exists(), "a server must not fill the history"
    manifest.write_bytes(data)
    box.takes()


def test_a_share_that_is_being_copied_and_trouble_of_one_box_halt_no_version(channel, box):
    channel.publish(0.4)
    box.settings["report"] = str(channel.folder / "reports")
    file = channel.file_of("calibration_int8")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    box.refuses("100 bytes, and the signed manifest says", state="waiting")
    assert advance(channel.folder, channel.key).action == "wait"
    file.write_bytes(whole)
    manifest = (box.bundle / "manifest.json").read_bytes()
    (box.bundle / "manifest.json").write_bytes(manifest[:100])
    found = box.look()
    assert (found.report.state, found.report.version) == ("waiting", 1)
    assert "manifest.json" in found.report.why
    assert advance(channel.folder, channel.key).action == "wait"
    (box.bundle / "manifest.json").write_bytes(manifest)
    box.takes()


def test_a_refusal_is_in_the_history_once(channel, box, tmp_path):
    channel.publish(0.4)
    box.inspection = {"signed_by": str(make_keys(tmp_path / "other.pem"))}
    for _ in range(2):
        box.refuses("signed by key")
    assert sum(entry.refused for entry in read_history(box.bundle)) == 1


def test_a_bundle_of_another_product_method_or_region_is_refused(channel, box, subtests):
    cases = {
        "product": lambda values: values.update(product="bracket"),
        "method": lambda values: values.update(method="kist"),
        "picture size, region or alignment": lambda values: values["preprocess"].update(rectangle=[0, 0, 300, 300]),
    }
    for what, change in cases.items():
        with subtests.test(what):
            source = shutil.copytree(channel.source, channel.source.with_name(what[:6]), dirs_exist_ok=True)
            edit_manifest(source, change)
            shutil.rmtree(channel.folder, ignore_errors=True)
            shutil.rmtree(box.bundle / "channel", ignore_errors=True)
            replace(channel, source=source).publish()
            box.refuses(f"another {what} than the live one")


def test_the_lines_own_key_is_asked_too_before_the_version_is_live(channel, box, tmp_path):
    other = make_keys(tmp_path / "other.pem")
    channel.publish(0.4)
    box.inspection = {"signed_by": str(other)}
    box.refuses("signed by key")


def test_what_is_on_the_disk_under_a_needed_name_is_not_overwritten(channel, box):
    channel.publish(0.4)
    entry = load_bundle(channel.source).manifest.files["calibration_int8"]
    assert entry.sha256[:8] in entry.name
    (box.bundle / entry.name).write_bytes(b"something else")
    box.refuses("is there, and is not the file of this name that came", state="waiting")


def test_folders_whose_names_are_no_text_are_followed_and_reported(channel, box, tmp_path):
    odd = tmp_path / os.fsdecode(b"b\xfcndel %1 'x")
    try:
        box.bundle = shutil.copytree(box.bundle, odd)
    except OSError:
        pytest.skip("this file system takes no such names")
    channel.folder = tmp_path / os.fsdecode(b"c\xff")
    channel.publish(0.4)
    file = channel.file_of("calibration_int8")
    file.rename(channel.folder / "aside")
    box.settings |= {"source": str(channel.folder), "report": str(tmp_path / "reports")}
    found = box.refuses("No such file", state="waiting")
    assert "c\\udcff/files" in found.report.why
    (channel.folder / "aside").rename(file)
    box.takes()
    assert (tmp_path / "reports" / "left.json").exists()


@pytest.fixture
def small_disk(tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", directory], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def test_a_disk_that_is_too_small_is_told_before_and_a_full_one_in_the_middle(channel, box, small_disk, monkeypatch):
    channel.publish(0.4)
    box.bundle = shutil.copytree(box.bundle, small_disk / "live")
    box.refuses("MB more, with 32.0 MB left over", "make room", state="waiting")
    # somebody else fills it after the look
    monkeypatch.setattr("edge.fleet.channel.download.SPARE_BYTES", -(10**9))
    box.refuses("No space left on device", "make room", state="waiting")
    free = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), free.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    channel.publish(0.3)
    box.refuses("No space left on device", state="waiting")
    free.unlink()
    subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
    monkeypatch.undo()
    assert box.takes().version == 2


def test_two_followers_of_one_bundle_are_one_too_many(channel, box):
    channel.publish(0.4)
    before = content(box.bundle)
    with only_follower(box.bundle), pytest.raises(ChannelError, match="another process follows a channel"):
        box.look()
    assert content(box.bundle) == before
    box.takes()


def test_what_is_remembered_is_not_given_up_for_a_damaged_file(channel, box):
    channel.publish(0.4)
    box.takes()
    (box.bundle / "channel" / "state.json").write_text('{"version": ')
    channel.publish(0.3)
    box.refuses("state.json cannot be read")


def test_a_change_on_the_box_stays_until_the_next_version(channel, box):
    channel.publish(0.4)
    box.takes()
    local = commit_threshold(load_bundle(box.bundle), 0.35)
    report = box.takes()
    assert report.bundle == local.sha256
    assert "was changed on this box since" in report.why
    roll_back(box.bundle)
    assert load_bundle(box.bundle).calibration("int8").threshold == 0.4
    channel.publish(0.3)
    assert box.takes().version == 2
    assert load_bundle(box.bundle).calibration("int8").threshold == 0.3


def test_a_stop_between_the_switch_and_the_note_of_it_changes_nothing(channel, box):
    channel.publish(0.4)
    box.takes()
    state = box.bundle / "channel" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "done": 0}))
    entries = read_history(box.bundle)
    assert box.takes().version == 1
    assert read_history(box.bundle) == entries


def test_a_box_waits_for_its_ring_and_a_halted_version_comes_to_no_box(channel, box):
    channel.publish(0.4)
    waiting = box.look(ring=2)
    assert (waiting.failure, waiting.report.state) == (None, "waiting")
    assert waiting.report.why == "version 1 is for ring 1 (1 % of boxes); this box is in ring 2"
    advance(channel.folder, channel.key, ring=2)
    opened = (channel.folder / "channel.json").read_bytes()
    advance(channel.folder, channel.key, halt="too many rejects in hall 3")
    halted = box.look(ring=2)
    assert (halted.report.state, halted.report.why) == ("halted", "version 1 is halted: too many rejects in hall 3")
    # somebody serves the file from before the halt
    (channel.folder / "channel.json").write_bytes(opened)
    box.refuses("version 1.1 is older than version 1.2", ring=2)
    channel.publish(0.3)
    assert box.takes().version == 2


def test_a_box_says_what_its_settings_lack(channel, box):
    channel.publish()
    with pytest.raises(Exception, match=r"channel\.signed_by is null"):
        box.look(signed_by=None)
    with pytest.raises(Exception, match=r"channel\.source is null"):
        box.look(source=None)
    with pytest.raises(UsageError, match="No such file"):
        box.look(signed_by=str(box.bundle / "nothing.pub"))
    (box.bundle / "manifest.json").unlink()
    with pytest.raises(Exception, match="exists and is not a bundle"):
        box.look()
