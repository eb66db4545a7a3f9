"""Which shapes of a network are fast in INT8 here: `python -m benchmarks.studies.shapes [--out FILE.json]`.

Small networks with random weights, quantized as a bundle's are, bare in OpenVINO, all in turn, so that each meets the
same machine. What a block costs is told from two networks that differ by some of it: what surrounds it cancels out.
Random weights say nothing of accuracy, only what a multiply-add costs in which shape.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results_file import write_result
from benchmarks.timing.measure.bare_engine import BareEngine, open_network_bytes
from calibration.ranges import collect_ranges
from edge.core.errors import EdgeInspectError
from export.qdq import quantized_for_cpu

INPUT_SIDE = 256
FEW, MANY = 2, 8


class Sketch:
    """A network being written, from a picture (1, 3, side, side) on; `gmac` counts its multiply-adds."""

    def __init__(self, side: int = INPUT_SIDE, seed: int = 0) -> None:
        self.gmac = 0.0
        self._random = np.random.default_rng(seed)
        self._input_side = self._side = side
        self._channels = 3
        self._at = "image"
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def conv(self, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1, relu: bool = True) -> Sketch:
        from onnx import numpy_helper

        inputs = self._channels // groups
        # keeps activations of the same size from layer to layer, so that ranges stay ordinary
        spread = np.sqrt(2 / (inputs * kernel * kernel))
        weight = self._random.normal(0, spread, (channels, inputs, kernel, kernel)).astype(np.float32)
        name = f"conv{len(self._nodes)}"
        bias = self._random.normal(0, 0.1, channels).astype(np.float32)
        self._weights += [numpy_helper.from_array(weight, f"{name}_w"), numpy_helper.from_array(bias, f"{name}_b")]
        self._side //= stride
        self._channels = channels
        self.gmac += channels * inputs * kernel * kernel * self._side**2 / 1e9
        before, after = (kernel - stride + 1) // 2, (kernel - stride) // 2
        self._node(
            "Conv", [self._at, f"{name}_w", f"{name}_b"], kernel_shape=[kernel, kernel], strides=[stride, stride],
            pads=[before, before, after, after], group=groups,
        )  # fmt: skip
        return self.op("Relu") if relu else self

    def op(self, kind: str, **attributes: Any) -> Sketch:
        self._node(kind, [self._at], **attributes)
        return self

    def space_to_depth(self) -> Sketch:
        self._side, self._channels = self._side // 2, self._channels * 4
        return self.op("SpaceToDepth", blocksize=2)

    def depth_to_space(self) -> Sketch:
        self._side, self._channels = self._side * 2, self._channels // 4
        return self.op("DepthToSpace", blocksize=2, mode="CRD")

    def enlarge(self) -> Sketch:
        """Nearest neighbours, twice the side."""
        from onnx import numpy_helper

        name = f"scales{len(self._nodes)}"
        self._weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), name))
        self._side *= 2
        self._node("Resize", [self._at, "", name], mode="nearest", coordinate_transformation_mode="asymmetric",
                   nearest_mode="floor")  # fmt: skip
        return self

    def skip(self, body: Callable[[Sketch], Sketch]) -> Sketch:
        """The sum of what came in and what the body made of it."""
        before = self._at
        body(self)
        self._node("Add", [before, self._at])
        return self

    def times(self, count: int, body: Callable[[Sketch], Sketch]) -> Sketch:
        for _ in range(count):
            body(self)
        return self

    def model(self) -> bytes:
        """The FP32 ONNX, ended by a 1x1 convolution to one channel."""
        from onnx import TensorProto, checker, helper

        self.conv(1, 1, relu=False)
        side, last = self._input_side, self._side
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
        self._nodes[-1].output[0] = "map"
        result = helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, last, last])
        graph = helper.make_graph(self._nodes, "shape", [image], [result], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> None:
        from onnx import helper

        name = f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name, **attributes))
        self._at = f"{name}_out"


@dataclass(frozen=True)
class Shape:
    """One candidate. few, many: the networks whose difference is `blocks` of it; few None: the network as a whole."""

    group: str
    name: str
    many: Sketch
    few: Sketch | None = None
    blocks: int = 1

    @property
    def gmac(self) -> float:
        return (self.many.gmac - (self.few.gmac if self.few else 0.0)) / self.blocks


def block(group: str, name: str, side: int, channels: int, body: Callable[[Sketch], Sketch]) -> Shape:
    """A block of one place, FEW and MANY times in a row at this side and width."""

    def sketch(count: int) -> Sketch:
        stride = INPUT_SIDE // side
        return Sketch().conv(channels, max(3, stride), stride).times(count, body)

    return Shape(group, name, sketch(MANY), sketch(FEW), MANY - FEW)


def dense(width: int) -> Callable[[Sketch], Sketch]:
    return lambda sketch: sketch.conv(width)


def candidates() -> list[Shape]:
    """What is compared, by question."""
    shapes = [
        block("kind of block, 64 channels at 64x64", name, 64, 64, body)
        for name, body in {
            "dense 3x3": lambda s: s.conv(64),
            "dense 3x3, sum": lambda s: s.skip(lambda b: b.conv(64)),
            "depth-wise 3x3, 1x1": lambda s: s.conv(64, groups=64, relu=False).conv(64, 1),
            "depth-wise 7x7, 1x1": lambda s: s.conv(64, 7, groups=64, relu=False).conv(64, 1),
            "depth-wise 3x3, 1x1 to 4 times, 1x1": lambda s: s.conv(64, groups=64).conv(256, 1).conv(64, 1),
            "8 groups 3x3, 1x1": lambda s: s.conv(64, groups=8).conv(64, 1),
            "half as wide inside: 1x1, 3x3, 1x1": lambda s: s.conv(32, 1).conv(32).conv(64, 1),
            "1x1": lambda s: s.conv(64, 1),
        }.items()
    ]
    shapes += [
        block("width of a dense 3x3 at 64x64", f"{width} channels", 64, width, dense(width))
        for width in (12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96)
    ]
    shapes += [
        block("where the work is done, dense 3x3", f"{width} channels at {side}x{side}", side, width, dense(width))
        for side, width in ((256, 8), (128, 16), (64, 32), (32, 64), (16, 128))
    ]
    # LeakyReLU and the like are refused INT8 by the operator policy; what that costs is shown, not assumed
    shapes += [
        block("what follows a dense 3x3, 64 channels at 64x64", name, 64, 64, body)
        for name, body in {
            "ReLU": lambda s: s.conv(64),
            "nothing": lambda s: s.conv(64, relu=False),
            "LeakyReLU": lambda s: s.conv(64, relu=False).op("LeakyRelu", alpha=0.1),
            "hard swish": lambda s: s.conv(64, relu=False).op("HardSwish"),
        }.items()
    ]

    def down(stem: Sketch) -> Sketch:
        return stem.conv(48, stride=2)

    stem, up = "from the picture to 32 channels at 128x128", "from 48 channels at 64x64 to 24 at 128x128"
    shapes += [
        Shape(stem, "space to depth, 3x3", down(Sketch().space_to_depth().conv(32))),
        Shape(stem, "6x6, stride 2", down(Sketch().conv(32, 6, 2))),
        Shape(stem, "3x3, stride 2", down(Sketch().conv(32, 3, 2))),
        Shape(stem, "2x2, stride 2", down(Sketch().conv(32, 2, 2))),
        Shape(stem, "3x3 at 256x256, 3x3, stride 2", down(Sketch().conv(16).conv(32, 3, 2))),
        Shape(up, "enlarge, 3x3", Sketch().conv(48, 4, 4).enlarge().conv(24)),
        Shape(up, "1x1, enlarge, 3x3", Sketch().conv(48, 4, 4).conv(24, 1).enlarge().conv(24)),
        Shape(up, "3x3, depth to space", Sketch().conv(48, 4, 4).conv(96).depth_to_space()),
    ]
    return shapes


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table on standard output, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.shapes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="calls of every network (default: 100)")
    parser.add_argument("--threads", type=int, help="processor threads (default: all cores)")
    parser.add_argument("--group", help="only groups whose name holds this")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    parser.add_argument("--page", type=Path, help="with --out: write docs/figures/shapes.md from it")
    options = parser.parse_args(given)
    if options.page is not None and options.out is None:
        parser.error("--page is written from the result file: give --out")
    try:
        chosen = [shape for shape in candidates() if options.group is None or options.group in shape.group]
        values = measure(chosen, options.rounds, options.threads)
    except EdgeInspectError as error:
        print(f"benchmarks.studies.shapes: {error}", file=sys.stderr)
        return error.exit_code
    print(table(values))
    if options.out is not None:
        write_result(options.out, " ".join(["python -m benchmarks.studies.shapes", *given]), values)
        if options.page is not None:
            result = json.loads(options.out.read_text(encoding="utf-8"))
            options.page.write_text(page(result, f"benchmarks/results/{options.out.parent.name}/{options.out.name}"))
    return 0


def measure(shapes: Sequence[Shape], rounds: int, threads: int | None) -> dict[str, Any]:
    """Milliseconds and GMAC/s of every shape, INT8; times are first quartiles, what it takes when nobody disturbs.

    gmac_per_s: None where a block was lost in the noise.
    """
    pictures = [np.random.default_rng(seed).uniform(-1, 1, (3, INPUT_SIDE, INPUT_SIDE)) for seed in range(2)]
    images = [picture.astype(np.float32) for picture in pictures]

    def opened(sketch: Sketch) -> BareEngine:
        model = sketch.model()
        return open_network_bytes(quantized_for_cpu(model, collect_ranges(model, images)), INPUT_SIDE, threads)

    # counted before a sketch is finished, which adds the last convolution
    gmacs = [shape.gmac for shape in shapes]
    engines = [(opened(shape.many), None if shape.few is None else opened(shape.few)) for shape in shapes]
    spent = np.zeros((rounds, len(shapes), 2))
    for row in spent:
        for index, (many, few) in enumerate(engines):
            row[index] = _ms(many), 0.0 if few is None else _ms(few)
    quartiles = np.percentile(spent, 25, axis=0)
    blocks = [shape.blocks for shape in shapes]
    times = [float(ms) for ms in (quartiles[:, 0] - quartiles[:, 1]) / blocks]
    for many, few in engines:
        many.close()
        if few is not None:
            few.close()
    return {
        "input_px": [INPUT_SIDE, INPUT_SIDE],
        "rounds": rounds,
        "threads": threads,
        "shapes": [
            {
                "group": shape.group,
                "name": shape.name,
                "per_block": shape.few is not None,
                "gmac": round(gmac, 5),
                "ms": round(ms, 4),
                "gmac_per_s": round(gmac / ms * 1000, 1) if ms > 0 else None,
            }
            for shape, gmac, ms in zip(shapes, gmacs, times, strict=True)
        ],
    }


def _ms(engine: BareEngine) -> float:
    # once unwatched: what the network before left in the caches is not this one's business
    engine.run()
    started = time.perf_counter_ns()
    engine.run()
    return (time.perf_counter_ns() - started) / 1e6


def page(result: dict[str, Any], name: str) -> str:
    """The study as a page, from a result file; `name` is what a reader of the repository finds it by."""
    device = result["device"]
    parts = [
        "# Shapes that are fast in INT8",
        f"Written by `python -m benchmarks.studies.shapes --page` from `{name}`: {device['processor']}, "
        f"{device['cores']} cores, {result['date_utc'][:10]}, load {device['load_average'][0]:.1f} when written. "
        "[How it is measured](benchmark.md#which-shapes-are-fast-in-int8).",
        "MMAC: a million multiply-adds. Bold: the least time, and the most multiply-adds per second, of each table.",
    ]
    for group, rows in _grouped(result):
        fastest = min(row["ms"] for row in rows)
        best = max(row["gmac_per_s"] or 0.0 for row in rows)
        lines = ["| shape | MMAC | ms | GMAC/s |", "|---|---|---|---|"]
        for row in rows:
            rate = "–" if row["gmac_per_s"] is None else _bold(f"{row['gmac_per_s']:.0f}", row["gmac_per_s"] == best)
            ms = _bold(f"{row['ms']:.3f}", row["ms"] == fastest)
            lines.append(f"| {row['name']} | {row['gmac'] * 1000:.2f} | {ms} | {rate} |")
        kind = "one block" if rows[0]["per_block"] else "a whole small network"
        parts += [f"## {group[0].upper()}{group[1:]}", f"Each row is {kind}.", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _bold(text: str, chosen: bool) -> str:
    return f"**{text}**" if chosen else text


def _grouped(values: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    groups = dict.fromkeys(row["group"] for row in values["shapes"])
    return [(group, [row for row in values["shapes"] if row["group"] == group]) for group in groups]


def table(values: dict[str, Any]) -> str:
    """The figures for a person, by question; of each the fastest per multiply-add is marked."""
    lines = []
    for group, rows in _grouped(values):
        best = max(row["gmac_per_s"] or 0.0 for row in rows)
        lines += ["", f"{group:<52}{'MMAC':>9}{'ms':>9}{'GMAC/s':>9}"]
        for row in rows:
            rate = "–" if row["gmac_per_s"] is None else f"{row['gmac_per_s']:.0f}"
            mark = "  *" if row["gmac_per_s"] == best else ""
            lines.append(f"  {row['name']:<50}{row['gmac'] * 1000:>9.2f}{row['ms']:>9.3f}{rate:>9}{mark}")
    return "\n".join(lines[1:])


if __name__ == "__main__":
    sys.exit(main())
