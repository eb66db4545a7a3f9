"""The compilers that a machine may have for the kernels: nvcc of a toolkit, or NVRTC, a library of 60 MB from PyPI."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from edge.core.errors import EngineError

SOURCES = Path(__file__).parent
UNIT = SOURCES / "kernels.cu"
# no contraction: what the host computes with single roundings, the device must as well
FLAGS = ("-std=c++17", "-fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false")
_TOOLKIT = Path("/usr/local/cuda")
_COMPILE_TIMEOUT_S = 1800
_UPDATE = "update the CUDA toolkit (11.8 or newer)"

Version = tuple[int, int]


class Compiler(Protocol):
    """name: for messages. version: of its CUDA, which a driver must not be older than. architectures: that it knows."""

    name: str
    version: Version
    architectures: tuple[int, ...]

    def compile(self, code: Sequence[int], intermediate: Sequence[int]) -> bytes:
        """What the driver loads: code for some architectures, PTX for others; raises EngineError with its words."""


class Nvcc:
    """The toolkit's compiler, for any number of architectures at once. path: of the program."""

    def __init__(self, path: str) -> None:
        """Raises EngineError when it does not run."""
        self.name = path
        found = re.search(r"release (\d+)\.(\d+)", self._said("--version"))
        if found is None:
            raise EngineError(f"{path} does not say its version", fix="check the CUDA toolkit")
        self.version = int(found[1]), int(found[2])
        self.architectures = _numbers(r"compute_(\d+)\b", self._said("--list-gpu-arch"))

    def compile(self, code: Sequence[int], intermediate: Sequence[int]) -> bytes:
        targets = [f"-gencode=arch=compute_{each},code=sm_{each}" for each in code]
        targets += [f"-gencode=arch=compute_{each},code=compute_{each}" for each in intermediate]
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "kernels.fatbin"
            # a fifth of the size; the driver unpacks what it needs
            packed = ("--fatbin", "-Xfatbin=-compress-all", "--threads", "0")
            command = [self.name, *FLAGS, *packed, *targets, "-o", str(target), str(UNIT)]
            try:
                result = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise EngineError(f"{self.name} does not run: {error}", fix="check the CUDA toolkit") from error
            if result.returncode != 0:
                words = (result.stderr or result.stdout).strip()[-2000:]
                raise EngineError(f"{self.name} refuses the kernels: {words}", fix=_UPDATE)
            return target.read_bytes()

    def _said(self, option: str) -> str:
        try:
            return subprocess.run([self.name, option], capture_output=True, text=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineError(f"{self.name} does not run: {error}", fix="check the CUDA toolkit") from error


class Nvrtc:
    """The compiler as a library, for one architecture at a time. path: of libnvrtc."""

    def __init__(self, path: str) -> None:
        """Raises EngineError when it cannot be loaded."""
        self.name = path
        try:
            self._library: Any = ctypes.CDLL(path)
        except OSError as error:
            raise EngineError(f"{path} cannot be loaded: {error}", fix="install it again") from error
        major, minor, count = c_int(), c_int(), c_int()
        self._call("nvrtcVersion", byref(major), byref(minor))
        self.version = major.value, minor.value
        self._call("nvrtcGetNumSupportedArchs", byref(count))
        listed = (c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", listed)
        self.architectures = tuple(listed)

    def compile(self, code: Sequence[int], intermediate: Sequence[int]) -> bytes:
        (target,) = [*(f"sm_{each}" for each in code), *(f"compute_{each}" for each in intermediate)]
        options = [option.encode() for option in (*FLAGS, f"-arch={target}", f"-I{SOURCES}")]
        program = c_void_p()
        source, name = UNIT.read_bytes(), UNIT.name.encode()
        self._call("nvrtcCreateProgram", byref(program), c_char_p(source), c_char_p(name), c_int(0), None, None)
        try:
            given = (c_char_p * len(options))(*options)
            if self._library.nvrtcCompileProgram(program, c_int(len(options)), given) != 0:
                words = self._fetched("nvrtcGetProgramLog", program).decode(errors="replace").strip("\0\n ")[-2000:]
                raise EngineError(f"{self.name} refuses the kernels: {words}", fix=_UPDATE)
            return self._fetched("nvrtcGetCUBIN" if code else "nvrtcGetPTX", program)
        finally:
            self._library.nvrtcDestroyProgram(byref(program))

    def _fetched(self, call: str, program: c_void_p) -> bytes:
        size = c_size_t()
        self._call(f"{call}Size", program, byref(size))
        content = ctypes.create_string_buffer(size.value)
        self._call(call, program, content)
        return content.raw

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise EngineError(f"{self.name}: {name} failed with error {status}", fix="install another version of NVRTC")


def find_compilers() -> Iterator[Compiler]:
    """nvcc, then each NVRTC that is installed; what does not run is left out."""
    nvcc = find_nvcc()
    candidates: list[tuple[Callable[[str], Compiler], str]] = [] if nvcc is None else [(Nvcc, nvcc)]
    for opened, path in [*candidates, *((Nvrtc, path) for path in _nvrtc_libraries())]:
        try:
            yield opened(path)
        except EngineError:
            continue


def find_nvcc() -> str | None:
    """nvcc on PATH, or where the toolkit is installed."""
    beside = [str(root / "bin") for root in _toolkits()]
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(beside))


def nvrtc_wheel(version: Version) -> str:
    """The requirement that installs the NVRTC of a CUDA version from PyPI."""
    suffix = f"-cu{version[0]}" if version[0] < 13 else ""
    return f"nvidia-cuda-nvrtc{suffix}=={version[0]}.{version[1]}.*"


def _nvrtc_libraries() -> list[str]:
    spec = find_spec("nvidia")
    wheels = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    # one library goes by several names, of which some are links
    found = {
        path.resolve(): None
        for folders in ([each.glob("*/lib") for each in wheels], [each.glob("lib64") for each in _toolkits()])
        for folder in (folder for several in folders for folder in several)
        for path in sorted(folder.glob("libnvrtc.so.*"))
    }
    return [str(path) for path in found]


def _toolkits() -> list[Path]:
    named = [Path(root) for name in ("CUDA_HOME", "CUDA_PATH") if (root := os.environ.get(name))]
    return [*named, _TOOLKIT]


def _numbers(pattern: str, text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(pattern, text))
