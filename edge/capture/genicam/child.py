"""The process that holds a GenICam driver: `python -m edge.capture.genicam.child SOCKET LIFE MEMORY` (descriptors).

Bindings of GenTL wait without letting other threads run, drivers hang and crash, and few find a lost camera again: so
the driver is alone here, and whoever started this process ends it and starts another one.

Messages are JSON, except that a single byte gives a slot of the shared memory back. LIFE is a pipe into which nobody
writes: when its other end closes, the kernel ends this process, also while a driver does not return.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from edge.capture.genicam.driver import Buffer, Driver, DriverSettings
from edge.capture.genicam.slots import Slots
from edge.core.errors import EdgeInspectError

# how long one look for a buffer takes; a stop is noticed after it
LOOK_S = 0.05
# while no picture comes: when the parent hears that the driver answers, and when the camera itself is asked
TELL_EVERY_S = 0.25
ASK_EVERY_S = 1.0


@dataclass(frozen=True)
class Request:
    """driver: a module with `open_driver(settings) -> Driver`. slots: of the shared memory, where most_bytes allow."""

    driver: str
    settings: DriverSettings
    slots: int
    most_picture_bytes: int
    most_bytes: int


class _Child:
    def __init__(self, connection: Connection, memory: int) -> None:
        self._connection, self._memory = connection, memory
        self._free: list[int] = []

    def tell(self, what: str, **values: Any) -> None:
        self._connection.send_bytes(json.dumps({"is": what, **values}).encode())

    def serve(self) -> None:
        given = json.loads(self._connection.recv_bytes())
        request = Request(**{**given, "settings": DriverSettings(**given["settings"])})
        opener = import_module(request.driver)
        self.tell("opening")
        driver: Driver = opener.open_driver(request.settings)
        try:
            self._pass_on(driver, self._slots(driver, request))
        finally:
            driver.close()

    def _slots(self, driver: Driver, request: Request) -> Slots:
        size = driver.picture_bytes
        if not 0 < size <= request.most_picture_bytes:
            raise EdgeInspectError(
                f"{driver.name}: a picture of {size} bytes is larger than camera.max_megapixels allows",
                fix="raise camera.max_megapixels, or let the camera send less (camera.width_px, camera.height_px)",
            )
        slots = Slots.made(self._memory, max(2, min(request.slots, request.most_bytes // size)), size)
        self._free = list(range(slots.count))
        self.tell("ready", name=driver.name, slots=slots.count, slot_bytes=size)
        return slots

    def _pass_on(self, driver: Driver, slots: Slots) -> None:
        told_s = asked_s = time.monotonic()
        while self._take_back():
            buffer = driver.next_buffer(LOOK_S)
            at_ns, now_s = time.perf_counter_ns(), time.monotonic()
            if buffer is not None:
                try:
                    self._pass_one(buffer, slots, at_ns)
                finally:
                    driver.release()
                told_s = asked_s = now_s
                continue
            if now_s - asked_s >= ASK_EVERY_S:
                driver.check()
                asked_s = time.monotonic()
            if now_s - told_s >= TELL_EVERY_S:
                self.tell("waiting")
                told_s = now_s

    def _take_back(self) -> bool:
        """Slots that were read are free again; False when the parent wants an end."""
        try:
            while self._connection.poll(0):
                self._free.append(self._connection.recv_bytes()[0])
        except (EOFError, OSError):
            return False
        return True

    def _pass_one(self, buffer: Buffer, slots: Slots, at_ns: int) -> None:
        values = {"at_ns": at_ns, "id": buffer.frame_id, "device_ns": buffer.device_ns}
        if buffer.data is None or buffer.layout is None:
            self.tell("incomplete", **values)
        elif buffer.data.size > slots.slot_bytes:
            raise EdgeInspectError(
                f"a picture of {buffer.data.size} bytes came, and the camera had said {slots.slot_bytes} at most",
                fix="the camera is opened again; let no other program change its picture format meanwhile",
            )
        elif not self._free:
            self.tell("dropped", **values)
        else:
            slot = self._free.pop()
            slots.view(slot)[: buffer.data.size] = buffer.data
            self.tell("picture", slot=slot, bytes=int(buffer.data.size), layout=asdict(buffer.layout), **values)


def _die_with(life: int) -> None:
    """Let the kernel end this process when the pipe's other end is closed; no thread could while a driver hangs."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    try:
        gone = os.read(life, 1) == b""
    except BlockingIOError:
        gone = False
    if gone:
        sys.exit(1)


def main() -> None:
    socket, life, memory = (int(text) for text in sys.argv[1:4])
    _die_with(life)
    # Ctrl-C is for the parent, which then stops this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = _Child(Connection(socket), memory)
    try:
        child.serve()
    except (BrokenPipeError, ConnectionResetError, EOFError):
        # the parent has closed the connection: it wants no more
        return
    except EdgeInspectError as error:
        child.tell("failed", message=error.message, fix=error.fix)
    # a binding throws what it likes; the parent names it
    except Exception as error:  # noqa: BLE001
        child.tell("failed", message=f"{type(error).__name__}: {error}", fix="")


if __name__ == "__main__":
    main()
