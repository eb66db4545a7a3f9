"""OpenVINO's core, one for the process.

The CPU plugin gives the thread that loads it a stack for signals, and takes its memory back with the core (OpenVINO
2026.4): the next Ctrl-C or SIGTERM would end the process with a segmentation fault.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def openvino_core() -> Any:
    """Made when it is first asked for, kept until the process ends."""
    import openvino

    return openvino.Core()
