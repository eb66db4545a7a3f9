"""What a time was measured on, and in which state it was: clocks, governor, power mode, temperatures, versions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.results_file import commit, installed_versions
from edge.core.hardware import SYSTEM_ROOT, board_name, find_gpus, jetson_release, read_processor

_CPU = "sys/devices/system/cpu"
# files that say how fast the processor may run, by the name that the report gives them
_POWER_FILES = {
    "governor": f"{_CPU}/cpu0/cpufreq/scaling_governor",
    "energy_preference": f"{_CPU}/cpu0/cpufreq/energy_performance_preference",
    "boost": f"{_CPU}/cpufreq/boost",
    "no_turbo": f"{_CPU}/intel_pstate/no_turbo",
    "hyper_threading": f"{_CPU}/smt/active",
    "platform_profile": "sys/firmware/acpi/platform_profile",
    "jetson_power_mode": "var/lib/nvpmodel/status",
}
_GPU_FIELDS = (
    "name", "driver_version", "pstate", "clocks.sm", "clocks.mem", "clocks.max.sm", "temperature.gpu", "power.limit",
    "persistence_mode",
)  # fmt: skip


def machine_facts(root: Path = SYSTEM_ROOT) -> dict[str, Any]:
    """What does not change during a run; whatever the system does not tell is None."""
    processor = read_processor(root)
    memory_kb = _field(_text(root / "proc/meminfo"), "MemTotal")
    return {
        "processor": processor.name,
        "cores": processor.cores,
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "features": list(processor.features),
        "virtual": " hypervisor " in f"{_field(_text(root / 'proc/cpuinfo'), 'flags')} ",
        "memory_mb": round(int(memory_kb.split()[0]) / 1024) if memory_kb else None,
        "board": board_name(root),
        "jetson": jetson_release(root),
        "gpus": list(find_gpus(root).names),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "power": {name: _text(root / path).strip() or None for name, path in _POWER_FILES.items()},
        "versions": {"python": platform.python_version(), **installed_versions()},
        "commit": commit(),
    }


def gpu_state() -> list[dict[str, str]]:
    """Clocks, power state and temperature of every NVIDIA GPU; asked before and after a run, never during it: the
    question itself makes a GPU pause."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if result.returncode:
        return []
    rows = [line.split(", ") for line in result.stdout.splitlines()]
    return [dict(zip(_GPU_FIELDS, row, strict=True)) for row in rows if len(row) == len(_GPU_FIELDS)]


def machine_state(root: Path = SYSTEM_ROOT, ask_gpus: Callable[[], list[dict[str, str]]] = gpu_state) -> dict[str, Any]:
    """What does change: clocks, temperatures, and how much else runs; taken before and after."""
    return {
        "utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "clocks_mhz": _clocks(root),
        "temperatures_c": _temperatures(root),
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "gpus": ask_gpus(),
        "gpu_clock_mhz": _jetson_gpu_clock(root),
    }


def _clocks(root: Path) -> list[int]:
    """One for each core; a processor that does not scale tells its nominal clock, some virtual machines none."""
    scaled = sorted((root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    if scaled:
        return [round(int(text) / 1000) for path in scaled if (text := _text(path).strip()).isdecimal()]
    lines = _text(root / "proc/cpuinfo").splitlines()
    return [round(float(line.partition(":")[2])) for line in lines if line.lower().startswith("cpu mhz")]


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        _note_temperature(found, _text(zone / "type").strip() or zone.name, _text(zone / "temp"))
    for sensor in sorted((root / "sys/class/hwmon").glob("hwmon*/temp*_input")):
        chip = _text(sensor.parent / "name").strip() or sensor.parent.name
        label = _text(sensor.with_name(sensor.name.replace("_input", "_label"))).strip()
        _note_temperature(found, f"{chip} {label}".strip(), _text(sensor))
    return found


def _note_temperature(found: dict[str, float], name: str, text: str) -> None:
    try:
        celsius = int(text) / 1000
    except ValueError:
        # a sensor that is switched off has a file and no value
        return
    if celsius > 0:
        found[name] = max(found.get(name, 0.0), celsius)


def _jetson_gpu_clock(root: Path) -> int | None:
    for path in sorted((root / "sys/class/devfreq").glob("*gpu*/cur_freq")):
        if (text := _text(path).strip()).isdecimal():
            return round(int(text) / 1e6)
    return None


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
