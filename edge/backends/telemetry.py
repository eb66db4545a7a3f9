"""OpenVINO's telemetry is switched off: a box on a line sends nothing."""

from __future__ import annotations

import sys


def refuse_telemetry() -> None:
    """Keep OpenVINO from reporting its import to Google Analytics; call before anything imports openvino.

    Its Python package asks no variable first, and forks the process to send. Without `openvino_telemetry` it uses a
    stub of its own.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
