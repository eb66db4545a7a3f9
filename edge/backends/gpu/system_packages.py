"""Packages that the system's Python has, such as JetPack's TensorRT, and that this environment does not see."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.core.errors import HiddenDependency
from edge.core.hardware import JETSON_PAGE, SYSTEM_ROOT


def hidden_package(
    name: str,
    root: Path = SYSTEM_ROOT,
    seen: Sequence[str] | None = None,
    version: tuple[int, int] = sys.version_info[:2],
) -> HiddenDependency | None:
    """The error that tells of a package which Debian's or Ubuntu's packages installed; None where there is none.

    root: of the file system. seen: the folders that modules are imported from, sys.path when None; a package in one of
    them is not hidden. version: of the Python that runs.
    """
    visible = {Path(folder).resolve() for folder in (sys.path if seen is None else seen) if folder}
    folders = [*root.glob("usr/lib/python3*/dist-packages"), *root.glob("usr/local/lib/python3*/dist-packages")]
    found = [path for folder in folders if (path := folder / name).is_dir() and folder.resolve() not in visible]
    # dist-packages of python3 serves whichever Python 3 the system has: no version to compare
    own = [path for path in found if _python_of(path) in (None, version)]
    running = f"{version[0]}.{version[1]}"
    if own:
        return HiddenDependency(
            f"{name} is installed on this system ({own[0]}), but the environment {sys.prefix} does not see it",
            fix="let the environment see the system's packages: set `include-system-site-packages = true` in "
            f"{sys.prefix}/pyvenv.cfg, or make it anew with `python3 -m venv --system-site-packages` ({JETSON_PAGE})",
        )
    if found:
        other = ".".join(str(part) for part in _python_of(found[0]) or ())
        return HiddenDependency(
            f"{name} is installed on this system for Python {other} ({found[0]}), and this is Python {running}",
            fix=f"make the environment with it: `python{other} -m venv --system-site-packages` ({JETSON_PAGE})",
        )
    return None


def _python_of(path: Path) -> tuple[int, int] | None:
    match = re.fullmatch(r"python(\d+)\.(\d+)", path.parents[1].name)
    return (int(match.group(1)), int(match.group(2))) if match else None
