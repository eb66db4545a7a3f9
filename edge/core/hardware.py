"""What this machine is made of: processor, GPU, cameras. Read from the file system, whose root can be another one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# instructions that decide how fast INT8 and FP32 networks run, in the spelling of /proc/cpuinfo
RELEVANT_FEATURES = (
    "avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "i8mm", "bf16",
)  # fmt: skip

SYSTEM_ROOT = Path("/")
# what messages send the owner of a Jetson to
JETSON_PAGE = "docs/line/jetson.md"


@dataclass(frozen=True)
class Processor:
    """name: as the system calls it. cores: logical. features: those of RELEVANT_FEATURES that it has."""

    name: str
    cores: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class Gpus:
    """names: one per NVIDIA GPU, with driver and memory. problem: why a GPU that is there cannot be asked, or None."""

    names: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True)
class VideoDevice:
    """A local camera. may_open: this user may read and write it. used_by: programs that have it open."""

    path: Path
    number: int
    name: str
    may_open: bool
    used_by: tuple[str, ...]


def read_processor(root: Path = SYSTEM_ROOT) -> Processor:
    """The processor from /proc/cpuinfo; on boards that do not name it there, the board's name."""
    fields: dict[str, str] = {}
    cores = 0
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        cores += key.strip() == "processor"
        fields.setdefault(key.strip().lower(), value.strip())
    flags = set(f"{fields.get('flags', '')} {fields.get('features', '')}".split())
    name = fields.get("model name") or board_name(root) or "unknown"
    return Processor(
        name, cores or os.cpu_count() or 1, tuple(feature for feature in RELEVANT_FEATURES if feature in flags)
    )


def board_name(root: Path = SYSTEM_ROOT) -> str | None:
    """The name of an embedded board, such as a Jetson; None on a PC."""
    return _text(root / "proc/device-tree/model").strip("\0\n ") or None


def jetson_release(root: Path = SYSTEM_ROOT) -> str | None:
    """The Jetson Linux release, such as "R36 (release), REVISION: 4.3"; None elsewhere."""
    match = re.match(r"#\s*(R\d+[^,]*,\s*REVISION:\s*[\d.]+)", _text(root / "etc/nv_tegra_release"))
    return match.group(1) if match else None


def nvidia_smi() -> str:
    """What nvidia-smi says, one GPU per line: name, driver, memory. Raises OSError when it is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise FileNotFoundError("nvidia-smi is not installed")
    command = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError("nvidia-smi did not answer within 10 s") from error
    if result.returncode != 0:
        raise OSError((result.stdout + result.stderr).strip() or f"nvidia-smi ended with {result.returncode}")
    return result.stdout


def find_gpus(root: Path = SYSTEM_ROOT, ask: Callable[[], str] = nvidia_smi) -> Gpus:
    """The NVIDIA GPUs; a device file without a driver that answers is a problem, no device file at all is not."""
    release = jetson_release(root)
    if release is not None:
        return Gpus((f"{board_name(root) or 'Jetson'}, Jetson Linux {release}",))
    if not list((root / "dev").glob("nvidia[0-9]*")):
        return Gpus(())
    try:
        lines = ask().splitlines()
    except OSError as error:
        return Gpus((), problem=str(error))
    return Gpus(tuple(line.strip() for line in lines if line.strip()))


def _may_open(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


def find_cameras(root: Path = SYSTEM_ROOT, may_open: Callable[[Path], bool] = _may_open) -> list[VideoDevice]:
    """The capture devices under /dev/video*, by number; a camera's second, metadata-only node is left out."""
    users = _open_devices(root)
    cameras = []
    for path in (root / "dev").glob("video*"):
        number = path.name.removeprefix("video")
        about = root / "sys/class/video4linux" / path.name
        if not number.isdecimal() or (_text(about / "index").strip() or "0") != "0":
            continue
        cameras.append(
            VideoDevice(
                path=path,
                number=int(number),
                name=_text(about / "name").strip() or "unnamed",
                may_open=may_open(path),
                used_by=tuple(sorted(users.get(f"/dev/{path.name}", ()))),
            )
        )
    return sorted(cameras, key=lambda camera: camera.number)


def _open_devices(root: Path) -> dict[str, set[str]]:
    """Device → programs that have it open, as far as this user may see."""
    users: dict[str, set[str]] = {}
    for process in (root / "proc").glob("[0-9]*"):
        try:
            targets = {str(link.readlink()) for link in (process / "fd").iterdir()}
        except OSError:
            # another user's process, or one that has just ended
            continue
        for target in targets:
            if target.startswith("/dev/video"):
                program = _text(process / "comm").strip() or "process"
                users.setdefault(target, set()).add(f"{program} ({process.name})")
    return users


def _text(path: Path) -> str:
    """The content, or "" where the system has no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
