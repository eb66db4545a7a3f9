"""Thresholds, versions, drift and disk: looking changes nothing, and every change is in the audit."""

import json
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.core.alarms import Alarm
from edge.core.config import Settings
from edge.core.datatypes import Decision
from edge.records.store import CAMERA_BUNDLES
from edge.review.database import ReviewDatabase
from tests.edge.records.records_fakes import RUN, look, recorder
from tests.edge.web.web_site import browser, csrf_of, settings_of


@pytest.fixture
def line(tmp_path, bundle_path):
    """Settings of a line that judged 40 parts with a real bundle, now."""
    bundle = load_bundle(bundle_path)
    run = recorder(
        tmp_path / "left" / "records", wait_when_full=True,
        run=RUN.__class__(**{**vars(RUN), "bundle_path": str(bundle_path)}),
        utc_now=lambda: datetime.now(timezone.utc),
    )  # fmt: skip
    model, begin = bundle.model_sha256(bundle.precision("auto")), datetime.now(timezone.utc) - timedelta(minutes=2)
    for index in range(40):
        decision = Decision.NG if index % 10 == 9 else Decision.OK
        frame, verdict = look(index, decision, utc=begin + timedelta(seconds=index))
        score = 0.9 if decision is Decision.NG else 0.01 + index * 0.001
        run.write(frame, verdict.__class__(**{**vars(verdict), "score": score, "model_sha256": model}))
    run.note(Alarm(1, "burst", "8 of 10 rejected", "look at the parts", 8, "", begin, begin, 0))
    run.close()
    return settings_of(tmp_path)


def test_of_a_group_with_several_bundles_none_is_changed_before_one_is_named(tmp_path, bundle_path):
    cameras = [{"name": name, "source": name, "bundle": str(tmp_path / name)} for name in ("left", "right")]
    places = {each["name"]: each["bundle"] for each in cameras}
    config = json.dumps({CAMERA_BUNDLES: places})
    recorder(tmp_path / "records", run=replace(RUN, bundle_path=places["left"], config=config)).close()
    shutil.copytree(bundle_path, tmp_path / "right")
    record = {"directory": str(tmp_path / "records")}
    group = Settings.model_validate(
        {"group": {"cameras": cameras}, "record": record, "inspection": {"bundle": str(bundle_path)}}
    )
    for page in ("threshold", "bundles", "recalibrate"):
        with browser(group) as client:
            refused = client.get(f"/engineer/{page}")
        assert refused.status_code == 409 and "edge-inspect web --only left" in refused.text
    with browser(group.of_camera("right")) as client:
        assert str(tmp_path / "right") in client.get("/engineer/bundles").text


def audit(tmp_path):
    with ReviewDatabase(tmp_path / "left" / "records") as review:
        return [(change.role, change.action, change.before, change.after) for change in review.changes(10)]


def test_another_threshold_says_what_it_would_reject(line):
    with browser(line) as client:
        page = client.get("/engineer/threshold").text
        assert "rejected in addition<strong>0</strong>" in page and "Use 0" not in page
        page = client.get("/engineer/threshold?value=0.03").text
        # of 36 good parts with scores from 0.010 to 0.048, those above 0.03
        assert "rejected in addition<strong>17</strong>" in page and "no longer rejected<strong>0</strong>" in page
        page = client.get("/engineer/threshold?value=0.95").text
        assert "no longer rejected<strong>4</strong>" in page and page.count('class="card"') == 4
        assert "<svg" in page and " style=" not in page


def test_the_part_that_a_slider_changes_comes_alone(line):
    with browser(line) as client:
        part = client.get("/engineer/threshold?value=0.5", headers={"x-part": "1"}).text
    assert "<html" not in part and "rejected in addition" in part and 'name="csrf"' in part


@pytest.mark.parametrize("value", ["abc", "0", "1", "-1", "nan", "inf"])
def test_what_is_no_threshold_is_refused(line, value):
    with browser(line) as client:
        answer = client.get(f"/engineer/threshold?value={value}")
        assert answer.status_code == 400 and "no score between 0 and 1" in answer.text


def test_a_new_threshold_is_a_version_in_the_history_and_the_audit_and_can_be_gone_back_from(
    line, tmp_path, bundle_path
):
    before = load_bundle(bundle_path)
    was = before.calibration(before.precision("auto")).threshold
    with browser(line) as client:
        csrf = csrf_of(client.get("/engineer/threshold?value=0.5").text)
        answer = client.post("/engineer/threshold", data={"csrf": csrf, "line": "left", "value": "0.5"})
        assert answer.status_code == 303, answer.text
        after = load_bundle(bundle_path)
        assert after.calibration(after.precision("auto")).threshold == 0.5
        assert "set on the pages" in read_history(bundle_path)[-1].note
        assert audit(tmp_path) == [("engineer", "threshold", f"{was:.6f}", "0.500000")]
        page = client.get("/engineer/bundles").text
        assert f"Go back to {before.sha256[:16]}" in page
        form = {"csrf": csrf, "line": "left", "version": before.sha256}
        assert client.post("/engineer/bundles", data=form).status_code == 303
        assert load_bundle(bundle_path).sha256 == before.sha256
        assert audit(tmp_path)[0] == ("engineer", "rollback", after.sha256[:16], before.sha256[:16])
        assert "engineer" in client.get("/engineer/audit").text and "rollback" in client.get("/engineer/audit").text
        assert client.post("/engineer/bundles", data=form).status_code == 400


def test_a_change_that_cannot_be_made_says_why(line, bundle_path):
    with browser(line) as client:
        csrf = csrf_of(client.get("/engineer/threshold?value=0.5").text)
        for form, status in (
            ({"line": "right", "value": "0.5"}, 404),
            ({"line": "left", "value": "2"}, 400),
            ({"line": "left", "value": ""}, 400),
        ):
            assert client.post("/engineer/threshold", data={"csrf": csrf, **form}).status_code == status, form
        form = {"csrf": csrf, "line": "left", "version": "0" * 64}
        answer = client.post("/engineer/bundles", data=form)
        assert answer.status_code == 409 and "no version" in answer.text
        (bundle_path / "manifest.json").unlink()
        for path in ("/engineer/threshold", "/engineer/bundles"):
            answer = client.get(path)
            assert answer.status_code == 409 and "Traceback" not in answer.text


def test_an_operator_sees_no_engineers_page_and_changes_nothing(line, tmp_path):
    from edge.web.security.tokens import Role, new_token

    file = tmp_path / "tokens.json"
    token = new_token(file, Role.OPERATOR)
    web = line.web.model_copy(update={"tokens_file": str(file)})
    with browser(line.model_copy(update={"web": web})) as client:
        page = client.get("/login").text
        client.post("/login", data={"csrf": csrf_of(page), "token": token})
        page = client.get("/gallery").text
        assert "/engineer/" not in page
        csrf = csrf_of(page)
        for path in (
            "/engineer/threshold",
            "/engineer/bundles",
            "/engineer/audit",
            "/engineer/drift",
            "/engineer/disk",
        ):
            answer = client.get(path)
            assert answer.status_code == 403 and "this page needs engineer" in answer.text
        answer = client.post("/engineer/threshold", data={"csrf": csrf, "line": "left", "value": "0.5"})
        assert answer.status_code == 403


def test_drift_shows_hours_and_alarms_and_an_empty_line_none(line, tmp_path):
    with browser(line) as client:
        for span in ("day", "week"):
            page = client.get(f"/engineer/drift?span={span}").text
            assert page.count("<svg") == 2 and "8 of 10 rejected" in page and " style=" not in page
        assert client.get("/engineer/drift?span=year").status_code == 400


def test_a_line_that_never_ran_has_no_bundle_to_show(tmp_path):
    recorder(tmp_path / "left" / "records").close()
    settings = settings_of(tmp_path)
    with browser(settings) as client:
        assert client.get("/engineer/audit").status_code == 200
        assert not (tmp_path / "left" / "records" / "review.sqlite").exists(), "looking makes no database"


def test_without_records_the_pages_say_so(tmp_path):
    settings = Settings.model_validate({"record": {"directory": None}})
    with browser(settings) as client:
        for path in ("/gallery", "/report", "/engineer/threshold", "/engineer/audit"):
            answer = client.get(path)
            assert answer.status_code in (409, 503) and "keeps no records" in answer.text, path
        assert client.get("/engineer/disk").status_code == 200
