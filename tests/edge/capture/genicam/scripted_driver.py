"""A driver for the child process that does what its camera's name says: `genicam:1 2 wait300 4 incomplete hang`.

A number is a picture with that id, whose grey level is the id (modulo 256), with a little noise; `incomplete` a buffer
that is not whole, without an id, and `incomplete7` one with; `waitMS` a time without pictures; `hang` a call that never
returns and holds the interpreter, `crash` one that ends the process; `touch:FILE` makes a file, `pulse:FILE` waits for
one, as for a trigger. After the last word pictures stay away.
"""

import ctypes
import os
import signal
import time
from pathlib import Path

import numpy as np

from edge.capture.genicam.driver import Buffer, PixelLayout
from edge.core.errors import CameraError

HEIGHT, WIDTH = 16, 24


class ScriptedDriver:
    picture_bytes = HEIGHT * WIDTH

    def __init__(self, settings):
        self.name = f"scripted, triggered {settings.triggered}"
        self._words = settings.serial.split()
        self._checks = 0

    def next_buffer(self, timeout_s):
        if not self._words:
            time.sleep(timeout_s)
            return None
        word = self._words.pop(0)
        if word.startswith("wait"):
            left_ms = int(word.removeprefix("wait")) - round(timeout_s * 1000)
            time.sleep(timeout_s)
            if left_ms > 0:
                self._words.insert(0, f"wait{left_ms}")
            return None
        if word.startswith("pulse:"):
            until_s = time.monotonic() + timeout_s
            while not Path(word.removeprefix("pulse:")).exists():
                if time.monotonic() > until_s:
                    self._words.insert(0, word)
                    return None
                time.sleep(0.001)
            return None
        if word.startswith("touch:"):
            Path(word.removeprefix("touch:")).touch()
            return None
        if word == "hang":
            # PyDLL keeps the interpreter's lock, as bindings of GenTL do
            ctypes.PyDLL(None).pause()
        if word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == "fail":
            raise CameraError("the cable is off", fix="plug it in")
        if word.startswith("incomplete"):
            number = word.removeprefix("incomplete")
            return Buffer(int(number) if number else None)
        noise = np.random.default_rng(int(word)).integers(0, 3, HEIGHT * WIDTH)
        data = (int(word) % 200 + 30 + noise).astype(np.uint8)
        return Buffer(int(word), None, PixelLayout("Mono8", WIDTH, HEIGHT, WIDTH), data)

    def release(self): ...

    def check(self):
        self._checks += 1

    def close(self): ...


def open_driver(settings):
    if settings.serial == "none":
        raise CameraError("no camera", fix="plug one in")
    return ScriptedDriver(settings)
