"""The parent's side of the process that holds a driver: start it, hear it, end it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from typing import Any

from edge.capture.genicam.child import Request
from edge.capture.genicam.slots import Slots
from edge.core.datatypes import U8
from edge.core.errors import CameraError

log = logging.getLogger(__name__)

# to start Python and to import the driver's packages, on a busy machine
START_S = 30.0
# so long a driver may take to give the camera back; a GigE camera else refuses the next one for seconds
STOP_S = 3.0
# the same where the line ends, which waits for nobody
STOP_SOON_S = 0.4
_SLICE_S = 0.1


@dataclass(frozen=True)
class Message:
    """What the child tells: `ready`, `waiting`, `picture`, `incomplete` or `dropped`, with its values."""

    kind: str
    values: dict[str, Any]


class ChildProcess:
    """A running driver. Not thread-safe. Raises CameraError where it cannot be started or the camera is not there."""

    def __init__(self, request: Request, open_timeout_ms: int) -> None:
        self._connection, theirs = Pipe()
        life, self._life = os.pipe()
        memory = os.memfd_create("edge-inspect-pictures")
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "edge.capture.genicam.child",
                    *(str(fd) for fd in (theirs.fileno(), life, memory)),
                ],
                pass_fds=(theirs.fileno(), life, memory),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdin=subprocess.DEVNULL,
                # drivers write at will, and would spoil the view of a terminal
                stdout=subprocess.DEVNULL,
                stderr=None if log.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL,
                # Ctrl-C of the terminal is not for it
                start_new_session=True,
            )
            theirs.close()
            os.close(life)
            try:
                self._connection.send_bytes(json.dumps(asdict(request)).encode())
                self._expect("opening", START_S, "the driver's process does not start")
                ready = self._expect(
                    "ready",
                    open_timeout_ms / 1000,
                    f"the camera was not opened within camera.open_timeout_ms ({open_timeout_ms})",
                )
                self.name = str(ready.values["name"])
                self._slots = Slots(memory, ready.values["slots"], ready.values["slot_bytes"])
            except BaseException:
                self.kill()
                raise
        finally:
            os.close(memory)

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self, within_s: float, interrupted: Callable[[], bool] = lambda: False) -> Message | None:
        """The next message; None when there is none in time, or `interrupted` says so. CameraError at its end."""
        until_s = time.monotonic() + within_s
        while not interrupted():
            left_s = until_s - time.monotonic()
            try:
                if self._connection.poll(max(0.0, min(left_s, _SLICE_S))):
                    return self._understood(json.loads(self._connection.recv_bytes()))
            except (EOFError, OSError):
                raise CameraError(self._why_ended(), fix="the driver is started again; see its maker's log") from None
            if left_s <= 0:
                return None
        return None

    def picture(self, message: Message) -> U8:
        """The bytes of a `picture`, shared: they stay until `give_back`."""
        return self._slots.view(message.values["slot"])[: message.values["bytes"]]

    def give_back(self, message: Message) -> None:
        try:
            self._connection.send_bytes(bytes([message.values["slot"]]))
        # it has ended, which the next `hear` says
        except OSError:
            return

    def close(self, within_s: float = STOP_S) -> None:
        """Let the driver give the camera back; one that does not in time is killed."""
        self._connection.close()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            log.debug("the driver does not stop, and is killed")
        self.kill()

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        if self._life >= 0:
            os.close(self._life)
            self._life = -1

    def _expect(self, kind: str, within_s: float, otherwise: str) -> Message:
        message = self.hear(within_s)
        if message is None:
            raise CameraError(
                otherwise,
                fix="raise camera.open_timeout_ms for a slow network; see that no other program has the camera",
            )
        if message.kind != kind:
            raise CameraError(f"the driver's process says {message.kind} instead of {kind}", fix="start it again")
        return message

    @staticmethod
    def _understood(given: dict[str, Any]) -> Message:
        kind = given.pop("is")
        if kind == "failed":
            fix = given["fix"] or "see that the camera has power and network, and that no other program has it"
            raise CameraError(given["message"], fix=fix)
        return Message(kind, given)

    def _why_ended(self) -> str:
        try:
            code = self._process.wait(STOP_SOON_S)
        except subprocess.TimeoutExpired:
            return "the driver's process closed its connection"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the driver's process {how}"
