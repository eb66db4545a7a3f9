"""Who is let in, and what is refused, each with a page in plain words."""

import json
import re

import pytest

from edge.cli.teach.page_samples import PageSamples
from edge.core.config import Settings
from edge.core.errors import ConfigError
from edge.web.security.attempts import MOST_FROM_ONE, Attempts
from edge.web.security.gate import trusted_hosts
from edge.web.security.tokens import Role, new_token, read_tokens
from edge.web.security.visitors import COOKIE, LASTS_S, Visitors
from edge.web.serve import app_from
from tests.edge.web.web_site import HERE, HOST, browser, csrf_of, settings_of


@pytest.fixture
def guarded(tmp_path):
    """(settings with tokens, token of each role)."""
    file = tmp_path / "tokens.json"
    tokens = {role: new_token(file, role) for role in Role}
    return settings_of(tmp_path, tokens_file=str(file)), tokens


def log_in(client, token):
    return client.post("/login", data={"token": token, "csrf": csrf_of(client.get("/login").text), "next": "/"})


def test_on_this_machine_without_tokens_everybody_is_an_engineer(tmp_path):
    with browser(settings_of(tmp_path)) as client:
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "a@127.0.0.1", ""])
def test_another_name_that_leads_here_is_refused(tmp_path, host):
    with browser(settings_of(tmp_path)) as client:
        answer = client.get("/", headers={"host": host})
    assert answer.status_code == 400 and "Traceback" not in answer.text
    assert "not one of this page's names" in answer.text


def test_names_of_the_settings_are_trusted_and_the_machines_own_where_others_reach_it():
    assert "vision.plant" in trusted_hosts("127.0.0.1", ["Vision.Plant"])
    assert len(trusted_hosts("0.0.0.0", [])) > len(trusted_hosts("127.0.0.1", []))


@pytest.mark.parametrize("web", [{}, {"tokens_file": "t"}, {"certificate_file": "c", "key_file": "k"}])
def test_other_machines_need_tokens_and_tls(web):
    settings = Settings.model_validate({"web": {"address": "0.0.0.0", **web}})
    with pytest.raises(ConfigError, match="which other machines reach, and web"):
        app_from(settings, PageSamples)


def test_every_page_carries_a_policy_that_allows_nothing_from_elsewhere(tmp_path):
    with browser(settings_of(tmp_path)) as client:
        for path in ("/", "/nowhere", "/static/site.js", "/line/none"):
            headers = client.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'"), path
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"


def test_no_page_has_style_or_script_in_its_text(tmp_path):
    with browser(settings_of(tmp_path)) as client:
        for path in ("/", "/line/left", "/login", "/nowhere"):
            assert not re.search(r"<style|<script>|\son\w+=|\sstyle=", client.get(path).text), path


def test_with_tokens_a_page_leads_to_the_login_and_a_program_gets_401(guarded):
    settings, _ = guarded
    with browser(settings) as client:
        answer = client.get("/line/left")
        assert answer.status_code == 303 and answer.headers["location"] == "/login?next=%2Fline%2Fleft"
        assert client.get("/line/left/events", headers={"accept": "text/event-stream"}).status_code == 401


def test_a_token_opens_the_pages_of_its_role(guarded):
    settings, tokens = guarded
    with browser(settings) as client:
        assert log_in(client, tokens[Role.VIEW]).status_code == 303
        assert client.get("/").status_code == 200
        cookie = client.cookies.jar
        (session,) = [each for each in cookie if each.name == COOKIE]
        assert session.has_nonstandard_attr("HttpOnly") and session.get_nonstandard_attr("SameSite") == "strict"
        page = client.get("/")
        assert client.post("/logout", data={"csrf": csrf_of(page.text)}).status_code == 303
        assert client.get("/").status_code == 303


def test_a_wrong_token_opens_nothing_and_the_sixth_attempt_must_wait(guarded):
    settings, tokens = guarded
    with browser(settings) as client:
        for wrong in ("engineer-" + "a" * 32, "", "nonsense", tokens[Role.VIEW].replace("view", "engineer"), "x" * 150):
            answer = log_in(client, wrong)
            assert answer.status_code == 401 and "not known" in answer.text
        answer = log_in(client, tokens[Role.ENGINEER])
        assert answer.status_code == 429 and "Wait 60 seconds" in answer.text


def test_attempts_are_counted_by_address_and_all_together_for_a_minute():
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(MOST_FROM_ONE):
        assert attempts.wait_s("a") == 0
        attempts.failed("a")
    assert attempts.wait_s("a") == 60 and attempts.wait_s("b") == 0
    for address in range(25):
        attempts.failed(str(address))
    assert attempts.wait_s("b") == 60
    now[0] = 60
    assert attempts.wait_s("a") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "http://evil.example"},
        {"sec-fetch-site": "same-site", "origin": f"http://{HOST}"},
        {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {"sec-fetch-site": "same-origin", "origin": f"http://{HOST}.evil.example"},
        {"origin": "http://[bad"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_form_of_another_site_is_refused(tmp_path, headers):
    with browser(settings_of(tmp_path)) as client:
        csrf = csrf_of(client.get("/login").text) if "csrf" in client.get("/login").text else ""
        del client.headers["origin"], client.headers["sec-fetch-site"]
        answer = client.post("/logout", data={"csrf": csrf}, headers=headers)
        assert answer.status_code == 403 and "another site" in answer.text
        assert client.post("/logout", data={"csrf": csrf}).status_code == 403


def test_a_form_from_before_a_restart_says_so_and_changes_nothing(guarded):
    settings, tokens = guarded
    with browser(settings) as client:
        log_in(client, tokens[Role.VIEW])
        for csrf in ("", "stale"):
            answer = client.post("/logout", data={"csrf": csrf})
            assert answer.status_code == 403 and "Nothing was changed" in answer.text
        assert client.get("/").status_code == 200


def test_a_form_that_is_too_large_or_no_form_is_refused(tmp_path):
    with browser(settings_of(tmp_path)) as client:
        assert client.post("/logout", content=b"a" * 70_000).status_code == 413
        assert client.post("/logout", content=b"\xff\xfe").status_code == 400
        assert client.post("/logout", content="&".join(f"a{n}=1" for n in range(200))).status_code == 400


def test_a_login_goes_on_to_a_page_of_this_site_only(guarded):
    settings, tokens = guarded
    with browser(settings) as client:
        csrf = csrf_of(client.get("/login").text)
        for wanted, gets in (("/line/left", "/line/left"), ("//evil.example", "/"), ("https://evil.example", "/"),
                             ("/\\evil.example", "/"), ("/a\nb: c", "/")):  # fmt: skip
            answer = client.post("/login", data={"token": tokens[Role.VIEW], "csrf": csrf, "next": wanted})
            assert answer.headers["location"] == gets
            client.cookies.clear()
            csrf = csrf_of(client.get("/login").text)


def test_a_session_ends_with_its_token_and_with_time_and_is_never_forged(tmp_path):
    file, now = tmp_path / "tokens.json", [1000.0]
    token = new_token(file, Role.ENGINEER)
    visitors = Visitors(file, lambda: now[0])
    cookie = visitors.log_in(token).cookie
    assert visitors.of(cookie).role is Role.ENGINEER
    assert Visitors(file, lambda: now[0]).of(cookie).role is Role.ENGINEER, "it outlasts a restart"
    forged = "engineer" + visitors.of(None).cookie.removeprefix("none")
    for wrong in (forged, cookie[:-1], cookie + "x", "", "engineer.1000", "a.b.c.d", "engineer.\u0661.x.y"):
        assert visitors.of(wrong).role is None
    now[0] += LASTS_S[Role.ENGINEER]
    assert visitors.of(cookie).role is None
    now[0] = 1000.0
    new_token(file, Role.VIEW)
    assert visitors.of(cookie).role is Role.ENGINEER, "another role's token changes nothing"
    new_token(file, Role.ENGINEER)
    assert visitors.of(cookie).role is None


def test_the_file_of_tokens_holds_none_and_only_its_owner_reads_it(tmp_path):
    file = tmp_path / "new" / "tokens.json"
    token = new_token(file, Role.OPERATOR)
    assert token.startswith("operator-") and token.removeprefix("operator-") not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_tokens(file).role_of(token) is Role.OPERATOR
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="others can read it"):
        read_tokens(file)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"version": 2}', json.dumps({"version": 1, "key": "zz"}),
                                  '{"version": 1, "key": "00", "tokens": {"boss": {}}}'])  # fmt: skip
def test_a_damaged_file_of_tokens_is_refused(tmp_path, text):
    file = tmp_path / "tokens.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="no file of tokens"):
        Visitors(file)


def test_without_the_file_nothing_is_served(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        app_from(settings_of(tmp_path, tokens_file=str(tmp_path / "none")), PageSamples)


def test_files_outside_the_static_folder_are_not_there(tmp_path):
    with browser(settings_of(tmp_path)) as client:
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py"):
            assert client.get(path).status_code == 404, path
        assert HERE["origin"].endswith(HOST)
