"""Result files: what was measured, on what, when, at which commit, and the command that does it again."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.emulated import LEVELS, emulated_level
from edge.bundles.bundle import write_atomically
from edge.core.hardware import Processor, read_processor

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
_NUMBERS = re.compile(r"\[[\s\d.,eE+-]*\]")
PACKAGES = ("edge-inspect", "numpy", "opencv-python-headless", "openvino", "onnxruntime", "torch")


def result_path(name: str) -> Path:
    """benchmarks/results/<this device>/<name>.json."""
    return RESULTS / device_slug(read_processor(), emulated_level()) / f"{name}.json"


def device_slug(processor: Processor, emulated: str | None = None) -> str:
    """The folder name of a device: "AMD EPYC" with two cores → amd-epyc-2-cores; at a level: amd-epyc-2-cores-avx2."""
    plain = re.sub(r"\((?:r|tm)\)", "", processor.name.lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{plain} {processor.cores} cores {emulated or ''}").strip("-")


def write_result(path: Path, command: str, values: Mapping[str, Any]) -> None:
    """Write values under the head that every result carries; replaces an older file at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json_text({**result_head(command), **values}) + "\n").encode())


def json_text(values: Mapping[str, Any]) -> str:
    """Indented JSON, with lists of numbers on one line: thousands of times need not be as many lines."""
    return _NUMBERS.sub(lambda found: re.sub(r"\s+", " ", found[0]), json.dumps(values, indent=1))


def result_head(command: str) -> dict[str, Any]:
    """Device, date, commit, command and versions."""
    processor, level = read_processor(), emulated_level()
    emulation = {} if level is None else {"emulated": {"level": level, "environment": LEVELS[level]}}
    return {
        "device": {
            "processor": processor.name,
            "cores": processor.cores,
            "features": list(processor.features),
            **emulation,
            "system": f"{platform.system()} {platform.machine()}",
            # another program's work shows in the figures
            "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        },
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": command,
        "versions": {"python": platform.python_version(), **installed_versions()},
    }


def installed_versions() -> dict[str, str]:
    """Versions of the packages that decide speed and scores; what is not installed is left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(root: Path = ROOT) -> str | None:
    """The commit measured, with "-dirty" when the working tree differs; None outside a repository."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
