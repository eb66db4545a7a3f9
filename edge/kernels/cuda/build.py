"""The kernels as one fat binary for every supported GPU: compiled by nvcc once, loaded without it.

`make kernels` compiles it beside the sources. Where that was not done, the first use compiles for the GPU at hand, into
the user's cache. A file's name holds the hash of sources and flags, so that kernels are never run from an older state,
and the architectures that are inside.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from edge.core.errors import EngineError, MissingDependency
from edge.core.files.atomic_file import write_atomic
from edge.core.files.file_lock import file_lock

SOURCES = Path(__file__).parent
# 7.5 Turing, 8.x Ampere (8.7: Orin) and Ada, 9.0 Hopper, 11.0 Thor, 12.0 Blackwell
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 110, 120)
# PTX besides, for GPUs in between and to come: the driver takes the newest that it can use
_PTX = (75, 120)
# no contraction: what the host computes with single roundings, the device must as well
FLAGS = ("-std=c++17", "-O3", "-fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false")
_UNIT = "kernels.cu"
_COMPILE_TIMEOUT_S = 1800

log = logging.getLogger("edge.kernels")


def kernel_image(compute_capability: str, folders: Iterable[Path] | None = None, nvcc: str | None = None) -> bytes:
    """The fat binary for a GPU such as "8.7": found, or compiled where nvcc is installed.

    folders: where to look; the last is where a new one is kept. nvcc: its path, None to look for it. Raises
    MissingDependency where there is neither a binary nor nvcc, EngineError where nvcc fails.
    """
    architecture = int(compute_capability.replace(".", ""))
    places = [SOURCES, user_cache()] if folders is None else list(folders)
    found = find_image(places, architecture)
    if found is None:
        compiler = nvcc or find_nvcc()
        if compiler is None:
            raise MissingDependency(
                f"there are no compiled kernels for compute capability {compute_capability} (looked for "
                f"{_pattern()} in {', '.join(map(str, places))}), and no nvcc to compile them",
                fix=f"run `make kernels` on any machine with the CUDA toolkit, and copy the file to {places[-1]}",
            )
        log.info("compiling the kernels for compute capability %s; this takes a minute, once", compute_capability)
        found = build_image(places[-1], compiler, (architecture,))
    try:
        return found.read_bytes()
    except OSError as error:
        raise EngineError(f"{found}: {error.strerror}", fix="delete it; it is made anew") from error


def find_image(folders: Iterable[Path], architecture: int) -> Path | None:
    """A binary of the sources as they are, with code for this GPU; None when there is none."""
    for folder in folders:
        for path in sorted(folder.glob(_pattern())):
            inside = {int(number) for number in re.findall(r"\d+", path.stem.split("-")[-1])}
            if _runs_on(inside, architecture):
                return path
    return None


def build_image(folder: Path, nvcc: str, architectures: tuple[int, ...] = ARCHITECTURES) -> Path:
    """Compile for these GPUs, those that this nvcc does not know left out, into `folder`; one process at a time.

    Raises EngineError with nvcc's words.
    """
    known = _known(nvcc)
    chosen = tuple(each for each in architectures if each in known)
    if not chosen:
        raise EngineError(
            f"{nvcc} knows none of the GPUs {_listed(architectures)}, only {_listed(known)}",
            fix="install a CUDA toolkit of the GPU's time, and put its nvcc on PATH",
        )
    path = folder / f"kernels-{source_hash()}-{'.'.join(map(str, chosen))}.fatbin"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / "kernels.lock", lambda: log.warning("%s is being compiled, waiting", path)):
            if not path.exists():
                write_atomic(path, _compiled(nvcc, chosen))
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}", fix="free some space, or make the folder writable") from error
    return path


def _compiled(nvcc: str, architectures: tuple[int, ...]) -> bytes:
    targets = [f"-gencode=arch=compute_{each},code=sm_{each}" for each in architectures]
    # a binary for one GPU is for that one alone
    intermediate = [each for each in _PTX if each in architectures] if len(architectures) > 1 else []
    targets += [f"-gencode=arch=compute_{each},code=compute_{each}" for each in intermediate]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernels.fatbin"
        # a fifth of the size; the driver unpacks what it needs
        run_nvcc(nvcc, ["--fatbin", "-Xfatbin=-compress-all", "--threads", "0", *targets, "-o", str(target)])
        return target.read_bytes()


def run_nvcc(nvcc: str, arguments: list[str]) -> None:
    """Compile the kernels with our flags and these; raises EngineError with nvcc's words."""
    command = [nvcc, *FLAGS, *arguments, str(SOURCES / _UNIT)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{nvcc} does not run: {error}", fix="check the CUDA toolkit") from error
    if result.returncode != 0:
        words = (result.stderr or result.stdout).strip()[-2000:]
        raise EngineError(f"{nvcc} refuses the kernels: {words}", fix="update the CUDA toolkit (11.8 or newer)")


def find_nvcc() -> str | None:
    """nvcc on PATH, or where the toolkit is installed."""
    roots = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    beside = [str(Path(root) / "bin") for root in (*roots, "/usr/local/cuda") if root]
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(beside))


def source_hash() -> str:
    """Of every source and flag that the binary depends on."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted((*SOURCES.glob("*.cu"), *SOURCES.glob("*.h"))):
        content = path.read_bytes()
        digest.update(f"\n{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def user_cache() -> Path:
    """Where compiled kernels are kept that do not lie beside the sources."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "edge-inspect"


def _pattern() -> str:
    return f"kernels-{source_hash()}-*.fatbin"


def _runs_on(inside: set[int], architecture: int) -> bool:
    """Code runs on GPUs of its own generation from its own number on; PTX on all later ones."""
    same = any(each // 10 == architecture // 10 and each <= architecture for each in inside)
    return same or (len(inside) > 1 and any(each in inside and each <= architecture for each in _PTX))


def _known(nvcc: str) -> tuple[int, ...]:
    try:
        listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"{nvcc} does not run: {error}", fix="check the CUDA toolkit") from error
    return tuple(int(number) for number in re.findall(r"compute_(\d+)\b", listed.stdout))


def _listed(architectures: tuple[int, ...]) -> str:
    return ", ".join(f"{each // 10}.{each % 10}" for each in architectures)


def main() -> int:
    """`python -m edge.kernels.cuda.build`: compile for every supported GPU, beside the sources."""
    nvcc = find_nvcc()
    if nvcc is None:
        print("nvcc was not found: install the CUDA toolkit, or set CUDA_HOME", file=sys.stderr)
        return MissingDependency.exit_code
    try:
        print(build_image(SOURCES, nvcc))
    except EngineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
