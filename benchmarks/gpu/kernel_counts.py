"""What the kernels execute for a frame: `python -m benchmarks.gpu.kernel_counts [--out FILE.json]`. No GPU, but nvcc.

nvcc's PTX is executed on the processor. Counted are instructions, once for every warp of 32 threads, and the bytes that
threads ask for, caches or not; told by the pixel that is made: of the field for preprocessing, else of the map.

What the driver's compiler makes of the PTX is not seen: it leaves out moves and conversions of addresses, and writes a
division in about ten instructions of its own. So compare counts with earlier ones, not with a clock.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.kernels import FRAME_SIDE, SPECS
from benchmarks.gpu.ptx.memory import DeviceMemory
from benchmarks.gpu.ptx.module import Counts, PtxModule
from benchmarks.gpu.ptx.threads import WARP
from benchmarks.program import Values, option, program
from edge.bundles.bundle import load_bundle
from edge.core.errors import EngineError, MissingDependency
from edge.core.manifest import ScoreSpec
from edge.kernels.cpu import NormalStatistics
from edge.kernels.cuda.compilers import FLAGS, UNIT, find_nvcc
from edge.kernels.cuda.launch import ScoreKernels
from edge.kernels.cuda.plan import FloatType, ScorePlan
from edge.samples import sample_bundle

# the text that GPUs in between are given
_ARCHITECTURE = 75
_CAMERA = (480, 640)
# of an H200
_MULTIPROCESSORS = 132
# of a memory's network: an eighth of the side
_PLACES = 8
_GROUPS = {
    "division and root": ("div", "rem", "rcp", "sqrt"),
    "memory": ("ld", "st", "atom", "red", "membar"),
    "control": ("bra", "ret", "bar", "setp", "selp"),
    "moves and conversions": ("mov", "cvt", "cvta"),
}


def kernels_ptx(nvcc: str) -> str:
    """The PTX of all kernels, with the flags that ship; raises EngineError with nvcc's words."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernels.ptx"
        command = [
            nvcc,
            *FLAGS,
            f"-arch=compute_{_ARCHITECTURE}",
            "--ptx",
            "-o",
            str(target),
            str(UNIT),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise EngineError(
                f"{nvcc} refuses the kernels: {result.stderr.strip()[-2000:]}", fix="update the CUDA toolkit"
            )
        return target.read_text()


def counted(
    text: str, spec: ScoreSpec, outputs: tuple[str, ...], element: FloatType, multiprocessors: int = 0
) -> dict[str, Any]:
    """One frame of a camera through all kernels of a score: counts of each, by the pixel that it makes.

    multiprocessors: of the GPU; with many of them a frame is done in small tiles.
    """
    field = (FRAME_SIDE, FRAME_SIDE)
    places = (FRAME_SIDE // _PLACES, FRAME_SIDE // _PLACES)
    plan = ScorePlan(
        spec, field, outputs, input_type=element, output_type=element, emb_shape=places, multiprocessors=multiprocessors
    )
    memory, random = DeviceMemory(), np.random.default_rng(0)
    module = PtxModule(text, memory)
    statistics = NormalStatistics(np.full(plan.map_shape, 0.02, np.float32), np.full(plan.map_shape, 30, np.float32))
    kernels = ScoreKernels(module, plan, memory, statistics)
    frame = random.integers(0, 256, (*_CAMERA, 3), np.uint8)
    numbers = {"f16": np.float16, "f32": np.float32}[element]
    shapes = {"recon": (3, *field), "seg_logit": field, "emb_dist": places}
    given = {name: memory.put(random.normal(0, 0.3, shapes[name]).astype(numbers)) for name in outputs}
    pictures = memory.device_memory(3 * FRAME_SIDE**2 * np.dtype(numbers).itemsize)
    maps = memory.device_memory(4 * plan.map_shape[0] * plan.map_shape[1])
    kernels.preprocess(None, memory.put(frame), pictures, 1, *_CAMERA)
    kernels.score(None, given, maps, memory.device_memory(plan.result_bytes), 1)
    pixels = {name: np.prod(field if name.startswith("preprocess") else plan.map_shape) for name in module.launched}
    per_pixel = {name: _per_pixel(module.counts[name], int(number)) for name, number in pixels.items()}
    return {"map": list(plan.map_shape), "launches": module.launched, "per_pixel": per_pixel}


def _per_pixel(counts: Counts, pixels: int) -> dict[str, Any]:
    groups: Counter[str] = Counter()
    for opcode, number in counts.instructions.items():
        groups[_group(opcode)] += number
    # what a thread does, as if all 32 of its warp took part
    by_pixel = {name: round(number * WARP / pixels, 1) for name, number in groups.most_common()}
    instructions = round(sum(counts.instructions.values()) * WARP / pixels, 1)
    # parameters lie in a memory of their own, one read for all threads
    data = {name: number for name, number in sorted(counts.bytes.items()) if not name.endswith(".param")}
    asked = {name: round(number / pixels, 2) for name, number in data.items()}
    return {"instructions": instructions, "of_them": by_pixel, "bytes": asked}


def _group(opcode: str) -> str:
    name = opcode.split(".")[0]
    for group, names in _GROUPS.items():
        if name in names:
            return group
    return "floating point" if opcode.endswith(("f32", "f64")) else "whole numbers"


@program(option("--element", choices=("f16", "f32"), default="f32", help="type of the network's outputs and input"))
def main(options: argparse.Namespace) -> Values:
    """Count for every score path of the kernel benchmark, and for that of the shipped bundle."""
    nvcc = find_nvcc()
    if nvcc is None:
        raise MissingDependency("nvcc was not found", fix="install the CUDA toolkit, or set CUDA_HOME")
    text = kernels_ptx(nvcc)
    manifest = load_bundle(sample_bundle()).manifest
    paths: dict[str, tuple[ScoreSpec, tuple[str, ...]]] = {name: (spec, ("recon",)) for name, spec in SPECS.items()} | {
        "shipped bundle": (manifest.score, manifest.outputs)
    }
    return {
        "compiler": re.findall(r"compilation tools, release (.*)", text)[0],
        "ptx": f"compute_{_ARCHITECTURE}",
        "frame": list(_CAMERA),
        "field": [FRAME_SIDE, FRAME_SIDE],
        "element": options.element,
        "score_paths": {
            f"{name}{tiles}": counted(text, spec, outputs, options.element, multiprocessors)
            for name, (spec, outputs) in paths.items()
            for tiles, multiprocessors in (("", 0), (" in small tiles", _MULTIPROCESSORS))
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
