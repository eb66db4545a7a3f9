"""One line, several products: changed between two frames, refused with a reason, bounded in memory."""

import shutil

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

from edge.bundles.bundle import MANIFEST, load_bundle
from edge.bundles.signature import make_keys, sign
from edge.core.alarms import RECIPE
from tests.bundle_edits import commit_threshold
from tests.fakes import eventually
from tests.recipe_line import GEAR, PLATE, RecipeLine, make_gear, two_products, write_recipes


@pytest.fixture(scope="module")
def gear_made_once(tmp_path_factory):
    pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")
    return make_gear(tmp_path_factory.mktemp("gear") / "gear").path


@pytest.fixture
def file(_bundle_made_once, gear_made_once, tmp_path):
    return two_products(tmp_path, _bundle_made_once, gear_made_once)


@pytest.fixture
def line():
    lines = []

    def start(file, **options):
        lines.append(RecipeLine(file, **options))
        return lines[-1]

    yield start
    for each in lines:
        each.end()


def hashes(file):
    return {name: load_bundle(file.parent / name).sha256 for name in (PLATE, GEAR)}


def test_a_change_takes_effect_between_two_frames_and_is_told(file, line):
    running = line(file)
    assert (running.counters.recipe_index, running.counters.recipe_name) == (1, PLATE)
    assert running.use(2)
    assert running.judges_by(GEAR) and running.goes_on()
    assert (running.counters.recipe_index, running.counters.recipe_name) == (2, GEAR)
    assert running.products == [GEAR]
    (change,) = running.changes
    assert (change.asked_by, change.before, change.after, change.changed) == ("plc", PLATE, GEAR, True)
    views = [running.recipes.field_of_view(name)(48, 64) for name in (PLATE, GEAR)]
    assert views[0] != views[1] and running.recipes.field_of_view("other") is None
    names = [verdict.recipe for verdict in running.end()]
    assert names == sorted(names, key=[PLATE, GEAR].index), "each recipe judges one stretch of frames"


def test_a_request_for_what_judges_already_changes_nothing(file, line):
    running = line(file)
    assert running.use(PLATE)
    assert running.changes[-1].result == "it judges already" and running.opened == 0


@pytest.mark.parametrize(("threads", "live"), [(1, True), (3, False)])
def test_a_hundred_changes_lose_no_frame_and_mix_no_recipes(file, line, threads, live):
    running = line(file, threads=threads, live=live, pause_s=0.0005)
    for number in range(100):
        assert running.use(1 + (number + 1) % 2), running.counters.recipe_error
        assert len(running.recipes.loaded) <= 2
    verdicts = running.end()
    expected = hashes(file)
    assert {(verdict.recipe, verdict.bundle_sha256) for verdict in verdicts} == set(expected.items())
    assert [verdict.frame_index for verdict in verdicts] == list(range(running.supply.given))
    assert running.opened == 1, "what is loaded is not loaded again"
    assert running.counters.invalid == 0


def test_a_loaded_recipe_judges_after_two_frames_at_most(file, line):
    # a frame takes longer here than to wake a network, as at a line
    running = line(file, pause_s=0.05)
    assert running.use(GEAR) and running.use(PLATE)
    assert running.judges_by(PLATE)
    assert eventually(lambda: running.recipes.first_verdict is not None)
    first = running.recipes.first_verdict
    assert first.recipe == PLATE
    assert first.loaded and first.frames <= 2


def test_no_more_recipes_stay_loaded_than_asked_for(file, line):
    folder = file.parent
    names = ["a", "b", "c", "d"]
    for name in names:
        shutil.copytree(folder / PLATE, folder / name)
    file = write_recipes(folder, **{name: {"bundle": str(folder / name)} for name in names})
    running = line(file, keep_loaded=3)
    for name in ["b", "c", "d", "a", "b"]:
        assert running.use(name)
    assert running.recipes.loaded == ("d", "a", "b")
    assert running.opened == 5, "a and b were closed, and loaded again"
    alone = line(file, keep_loaded=1)
    assert alone.use("b") and alone.recipes.loaded == ("b",)


def break_model(folder):
    (file,) = folder.glob("model_int8*.onnx")
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (break_model, "model_int8"),
        (shutil.rmtree, "no such bundle directory"),
        (lambda folder: (folder / MANIFEST).write_text("{"), MANIFEST),
    ],
)
def test_a_recipe_that_cannot_be_loaded_leaves_the_one_before(file, line, spoil, why):
    running = line(file)
    spoil(file.parent / GEAR)
    assert not running.use(GEAR)
    assert running.goes_on() and running.judges_by(PLATE)
    assert why in running.counters.recipe_error and not running.counters.recipe_changing
    assert why in running.changes[-1].result
    (alarm,) = running.counters.alarms.standing()
    assert alarm.kind == RECIPE and "plate goes on" in alarm.what
    # the same again is no second alarm; a change that works, or that is not needed, ends it
    assert not running.use(GEAR) and len(running.counters.alarms.standing()) == 1
    assert running.use(PLATE)
    assert running.counters.recipe_error == "" and running.counters.alarms.standing() == []


def test_an_unsigned_bundle_is_refused_where_signatures_are_asked_for(file, line, tmp_path):
    public = make_keys(tmp_path / "key")
    sign(load_bundle(file.parent / PLATE), tmp_path / "key")
    running = line(file, inspection={"signed_by": str(public)})
    assert not running.use(GEAR)
    assert "sign" in running.counters.recipe_error and running.goes_on()
    sign(load_bundle(file.parent / GEAR), tmp_path / "key")
    assert running.use(GEAR) and running.judges_by(GEAR)


def test_an_unknown_recipe_is_refused_with_the_nearest_name(file, line):
    running = line(file)
    for wanted in (7, "geer", 0):
        assert not running.use(wanted)
        assert str(wanted) in running.counters.recipe_error
    assert running.goes_on()


def test_what_was_asked_for_is_told_on_one_line_of_bounded_length(file, line):
    running = line(file)
    assert not running.use("gear\nALARM over \x1b[2J" + "x" * 5000)
    (alarm,) = running.counters.alarms.standing()
    for told in (alarm.what, running.changes[-1].after, running.changes[-1].result):
        assert told.isprintable() and len(told) < 400, told


def test_a_recipe_that_is_not_ready_is_refused(file, line):
    running = line(file, not_ready=lambda bundle, model: "no challenge is on record")
    assert not running.use(GEAR)
    assert running.counters.recipe_error == "recipe gear is not ready: no challenge is on record"


def test_a_version_that_came_meanwhile_is_taken_up_when_the_recipe_comes_back(file, line):
    running = line(file)
    assert running.use(GEAR)
    commit_threshold(load_bundle(file.parent / PLATE), 0.4)
    assert running.use(PLATE) and running.goes_on()
    newest = running.sink.verdicts[-1]
    assert newest.recipe == PLATE and newest.threshold == 0.4
    assert newest.bundle_sha256 == load_bundle(file.parent / PLATE).sha256


def test_the_versions_of_the_recipe_that_judges_are_followed_and_kept(file, line):
    running = line(file)
    assert running.use(GEAR)
    first = load_bundle(file.parent / GEAR)
    commit_threshold(first, 0.4)
    assert running.sink.wait_until(lambda verdicts: verdicts[-1].threshold == 0.4)
    assert running.use(PLATE) and running.use(GEAR) and running.goes_on()
    assert running.sink.verdicts[-1].bundle_sha256 == load_bundle(file.parent / GEAR).sha256 != first.sha256
    assert running.sink.verdicts[-1].recipe == GEAR
    running.end()
    assert {verdict.recipe for verdict in running.sink.verdicts} == {PLATE, GEAR}


def test_a_threshold_of_the_recipe_takes_the_place_of_the_bundles(file, line):
    folder = file.parent
    recipes = {name: {"bundle": str(folder / PLATE)} for name in ("fine", "coarse")}
    recipes["coarse"] |= {"threshold": 0.97, "review": False}
    running = line(write_recipes(folder, **recipes))
    assert running.use("coarse") and running.goes_on()
    newest = running.sink.verdicts[-1]
    assert (newest.recipe, newest.threshold) == ("coarse", 0.97)
    assert running.counters.bundle_state.startswith("version")


def test_parts_that_were_asked_for_before_are_waited_for(file, line):
    waiting = [1]
    running = line(file, parts_wait=lambda: len(waiting))
    running.recipes.request("gear")
    assert eventually(lambda: running.opened == 1) and running.goes_on()
    assert running.sink.verdicts[-1].recipe == "plate" and running.counters.recipe_changing
    waiting.clear()
    assert running.judges_by("gear")


def test_no_change_is_made_under_parts_that_get_no_verdict(file, line, monkeypatch):
    monkeypatch.setattr("edge.inspection.recipes.change._DRAIN_S", 0.1)
    waiting = [1]
    running = line(file, parts_wait=lambda: len(waiting))
    assert not running.use("gear") and "parts that were asked for before had no verdict" in running.changes[-1].result
    assert running.goes_on() and running.sink.verdicts[-1].recipe == "plate"
    assert running.counters.recipe_error
    waiting.clear()
    assert running.use("gear") and running.judges_by("gear")


def test_newer_requests_take_the_place_of_those_that_wait(file, line):
    running = line(file)
    for wanted in (GEAR, PLATE, GEAR, GEAR):
        running.recipes.request(wanted)
    assert running.counters.recipe_changing
    assert eventually(lambda: len(running.changes) == 4 and not running.counters.recipe_changing)
    assert running.judges_by(GEAR)
