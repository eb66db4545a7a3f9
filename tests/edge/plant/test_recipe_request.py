"""A request for a recipe between two processes: one at a time, answered by its key, and not left behind."""

import os
import threading
from contextlib import contextmanager

import pytest

from edge.core.counters import RunCounters
from edge.core.errors import UsageError
from edge.plant import recipe_request
from edge.plant.recipe_request import ANSWER_NAME, LOCK_NAME, REQUEST_NAME, RecipeAnswer, RequestFile, ask_for_recipe
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import STATUS_NAME, StatusFile, is_live, read_status
from tests.fakes import WAIT_S, eventually


@contextmanager
def line(folder, recipe="plate"):
    """What a line shows of itself, until the end of the block."""
    counters = RunCounters(recipe_name=recipe, recipe_index=1)
    counters.beat_age_s = lambda: 0.0
    keeper = LineStateKeeper(LineInfo("left", "camera", "plate", "openvino", "int8"), counters)
    status = StatusFile(folder, lambda: keeper.state, every_s=0.02)
    assert eventually(lambda: is_live(read_status(folder)))
    try:
        yield counters
    finally:
        keeper.close()
        status.close()


@contextmanager
def without_rights(folder):
    """As a user who may not look into the folder; root becomes another one."""
    root = os.geteuid() == 0
    folder.chmod(0o700 if root else 0)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def asked(folder, **options):
    """A thread that asks, and what it gets."""
    got = []

    def work():
        try:
            got.append(ask_for_recipe(folder, "gear", "command", **options))
        except UsageError as error:
            got.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, got


def test_the_line_takes_a_request_once_and_its_answer_reaches_who_asked(tmp_path):
    (tmp_path / REQUEST_NAME).write_text('{"key": "old", "recipe": "gear", "asked_by": "command"}')
    with line(tmp_path):
        files = RequestFile(tmp_path)
        assert files.take() is None, "what was asked of an earlier line is forgotten"
        thread, got = asked(tmp_path)
        assert eventually((tmp_path / REQUEST_NAME).exists)
        request = files.take()
        assert (request.recipe, request.asked_by) == ("gear", "command") and files.take() is None
        files.answer(RecipeAnswer("another", True, "gear", "not this one", 1.0))
        with pytest.raises(UsageError, match="at this moment"):
            ask_for_recipe(tmp_path, "plate", "mqtt")
        files.answer(RecipeAnswer(request.key, False, "gear", "why not", 2.0))
        thread.join(WAIT_S)
    assert got == [RecipeAnswer(request.key, False, "gear", "why not", 2.0)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 1, "recipe": "a", "asked_by": "b"}', b"x" * 20_000])
def test_a_request_that_is_none_is_removed_and_not_acted_on(tmp_path, content):
    files = RequestFile(tmp_path)
    (tmp_path / REQUEST_NAME).write_bytes(content)
    assert files.take() is None
    assert not (tmp_path / REQUEST_NAME).exists()


def test_a_line_that_does_not_answer_leaves_no_request_behind(tmp_path):
    with line(tmp_path), pytest.raises(UsageError, match=r"not answered within 0\.2 s"):
        ask_for_recipe(tmp_path, "gear", "command", within_s=0.2)
    assert not (tmp_path / REQUEST_NAME).exists() and not (tmp_path / ANSWER_NAME).exists()


def test_a_line_that_ends_meanwhile_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_request, "_GONE_S", 0.2)
    with line(tmp_path):
        thread, got = asked(tmp_path)
        assert eventually((tmp_path / REQUEST_NAME).exists)
    thread.join(WAIT_S)
    assert "has ended" in got[0].message and not (tmp_path / REQUEST_NAME).exists()


def test_root_may_ask_a_line_of_another_user_and_leaves_the_lock_to_it(tmp_path):
    with line(tmp_path):
        files = RequestFile(tmp_path)
        assert (tmp_path / LOCK_NAME).exists(), "made by the line"
        thread, got = asked(tmp_path)
        assert eventually((tmp_path / REQUEST_NAME).exists)
        assert (tmp_path / REQUEST_NAME).stat().st_mode & 0o004, "whoever the line runs as can read it"
        files.answer(RecipeAnswer(files.take().key, True, "gear", "changed", 1.0))
        thread.join(WAIT_S)
    assert got[0].changed


def test_who_may_not_look_is_not_told_that_no_line_runs(tmp_path):
    (tmp_path / STATUS_NAME).write_text("{}")
    with without_rights(tmp_path), pytest.raises(UsageError, match="cannot be asked: Permission denied"):
        ask_for_recipe(tmp_path, "gear", "command")


def test_no_line_and_a_line_without_recipes_are_told_apart(tmp_path):
    with pytest.raises(UsageError, match="no line that runs"):
        ask_for_recipe(tmp_path, "gear", "command")
    with line(tmp_path, recipe=""), pytest.raises(UsageError, match="has no recipes"):
        ask_for_recipe(tmp_path, "gear", "command")
