"""Whoever waits is told what is being done; what is quick, or printed for a program, is not spoken of."""

import sys
import time

from edge.core import progress
from edge.core.progress import details_in, silence, working


def test_what_takes_long_is_said_on_standard_error_and_said_again(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SAID_AFTER_S", 0.01)
    monkeypatch.setattr(progress, "_SAID_AGAIN_S", 0.05)
    with working("loading the model"):
        time.sleep(0.3)
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert lines[0] == "loading the model ..."
    assert lines[1].startswith("loading the model: 0 s so far ...")


def test_what_is_quick_is_not_spoken_of(capsys):
    with working("loading the model"):
        pass
    assert capsys.readouterr().err == ""


def test_a_program_that_reads_the_output_is_not_spoken_to(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SAID_AFTER_S", 0.0)
    with silence(True), working("loading the model"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_details_go_to_a_file_and_what_goes_on_to_the_person(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SAID_AFTER_S", 0.0)
    with (tmp_path / "details.log").open("w") as log, details_in(log), working("the gate"):
        progress.say("image AUROC 0.9")
        time.sleep(0.05)
    assert "the gate ..." in capsys.readouterr().err
    assert (tmp_path / "details.log").read_text() == "image AUROC 0.9\n"


def test_nobody_who_reads_does_not_end_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "_SAID_AFTER_S", 0.0)
    closed = (tmp_path / "closed").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with working("loading the model"):
        time.sleep(0.05)
