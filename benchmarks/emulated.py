"""A processor with fewer instructions, emulated: `python -m benchmarks.emulated LEVEL COMMAND ...`.

The libraries that do the arithmetic choose their kernels by what the processor has; environment variables make them
leave instructions out. The clock, caches and memory stay those of this processor, so that ratios say more than times.
Not reached: ONNX Runtime, whose kernels know no such variable, and a few of OpenVINO's own (resizing, sums).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

# oneDNN in OpenVINO and torch; other kernels of torch; OpenCV. OpenVINO cannot be brought below AVX2 in this way:
# it then refuses the networks
_NO_AVX512 = {"ATEN_CPU_CAPABILITY": "avx2", "OPENCV_CPU_DISABLE": "AVX512-SKX"}
LEVELS: dict[str, dict[str, str]] = {
    "avx512-bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "avx512-vnni": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", **_NO_AVX512},
}


def emulated_level() -> str | None:
    """The level that this process's environment asks for; None: the processor as it is."""
    for level, variables in reversed(LEVELS.items()):
        if all(os.environ.get(name) == value for name, value in variables.items()):
            return level
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command at a level; its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) < 2 or given[0] not in LEVELS:
        print(f"usage: python -m benchmarks.emulated {{{','.join(LEVELS)}}} COMMAND ...", file=sys.stderr)
        return 2
    return subprocess.run(given[1:], env={**os.environ, **LEVELS[given[0]]}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
