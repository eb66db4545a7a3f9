"""Two products on one running line: changed by the command, refused with a reason, on record, replayed."""

import json

import pytest
import yaml

from edge.core.files.settings_file import load_settings
from edge.plant.plc.register_map import ErrorCode, Order, Status
from edge.plant.status_file import is_live, read_status
from edge.records.recipe_changes import recorded_changes
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import wait_for
from tests.fakes import write_picture
from tests.recipe_line import GEAR, PLATE, make_gear, two_products
from tests.small_bundle import good_part
from tests.system.command_line import WAIT_S, assert_refused, edge_here, running, verdicts


@pytest.fixture(scope="module")
def gear_made_once(tmp_path_factory):
    pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")
    return make_gear(tmp_path_factory.mktemp("gear") / "gear").path


@pytest.fixture
def config(_bundle_made_once, gear_made_once, tmp_path):
    """A settings file of a line with two recipes that keeps every picture."""
    recipes = two_products(tmp_path, _bundle_made_once, gear_made_once)
    file = tmp_path / "line.yaml"
    settings = {
        "line": {"name": "left", "run_directory": str(tmp_path / "run")},
        "recipes": {"file": str(recipes)},
        "record": {"directory": str(tmp_path / "records"), "keep_ok_every": 1},
        "camera": {"fps": 20},
    }
    file.write_text(yaml.safe_dump(settings))
    return file


def test_a_running_line_changes_its_recipe_and_every_verdict_can_be_replayed(config, moving_line, here, tmp_path):
    def recipe(*arguments):
        return edge_here(here, "recipe", *arguments, "--config", config)

    assert_refused(recipe("use", GEAR), 2, "no line that runs")
    with running("run", "--camera", moving_line, "--config", config, "--json", cwd=tmp_path) as run:
        run.wait_for(lambda verdicts: verdicts and verdicts[-1]["recipe"] == PLATE)
        wait_for(lambda: (read_status(tmp_path / "run") or {}).get("beat_age_s") is not None, WAIT_S)
        changed = recipe("use", "2")
        assert (changed.returncode, changed.stderr) == (0, "")
        assert changed.stdout.startswith("recipe gear: changed in ")
        run.wait_for(lambda verdicts: verdicts[-1]["recipe"] == GEAR)
        wait_for(lambda: read_status(tmp_path / "run")["recipe"]["name"] == GEAR, WAIT_S)
        status = read_status(tmp_path / "run")
        assert (status["recipe"]["index"], status["info"]["product"]) == (2, "gear wheel")
        refused = recipe("use", "geer")
        assert refused.returncode == 1 and "REFUSED" in refused.stdout and "no recipe 'geer'" in refused.stdout
        assert "fix: did you mean `gear`?" in refused.stdout and "a PLC sees the line not ready" in refused.stdout
        listed = recipe("list", "--json")
        wait_for(lambda: json.loads(recipe("list", "--json").stdout)[1]["judges"], WAIT_S)
        assert listed.returncode == 0 and [each["problem"] for each in json.loads(listed.stdout)] == [None, None]
        (tmp_path / PLATE / "manifest.json").write_text("{")
        broken = recipe("use", PLATE, "--json")
        assert broken.returncode == 1 and not json.loads(broken.stdout)["changed"]
        assert recipe("list").returncode == 1
        count = len(run.verdicts)
        run.wait_for(lambda verdicts: len(verdicts) > count + 5 and verdicts[-1]["recipe"] == GEAR)
        run.signal()
        run.ended()
    with RecordStore(tmp_path / "records") as store:
        changes = recorded_changes(store)
        judged = {record.recipe: record.number for record in store.verdicts("WHERE image IS NOT NULL ORDER BY id", ())}
        hashes = store.query("SELECT DISTINCT recipe, bundle_sha256 FROM verdicts")
    assert [(change.asked_by, change.before, change.after, change.changed) for change in changes] == [
        ("command", PLATE, GEAR, True), ("command", GEAR, "geer", False), ("command", GEAR, PLATE, False),
    ]  # fmt: skip
    assert len(hashes) == 2 and set(judged) == {PLATE, GEAR}
    again = edge_here(here, "replay", judged[GEAR], "--config", config)
    assert again.returncode == 0 and "same: again" in again.stdout
    # the same product lies there after a restart
    once = edge_here(here, "run", "--camera", moving_line, "--config", config, "--json", "--once")
    assert json.loads(once.stdout)["recipe"] == GEAR
    report = edge_here(here, "report", "--config", config)
    assert "plate -> gear" in report.stdout and "REFUSED" in report.stdout


def test_a_page_changes_the_recipe_of_a_running_line(config, moving_line, tmp_path):
    pytest.importorskip("starlette", reason="the extra `web` is not installed")
    from tests.edge.web.web_site import browser, csrf_of

    settings = load_settings(config)
    with running("run", "--camera", moving_line, "--config", config, "--json", cwd=tmp_path) as run:
        run.wait_for(lambda verdicts: verdicts and verdicts[-1]["recipe"] == PLATE)
        wait_for(lambda: is_live(read_status(tmp_path / "run")), WAIT_S)
        with browser(settings) as client:
            page = client.get("/engineer/recipes").text
            assert "Change to gear" in page and "Change to plate" not in page
            form = {"csrf": csrf_of(page), "line": "left", "recipe": GEAR}
            assert client.post("/engineer/recipes", data={**form, "recipe": "geer"}).status_code == 409
            answer = client.post("/engineer/recipes", data=form)
            assert answer.headers["location"] == "/engineer/recipes?line=left&changed=gear"
            run.wait_for(lambda verdicts: verdicts[-1]["recipe"] == GEAR)
            assert "The line judges by gear now" in client.get(answer.headers["location"]).text
            assert "recipe" in client.get("/engineer/audit").text
        run.signal()
        run.ended()
    with browser(settings) as client:
        page = client.get("/engineer/recipes").text
        assert "The line does not run" in page and "pages" in page and "Change to" not in page
        assert client.post("/engineer/recipes", data=form).status_code == 403, "a form of another server"


def test_verdicts_of_both_recipes_are_replayed_with_their_own_thresholds(config, moving_line, here, tmp_path):
    recipes = tmp_path / "recipes.yaml"
    values = yaml.safe_load(recipes.read_text())
    values[2]["threshold"] = 0.9999
    recipes.write_text(yaml.safe_dump(values))
    with running("run", "--camera", moving_line, "--config", config, "--json", cwd=tmp_path) as run:
        run.wait_for_count(4)
        wait_for(lambda: (read_status(tmp_path / "run") or {}).get("beat_age_s") is not None, WAIT_S)
        assert edge_here(here, "recipe", "use", GEAR, "--config", config).returncode == 0
        run.wait_for(lambda verdicts: sum(verdict["recipe"] == GEAR for verdict in verdicts) >= 4)
        run.signal()
        run.ended()
    # what the file says today must not matter
    recipes.write_text("1: {name: other, bundle: none}")
    with RecordStore(tmp_path / "records") as store:
        for name in (PLATE, GEAR):
            (record,) = store.verdicts("WHERE recipe = ? AND image IS NOT NULL ORDER BY id LIMIT 1", (name,))
            assert name == PLATE or record.threshold == 0.9999
            again = edge_here(here, "replay", record.number, "--config", config, "--json")
            assert json.loads(again.stdout)["outcome"] == "same", again.stdout + again.stderr
            # from which the bundle of each is calibrated again
            accepted = store.query("SELECT image FROM verdicts WHERE recipe = ? AND decision = 'OK'", (name,))
            wanted = {tmp_path / "records" / image for (image,) in accepted if image is not None}
            assert wanted and set(store.accepted_pictures(tmp_path / name)) == wanted


def test_a_start_recipe_that_is_broken_ends_the_start_and_another_does_not(config, line, here, tmp_path):
    (tmp_path / GEAR / "manifest.json").write_text("{")
    arguments = ("run", "--camera", line, "--config", config, "--json")
    assert edge_here(here, *arguments).returncode == 0
    values = yaml.safe_load(config.read_text())
    values["recipes"]["start"] = GEAR
    config.write_text(yaml.safe_dump(values))
    assert_refused(edge_here(here, *arguments), 4, "manifest.json")
    alone = edge_here(here, *arguments, "--bundle", tmp_path / PLATE)
    assert alone.returncode == 0 and {each["recipe"] for each in verdicts(alone.stdout)} == {""}


def test_each_recipe_has_its_own_challenge_and_a_line_starts_and_changes_only_with_it(config, camera, here, tmp_path):
    values = yaml.safe_load(config.read_text())
    values["challenge"] = {"require": "refuse", "synthetic_defects": 2}
    config.write_text(yaml.safe_dump(values))
    golden = tmp_path / "golden"
    golden.mkdir()
    for seed in range(3):
        write_picture(golden / f"{seed}.png", good_part(600 + seed))

    def challenge(*arguments):
        return edge_here(here, "challenge", *arguments, "--config", config)

    run = ("run", "--camera", camera.url, "--config", config, "--json")
    assert_refused(edge_here(here, *run, "--once"), 1, "no challenge is on record")
    assert challenge("--data", golden).returncode == 0
    with running(*run, cwd=tmp_path) as line:
        line.wait_for_count(2)
        wait_for(lambda: is_live(read_status(tmp_path / "run")), WAIT_S)
        refused = edge_here(here, "recipe", "use", GEAR, "--config", config)
        assert refused.returncode == 1 and "recipe gear is not ready" in refused.stdout
        assert challenge("--recipe", GEAR, "--data", golden).returncode == 0
        changed = edge_here(here, "recipe", "use", GEAR, "--config", config)
        assert changed.returncode == 0, changed.stdout
        # the newest challenge is of the other product, and takes nothing from this one
        assert edge_here(here, "recipe", "use", PLATE, "--config", config).returncode == 0
    assert challenge("--show").returncode == 0
    assert_refused(challenge("--recipe", "geer", "--data", golden), 2, "`gear`")


def test_doctor_names_the_recipes_that_cannot_be_used(config, here, tmp_path):
    def findings():
        told = edge_here(here, "doctor", "--config", config, "--json")
        return [each for each in json.loads(told.stdout)["findings"] if each["name"].startswith("recipe")]

    assert [each["state"] for each in findings()] == ["ok"]
    (model,) = (tmp_path / GEAR).glob("model_int8*.onnx")
    model.write_bytes(b"")
    (broken,) = findings()
    assert broken["state"] == "warn" and "gear" in broken["value"] and "line 4" in broken["value"]


def test_a_plc_changes_the_product_between_parts_and_waits_where_it_cannot(config, camera, port, tmp_path):
    pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")
    from tests.edge.plant.plc.modbus_plc import Plc

    values = yaml.safe_load(config.read_text())
    values |= {
        "trigger": {"mode": "plc"},
        "plc": {"port": port, "silent_after_ms": 60000},
        "freshness": {"max_identical_frames": 0},
    }
    config.write_text(yaml.safe_dump(values))
    with running("run", "--camera", camera.url, "--config", config, "--json", cwd=tmp_path) as run:
        plc = Plc(port, WAIT_S)

        def judge(part):
            plc.inspect(part)
            plc.write(Order(0))

        def use(recipe):
            plc.write(Order.RECIPE_REQUEST, recipe=recipe)
            shown = plc.read()
            # a product that is in memory is there before a PLC on a busy machine asks
            assert shown.recipe == recipe or not shown.status & Status.READY, "not before the other product is there"
            plc.write(Order(0))

        judge(1)
        use(2)
        judge(2)
        shown = plc.read()
        assert shown.recipe == 2 and shown.status & Status.RECIPE_OK
        use(9)
        wait_for(lambda: plc.read().error == ErrorCode.RECIPE_FAILED, WAIT_S)
        shown = plc.read()
        assert shown.recipe == 2 and not shown.status & (Status.READY | Status.RECIPE_OK)
        use(1)
        judge(3)
        assert plc.read().recipe == 1
        plc.close()
        told = run.wait_for(lambda verdicts: any(each["part_number"] == "3" for each in verdicts))
    judged = {each["part_number"]: each["recipe"] for each in told if each["part_number"]}
    assert judged == {"1": PLATE, "2": GEAR, "3": PLATE}
