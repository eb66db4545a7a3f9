"""The kernels in the form that a driver loads: compiled once, for every supported GPU or for the one at hand.

`make kernels` compiles them beside the sources. Where that was not done, or by a toolkit newer than the driver, the
first use compiles for the GPU at hand, into the user's cache. A file's name holds the hash of sources and flags, so
that kernels are never run from an older state, the toolkit's CUDA version, and what is inside.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import EngineError, MissingDependency
from edge.core.files.atomic_file import write_atomic
from edge.core.files.file_lock import file_lock
from edge.kernels.cuda.compilers import FLAGS, SOURCES, Compiler, Nvcc, Version, find_compilers, find_nvcc, nvrtc_wheel

# 7.5 Turing, 8.x Ampere (8.7: Orin) and Ada, 9.0 Hopper, 11.0 Thor, 12.0 Blackwell
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 110, 120)
# PTX besides, for GPUs in between and to come: the driver takes the newest that it can use
_PTX = (75, 120)
# boards run code that was made for them alone; other GPUs also that of their generation's earlier ones
_BOARDS = frozenset({72, 87, 101, 110})

log = logging.getLogger("edge.kernels")


@dataclass(frozen=True)
class ImageFile:
    """Compiled kernels on disk. toolkit: CUDA of the compiler. code, intermediate: architectures, as code, as PTX."""

    path: Path
    toolkit: Version
    code: tuple[int, ...]
    intermediate: tuple[int, ...]

    def runs_on(self, architecture: int, driver: Version) -> bool:
        """Whether it should; the driver has the last word.

        Code runs on drivers of the compiler's major version; PTX only on those that are no older than the compiler.
        """
        by_code = self.toolkit[0] <= driver[0] and any(_code_runs(each, architecture) for each in self.code)
        return by_code or (self.toolkit <= driver and any(each <= architecture for each in self.intermediate))


def kernel_image(
    compute_capability: str,
    cuda: str,
    refusal: Callable[[bytes], str | None],
    folders: Iterable[Path] | None = None,
    compilers: Callable[[], Iterable[Compiler]] = find_compilers,
) -> bytes:
    """The kernels for a GPU such as "8.7" under a driver that speaks CUDA such as "12.6": found, or compiled here.

    refusal: the driver's own words about an image that it does not take. folders: where to look; the last is where a
    new one is kept. Raises MissingDependency where there is neither an image nor a compiler for it, EngineError where
    the compiler or the driver refuses.
    """
    architecture, driver = _architecture(compute_capability), _version(cuda)
    places = _places() if folders is None else list(folders)
    refused: list[Path] = []
    for found in find_images(places, compute_capability, cuda):
        image = _read(found.path)
        why = refusal(image)
        if why is None:
            return image
        log.warning("%s: the driver (CUDA %s) refuses it, %s: compiling here instead", found.path, cuda, why)
        refused.append(found.path)
    compiler = local_compiler(compute_capability, cuda, compilers)
    if compiler is None:
        raise MissingDependency(
            f"there are no kernels that run on compute capability {compute_capability} under CUDA {cuda} (looked for "
            f"{_pattern()} in {', '.join(map(str, places))}), and no compiler of that CUDA",
            fix=f"pip install '{nvrtc_wheel(driver)}'; or run `make kernels` with a CUDA toolkit no newer than the "
            f"driver, and copy the file to {places[-1]}",
        )
    log.warning(
        "compiling the kernels for compute capability %s with %s (CUDA %d.%d); this takes a minute, once",
        compute_capability, compiler.name, *compiler.version,
    )  # fmt: skip
    path = _build(places[-1], compiler, *_targets_here(architecture, compiler, driver), instead_of=refused)
    image = _read(path)
    why = refusal(image)
    if why is not None:
        raise EngineError(
            f"{path}: the driver (CUDA {cuda}) refuses what {compiler.name} compiled for it: {why}",
            fix=f"pip install '{nvrtc_wheel(driver)}', or update the driver",
        )
    return image


def find_images(folders: Iterable[Path] | None, compute_capability: str, cuda: str) -> list[ImageFile]:
    """Images of the sources as they are, for this GPU and driver, newest toolkit first. None: the usual places."""
    architecture, driver = _architecture(compute_capability), _version(cuda)
    places = _places() if folders is None else folders
    found = [each for each in _image_files(places) if each.runs_on(architecture, driver)]
    return sorted(found, key=lambda each: each.toolkit, reverse=True)


def local_compiler(
    compute_capability: str, cuda: str, compilers: Callable[[], Iterable[Compiler]] = find_compilers
) -> Compiler | None:
    """The first compiler of this machine whose code this driver takes for this GPU; None when there is none."""
    architecture, driver = _architecture(compute_capability), _version(cuda)
    return next((each for each in compilers() if any(_targets_here(architecture, each, driver))), None)


def build_image(folder: Path, compiler: Compiler) -> Path:
    """Compile for all supported GPUs, those that this compiler does not know left out; one process at a time.

    Raises EngineError with the compiler's words.
    """
    code = tuple(each for each in ARCHITECTURES if each in compiler.architectures)
    if not code:
        raise EngineError(
            f"{compiler.name} knows none of the GPUs {_listed(ARCHITECTURES)}, only {_listed(compiler.architectures)}",
            fix="install a CUDA toolkit of the GPU's time, and put its nvcc on PATH",
        )
    return _build(folder, compiler, code, tuple(each for each in _PTX if each in code))


def _targets_here(architecture: int, compiler: Compiler, driver: Version) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(code, PTX) to compile for one GPU under one driver, one architecture in one of the two; both empty: none can."""
    known = sorted(each for each in compiler.architectures if each <= architecture)
    running = [each for each in known if _code_runs(each, architecture)]
    if running and compiler.version[0] <= driver[0]:
        return (running[-1],), ()
    # a compiler from before this GPU: the driver finishes what it begins
    return ((), (known[-1],)) if known and compiler.version <= driver else ((), ())


def _code_runs(made_for: int, architecture: int) -> bool:
    if {made_for, architecture} & _BOARDS:
        return made_for == architecture
    return made_for // 10 == architecture // 10 and made_for <= architecture


def _build(
    folder: Path,
    compiler: Compiler,
    code: tuple[int, ...],
    intermediate: tuple[int, ...],
    instead_of: Collection[Path] = (),
) -> Path:
    """instead_of: files that are there, and of no use."""
    inside = ".".join(map(str, code)) + ("+" if intermediate else "") + ".".join(map(str, intermediate))
    toolkit = "{}.{}".format(*compiler.version)
    path = folder / f"kernels-{source_hash()}-cuda{toolkit}-{inside}.fatbin"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / "kernels.lock", lambda: log.warning("%s is being compiled, waiting", path)):
            if path in instead_of or not path.exists():
                write_atomic(path, compiler.compile(code, intermediate))
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}", fix="free some space, or make the folder writable") from error
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}", fix="delete it; it is made anew") from error


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


def _places() -> list[Path]:
    return [SOURCES, user_cache()]


def _pattern() -> str:
    return f"kernels-{source_hash()}-cuda*.fatbin"


def _image_files(folders: Iterable[Path]) -> Iterator[ImageFile]:
    for folder in folders:
        for path in sorted(folder.glob(_pattern())):
            named = re.fullmatch(r"kernels-\w+-cuda(\d+)\.(\d+)-([\d.]*)\+?([\d.]*)", path.stem)
            if named is not None:
                code, intermediate = (tuple(map(int, re.findall(r"\d+", named[place]))) for place in (3, 4))
                yield ImageFile(path, (int(named[1]), int(named[2])), code, intermediate)


def _architecture(compute_capability: str) -> int:
    return int(compute_capability.replace(".", ""))


def _version(cuda: str) -> Version:
    major, minor = cuda.split(".")
    return int(major), int(minor)


def _listed(architectures: Iterable[int]) -> str:
    return ", ".join(f"{each // 10}.{each % 10}" for each in architectures)


def main() -> int:
    """`python -m edge.kernels.cuda.build`: compile for every supported GPU, beside the sources."""
    nvcc = find_nvcc()
    if nvcc is None:
        print("nvcc was not found: install the CUDA toolkit, or set CUDA_HOME", file=sys.stderr)
        return MissingDependency.exit_code
    try:
        print(build_image(SOURCES, Nvcc(nvcc)))
    except EngineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
