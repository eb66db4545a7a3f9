"""For `doctor`: whether what the settings ask for, of cameras and of the plant, can be had on this machine."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

from edge.capture.genicam.producers import names_genicam, producer_files
from edge.core.config import Settings
from edge.core.errors import CameraError, MissingDependency
from edge.system.extras import require
from edge.system.findings import Finding, State

_PACKAGES = {
    "sign": "cryptography",
    "metrics": "prometheus-client",
    "mqtt": "paho-mqtt",
    "opcua": "asyncua",
    "plc": "pymodbus",
    "gpio": "gpiod",
    "genicam": "harvesters",
}
# for ports below it a process needs a right of its own
_FIRST_FREE_PORT = 1024


def plant_findings(settings: Settings) -> list[Finding]:
    """One for each surface that is asked for; nothing for the others."""
    wanted = {
        "sign": settings.channel.source is not None,
        "metrics": settings.metrics.port is not None,
        "mqtt": settings.mqtt.host is not None,
        "opcua": settings.opcua.port is not None,
        "plc": settings.plc.port is not None,
        "gpio": settings.outputs.chip is not None,
        "genicam": names_genicam(settings.camera.source or "") or bool(settings.camera.genicam.producers),
    }
    return [_finding(extra, settings) for extra in wanted if wanted[extra]]


def _finding(extra: str, settings: Settings) -> Finding:
    try:
        require(extra)
    except MissingDependency as error:
        return Finding(extra, State.FAIL, f"{_PACKAGES[extra]} is not installed", error.fix)
    package = f"{_PACKAGES[extra]} {metadata.version(_PACKAGES[extra])}"
    if extra == "gpio":
        return _gpio_finding(package, Path(str(settings.outputs.chip)))
    if extra == "genicam":
        return _genicam_finding(package, settings)
    nodeset = Path(str(settings.opcua.nodeset))
    if extra == "opcua" and not nodeset.is_file():
        fix = "give opcua.nodeset; docs/line/opcua.md says where Opc.Ua.MachineVision.NodeSet2.xml is to be had"
        return Finding(extra, State.FAIL, f"{package}; {nodeset}: no such file", fix)
    port = settings.plc.port
    if extra == "plc" and port is not None and port < _FIRST_FREE_PORT and os.geteuid() != 0:
        fix = f"set plc.port to {_FIRST_FREE_PORT} or more, as 1502; or give the service CAP_NET_BIND_SERVICE"
        return Finding(extra, State.WARN, f"{package}; port {port} may need a right that this user has not", fix)
    return Finding(extra, State.OK, package)


def _genicam_finding(package: str, settings: Settings) -> Finding:
    """Which producers a GenICam camera would be looked for with; none is loaded here."""
    try:
        files = producer_files(settings.camera.genicam.producers)
    except CameraError as error:
        return Finding("genicam", State.FAIL, f"{package}; {error.message}", error.fix)
    return Finding("genicam", State.OK, f"{package}, {', '.join(str(file) for file in files)}")


def _gpio_finding(package: str, chip: Path) -> Finding:
    if not chip.exists():
        return Finding(
            "gpio", State.FAIL, f"{package}; {chip}: no such chip", "set outputs.chip; see ls /dev/gpiochip*"
        )
    if not os.access(chip, os.R_OK | os.W_OK):
        fix = "let this user use it, mostly: sudo usermod -aG gpio $USER, then log in again"
        return Finding("gpio", State.FAIL, f"{package}; {chip}: no permission", fix)
    return Finding("gpio", State.OK, f"{package}, {chip}")
