"""`edge-inspect web` as a program: tokens, refusals, and a line that never notices what becomes of its pages."""

import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager

import pytest

from tests.edge.records.records_fakes import wait_for
from tests.system.command_line import WAIT_S, assert_refused, edge, edge_here, environment, running

pytest.importorskip("starlette", reason="the extra `web` is not installed")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def pages(place, port, *arguments):
    """The program, once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "web", *arguments], cwd=place, env=environment(), stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert f"pages at http://127.0.0.1:{port}; Ctrl-C ends it" in process.stderr.readline()
        # nobody else reads what it says, and a full pipe would hold it up
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process
    finally:
        process.kill()
        process.wait()


def status_of(port, path="/healthz"):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def text_of(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


def test_a_token_is_shown_once_and_opens_the_pages(here, tmp_path):
    port = free_port()
    (tmp_path / "config.yaml").write_text(f"web: {{port: {port}, tokens_file: {tmp_path}/tokens.json}}\n")
    made = edge_here(here, "web", "token", "view")
    assert made.returncode == 0 and made.stdout.startswith("view-") and made.stdout.count("\n") == 1
    assert made.stdout.strip() not in (tmp_path / "tokens.json").read_text() + made.stderr
    with pages(tmp_path, port) as process:
        assert status_of(port, "/gallery") == 401 and status_of(port) == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) in (0, 130)


def test_what_cannot_be_served_is_refused_with_what_to_do(here, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for text, words in (
            ("web: {address: 0.0.0.0}", "which other machines reach"),
            (f"web: {{port: {port}}}", f"port {port} of 127.0.0.1"),
            ("web: {tokens_file: nothing.json}", "nothing.json: No such file"),
            ("web: {shifts: ['06:10']}", "config.yaml, line 1: web.shifts.0"),
            ("web: {lines: [{name: left, recods: a}]}", "web.lines.0.recods: unknown key"),
            ("web: {lines: [{name: a}, {name: a}]}", "two lines have the same name"),
            ("web: {certificate_file: a}", "go together"),
            ("web: {certificate_file: a, key_file: b}", "No such file"),
        ):
            (tmp_path / "config.yaml").write_text(text)
            assert_refused(edge_here(here, "web"), 2, words)
    (tmp_path / "config.yaml").write_text("")
    assert_refused(edge_here(here, "web", "token", "view"), 2, "web.tokens_file is null")
    assert_refused(edge_here(here, "web", "token"), 2, "no role is named")
    assert_refused(edge_here(here, "web", "serve", "view"), 2, "takes no role")


def test_a_line_never_notices_pages_that_are_flooded_stopped_and_killed(bundle_path, tmp_path):
    port = free_port()
    (tmp_path / "config.yaml").write_text(f"line: {{run_directory: run}}\nweb: {{port: {port}}}\n")
    arguments = ("--camera", "demo", "--fps", "10", "--bundle", bundle_path, "--json")
    with running(*arguments, cwd=tmp_path) as line, ExitStack() as stack:
        line.wait_for_count(3)
        web = stack.enter_context(pages(tmp_path, port))
        wait_for(lambda: status_of(port) == 200, WAIT_S)
        watching = [
            stack.enter_context(urllib.request.urlopen(f"http://127.0.0.1:{port}/line/line/{what}", timeout=30))
            for what in ("preview.mjpg", "preview.mjpg", "events", "events")
        ]
        assert watching[0].readline() == b"--edge-inspect\r\n"

        def goes_on():
            count = len(line.verdicts)
            line.wait_for_count(count + 15)

        flood = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
        for each in flood[::2]:
            each.sendall(b"GET /line/line HTTP/1.1\r\nHost: 127.0.0.1")
        goes_on()
        for each in flood:
            each.close()
        wait_for(lambda: status_of(port) == 200, WAIT_S)
        web.send_signal(signal.SIGSTOP)
        goes_on()
        web.kill()
        goes_on()
        line.signal()
        assert line.ended() == 130
    reasons = {verdict["reason"] for verdict in line.verdicts}
    assert reasons <= {"above_threshold", "below_threshold"}
    assert [verdict["frame_index"] for verdict in line.verdicts] == sorted({v["frame_index"] for v in line.verdicts})


def test_the_demo_shows_a_shift_and_a_line_and_leaves_nothing(tmp_path):
    port = free_port()
    (tmp_path / "config.yaml").write_text(f"web: {{port: {port}}}\n")
    changed = environment(TMPDIR=str(tmp_path / "temporary"), DISPLAY="", WAYLAND_DISPLAY="")
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "demo", "--web"], cwd=tmp_path, env=changed, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert "this takes some seconds" in process.stderr.readline()
        assert "pages at" in process.stderr.readline()
        threading.Thread(target=process.stderr.read, daemon=True).start()
        wait_for(lambda: status_of(port) == 200, WAIT_S)
        page = text_of(port, "/gallery")
        assert page.count('class="card ng"') > 3 and 'class="card ok"' in page
        # the line that runs draws parts as the shift before did
        wait_for(lambda: re.search(r"^2-\d+,[^,]+,OK,", text_of(port, "/report.csv"), re.MULTILINE), WAIT_S)
        assert "no pictures were drawn" not in text_of(port, "/quality")
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
        assert list((tmp_path / "temporary").glob("edge-inspect-*")) == []
    finally:
        process.kill()
        process.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "temporary"]


def test_without_the_extra_the_command_says_what_to_install(tmp_path):
    blocked = tmp_path / "blocked" / "starlette"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')")
    result = edge("web", cwd=tmp_path, PYTHONPATH=str(blocked.parent))
    assert_refused(result, 2, "needs starlette", "[web]")
