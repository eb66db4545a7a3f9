"""What a new bundle finds is said honestly and in words, with what would make it better."""

from dataclasses import replace
from types import SimpleNamespace

from calibration.findings.advice import DefectsFound, defects_found, would_help
from edge.bundles.bundle import load_bundle
from edge.samples import sample_bundle


def test_what_is_poor_about_a_bundle_is_said_in_a_few_words():
    for case in [
        (20, 24, 24, 0.95, ""),
        (20, 24, 24, None, ""),
        (20, 24, 24, 0.588, "finds large, plain defects only; faint ones pass"),
        (2, 8, 20, 0.9, "finds large, plain defects only; faint ones pass"),
        (0, 2, 8, 0.588, "finds hardly any defects"),
    ]:
        small, middling, large, auroc, words = case
        assert DefectsFound({0.5: (small, 24), 2.0: (middling, 24), 8.0: (large, 24)}, auroc).little == words, case


def test_the_counts_are_told_by_the_size_of_the_defect():
    found = DefectsFound({0.5: (13, 24), 2.0: (23, 24), 8.0: (24, 24)}, 0.6)
    assert "13 of 24 of 0.5 %, 23 of 24 of 2 %, 24 of 24 of 8 % of the picture" in found.text()


def test_a_bundle_that_was_calibrated_before_defects_were_drawn_has_none():
    bundle = load_bundle(sample_bundle())
    files = {key: entry for key, entry in bundle.manifest.files.items() if key != "findings"}
    before = replace(bundle, manifest=bundle.manifest.model_copy(update={"files": files}))
    assert defects_found(before).found == {0.5: (0, 0), 2.0: (0, 0), 8.0: (0, 0)}


def made(tmp_path, samples, steps, layout):
    record = SimpleNamespace(steps=steps, layout=layout)
    return SimpleNamespace(manifest=SimpleNamespace(training=record)), tmp_path, samples


def test_what_would_help_names_parts_time_and_position_where_they_lack(tmp_path):
    tips = would_help(*made(tmp_path, 30, 200, "free"), all_steps=1300, all_minutes=20.0)
    assert [tip.split(":")[0] for tip in tips] == [
        "more parts", "more time", "a steadier position", "another method"
    ]  # fmt: skip
    assert "60 or more (30 now)" in tips[0]
    assert "--minutes 23 (it had 200 of 1300 steps)" in tips[1]


def test_what_was_enough_is_no_advice(tmp_path):
    assert [tip.split(":")[0] for tip in would_help(*made(tmp_path, 80, 1300, "aligned"), 1300, 5.0)] == [
        "another method"
    ]
