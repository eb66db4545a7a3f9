"""`python -m edge` as a child process, the way a line uses it: the one launcher of the system tests."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.cli import main
from edge.records.schema import DATABASE_NAME
from tests.paths import ROOT

# generous: two busy cores must never turn a slow start into a failure
WAIT_S = 120.0


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with the repository importable from any directory, and no terminal."""
    path = os.pathsep.join(filter(None, [str(ROOT), changes.pop("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]))
    # one thread for torch: on busy cores several wait for each other, and a step takes ten times as long
    fixed = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **fixed, **changes}


def edge(*arguments: object, cwd: Path, prefix: tuple[str, ...] = (), **changes: str):
    """Run one command to its end; returncode, stdout and stderr as text. cwd: where `records` and config.yaml lie."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "edge", *map(str, arguments)],
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * WAIT_S,
    )


def edge_here(capsys, *arguments: object):
    """The same in this process, which takes a tenth of the time; the working directory is the test's."""
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, code, output.out, output.err)


def verdicts(output: str) -> list[dict]:
    """The JSON objects of a run's standard output, one a line and nothing else."""
    return [json.loads(line) for line in output.splitlines()]


def decisions(output: str) -> list[str]:
    return [verdict["decision"] for verdict in verdicts(output)]


def assert_refused(result, code: int, *words: str) -> None:
    """One message with its fix on standard error, this exit code, no traceback, nothing on standard output."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    message = [line for line in result.stderr.splitlines() if line.startswith("edge-inspect: ")]
    assert len(message) == 1, result.stderr
    assert re.search(r"^  fix: \S", result.stderr, re.MULTILINE), result.stderr
    for word in words:
        assert word in result.stderr


def rows(directory: Path, columns: str = "frame_index, decision, score") -> list[tuple]:
    """The recorded verdicts, oldest first, from a database that is whole."""
    connection = sqlite3.connect(directory / DATABASE_NAME)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute(f"SELECT {columns} FROM verdicts ORDER BY id").fetchall()
    finally:
        connection.close()


class Running:
    """A command that goes on until it is stopped; its lines are collected as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.verdicts: list[dict] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        # both pipes are emptied all the time: a full one would hold up the run
        self._readers = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, condition: Callable[[list[dict]], bool]) -> list[dict]:
        """Read verdicts until the condition holds for all of them so far."""
        give_up = time.monotonic() + WAIT_S
        while not condition(self.verdicts):
            try:
                line = self._lines.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not in {WAIT_S:.0f} s; {self.verdicts[-3:]} {self.errors}") from None
            assert line is not None, f"it ended: {self.errors}"
            self.verdicts.append(json.loads(line))
        return self.verdicts

    def wait_for_count(self, count: int) -> list[dict]:
        return self.wait_for(lambda all_of_them: len(all_of_them) >= count)

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end and collect the rest; the exit code."""
        code = self.process.wait(WAIT_S)
        for reader in self._readers:
            reader.join(WAIT_S)
        while (line := self._lines.get(timeout=WAIT_S)) is not None:
            self.verdicts.append(json.loads(line))
        return code

    @property
    def errors(self) -> str:
        return "".join(self._errors)

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            # a killed process may leave half a line
            if line.endswith("\n"):
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line)


@contextmanager
def running(*arguments: object, cwd: Path, program: Sequence[str] = ("-m", "edge"), **changes: str):
    """A Running command; killed at the end of the block if it still runs. program: what the interpreter is given."""
    process = subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run = Running(process)
    try:
        yield run
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(WAIT_S)
