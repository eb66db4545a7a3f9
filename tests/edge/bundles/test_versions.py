"""Versions of a bundle: what a change leaves behind, what can be gone back to, and what a power cut cannot break."""

import itertools
import json
import multiprocessing
import os
import pathlib

import pytest

from edge.bundles.bundle import MANIFEST, load_bundle
from edge.bundles.history import HISTORY, Audit, read_history, took_effect
from edge.bundles.versions import (
    KEPT_VERSIONS,
    find_version,
    kept_versions,
    roll_back,
    stage_version,
    switch_version,
    write_bundle,
)
from edge.core.errors import BundleError
from tests.bundle_edits import commit_threshold


def threshold_of(path):
    return load_bundle(path).calibration("int8").threshold


def test_the_history_says_who_did_what_and_what_changed(bundle_path):
    before = load_bundle(bundle_path)
    after = commit_threshold(before, 0.75)
    entry = read_history(bundle_path)[-1]
    assert (entry.action, entry.before, entry.after) == ("threshold", before.sha256, after.sha256)
    assert "@" in entry.who
    (changed,) = entry.changed
    assert changed.startswith("int8: threshold")
    assert "to threshold 0.7500 of 24 good parts" in changed


def test_going_back_is_a_change_of_its_own_and_can_be_undone(bundle_path):
    first = load_bundle(bundle_path)
    second = commit_threshold(first, 0.75)
    assert roll_back(bundle_path).sha256 == first.sha256
    assert roll_back(bundle_path).sha256 == second.sha256
    assert [entry.action for entry in read_history(bundle_path)][-2:] == ["rollback", "rollback"]


def test_any_kept_version_can_be_gone_back_to_by_the_beginning_of_its_name(bundle_path):
    first = load_bundle(bundle_path)
    commit_threshold(commit_threshold(first, 0.7), 0.8)
    assert roll_back(bundle_path, first.sha256[:12]).sha256 == first.sha256
    with pytest.raises(BundleError, match="no version 0000 is kept; kept are"):
        find_version(bundle_path, "0000")


def test_the_oldest_versions_go_with_their_own_files_and_the_others_stay_whole(bundle_path):
    first = bundle = load_bundle(bundle_path)
    own = first.manifest.files["calibration_int8"].name
    for step in range(KEPT_VERSIONS + 1):
        bundle = commit_threshold(bundle, 0.5 + step / 100)
    versions = kept_versions(bundle_path)
    assert len(versions) == KEPT_VERSIONS + 1
    assert versions[0].bundle.sha256 == bundle.sha256
    for version in versions:
        version.bundle.verify()
    assert first.sha256 not in {version.bundle.sha256 for version in versions}
    assert not (bundle_path / own).exists()


def test_a_change_made_from_a_version_that_is_no_longer_live_is_refused(bundle_path):
    base = load_bundle(bundle_path)
    live = commit_threshold(base, 0.7)
    with pytest.raises(BundleError, match="has become live while this was made"):
        commit_threshold(base, 0.8)
    assert load_bundle(bundle_path).sha256 == live.sha256


def test_a_staged_version_waits_until_it_is_switched_to(bundle_path):
    base = load_bundle(bundle_path)
    staged = stage_version(base, base.manifest, {"ranges": ("ranges.json", b"{}")}, Audit("candidate"))
    assert load_bundle(bundle_path).sha256 == base.sha256
    assert switch_version(base, staged, Audit("recalibrate")).sha256 == staged.sha256
    history = read_history(bundle_path)[-2:]
    assert [entry.action for entry in history] == ["candidate", "recalibrate"]
    assert took_effect(history, staged.sha256) == [False, True]
    assert roll_back(bundle_path).sha256 == base.sha256


def test_a_damaged_version_is_not_gone_back_to(bundle_path):
    first = load_bundle(bundle_path)
    second = commit_threshold(first, 0.75)
    file = bundle_path / first.manifest.files["calibration_int8"].name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match="is damaged"):
        roll_back(bundle_path)
    assert load_bundle(bundle_path).sha256 == second.sha256


def test_a_damaged_live_manifest_can_be_gone_back_from(bundle_path):
    first = load_bundle(bundle_path)
    commit_threshold(first, 0.75)
    (bundle_path / MANIFEST).write_text("{")
    assert roll_back(bundle_path, first.sha256).sha256 == first.sha256


def test_a_bundle_from_before_there_was_a_history_goes_back_to_its_one_previous_manifest(bundle_path):
    first = load_bundle(bundle_path)
    second = commit_threshold(first, 0.75)
    for file in [*bundle_path.glob("manifest.*.json"), bundle_path / HISTORY]:
        file.unlink()
    (bundle_path / "manifest.previous.json").write_text(first.manifest.model_dump_json(indent=1))
    assert roll_back(bundle_path).sha256 == first.sha256
    assert roll_back(bundle_path).sha256 == second.sha256


def test_a_line_that_a_power_cut_left_unfinished_does_not_swallow_the_next(bundle_path):
    commit_threshold(load_bundle(bundle_path), 0.7)
    file = bundle_path / HISTORY
    file.write_bytes(file.read_bytes()[:-20])
    before = len(read_history(bundle_path))
    commit_threshold(load_bundle(bundle_path), 0.8)
    assert len(read_history(bundle_path)) == before + 1


CUT = 9
SPAWN = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def every_step(work, *arguments):
    """Run `work` in a process that ends at its first lasting step, then in one that ends at its second, and so on.

    A step is whatever reaches the disk: a synced file, a rename, a removal. Nothing is tidied up: no `finally` runs.
    """
    if SPAWN is None:
        pytest.skip("this system cannot fork")
    for steps in itertools.count():
        process = SPAWN.Process(target=_cut_off, args=(steps, work, arguments))
        process.start()
        process.join()
        assert process.exitcode in (0, CUT)
        yield steps
        if process.exitcode == 0:
            return


def _cut_off(steps, work, arguments):
    left = [steps]

    def until(real):
        def step(*given, **options):
            if left[0] == 0:
                os._exit(CUT)
            left[0] -= 1
            return real(*given, **options)

        return step

    # pathlib of Python 3.10 keeps them to itself
    accessor = getattr(pathlib, "_normal_accessor", None)
    for name in ("fsync", "replace", "unlink", "rename"):
        setattr(os, name, until(getattr(os, name)))
        if hasattr(accessor, name):
            setattr(accessor, name, getattr(os, name))
    work(*arguments)


def change_threshold(path, threshold):
    commit_threshold(load_bundle(path), threshold)


def test_a_power_cut_at_any_step_of_a_change_leaves_a_whole_version_and_an_honest_history(bundle_path):
    bundle = load_bundle(bundle_path)
    for step in range(KEPT_VERSIONS):
        bundle = commit_threshold(bundle, 0.5 + step / 100)
    steps = 0
    for _ in every_step(change_threshold, bundle_path, 0.9):
        steps += 1
        live = load_bundle(bundle_path)
        live.verify()
        entries = read_history(bundle_path)
        happened = [e for e, done in zip(entries, took_effect(entries, live.sha256), strict=True) if done]
        assert happened[-1].after == live.sha256
        assert live.calibration("int8").threshold in (0.9, bundle.calibration("int8").threshold)
        if live.sha256 != bundle.sha256:
            assert roll_back(bundle_path).sha256 == bundle.sha256
    assert steps > 8


def test_a_power_cut_at_any_step_of_going_back_leaves_one_of_the_two_versions(bundle_path):
    first = load_bundle(bundle_path)
    second = commit_threshold(first, 0.75)
    for _ in every_step(roll_back, bundle_path):
        live = load_bundle(bundle_path)
        live.verify()
        assert live.sha256 in (first.sha256, second.sha256)


def test_lines_of_a_newer_program_are_read_as_far_as_they_are_known(bundle_path):
    commit_threshold(load_bundle(bundle_path), 0.7)
    file = bundle_path / HISTORY
    lines = [json.loads(line) | {"approved_by": "somebody"} for line in file.read_text().splitlines()]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert read_history(bundle_path)[-1].action == "threshold"


def test_a_new_bundle_begins_its_history(tmp_path, bundle_path):
    source = load_bundle(bundle_path)
    parts = {key: (entry.name, source.read(key)) for key, entry in source.manifest.files.items()}
    made = write_bundle(tmp_path / "new", source.manifest, parts, Audit("train"))
    (entry,) = read_history(tmp_path / "new")
    assert (entry.action, entry.before, entry.after) == ("train", None, made.sha256)
