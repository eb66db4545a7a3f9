"""FP32 ONNX and ranges → an ONNX with explicit Quantize/Dequantize pairs: the INT8 artefact of one target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.core.errors import UsageError
from export.graph import Graph, attribute, graph_from_onnx
from export.operators import MOVING, Target, int8_nodes, is_fused
from export.tensor_ranges import Ranges

# a bias of 32 bits must hold its largest value; scales of channels without weights are raised until it does
_LARGEST_BIAS = 2**30
_SMALLEST_STEP = 1e-12


@dataclass(frozen=True)
class _Scheme:
    """How one target wants its numbers.

    signed: activations are symmetric int8, else uint8 with a zero point. weight_peak: the largest quantized weight.
    bias: quantized to 32 bits, else left in floating point. everywhere: a pair on all that passes between INT8 nodes,
    else only where arithmetic reads: before convolutions and, with sums, on the by-pass of a sum. shared: the parts of
    a Concat, and the summands of an Add, have one scale. per_channel: each output channel's weights have a scale of
    their own. half: scales are numbers that FP16 holds.
    """

    target: Target
    signed: bool
    weight_peak: int
    bias: bool
    everywhere: bool
    shared: bool
    sums: bool = True
    per_channel: bool = True
    half: bool = False


# seven bits, because processors without VNNI add two products in 16 bits and would saturate: the same bundle must score
# the same on every machine
_CPU = _Scheme("cpu", signed=False, weight_peak=64, bias=True, everywhere=True, shared=False)
# the parser of TensorRT for RTX refuses a quantized bias; TensorRT moves pairs over Resize, MaxPool and Concat itself
_TENSORRT = _Scheme("tensorrt", signed=True, weight_peak=127, bias=False, everywhere=False, shared=True)
# a convolution of TensorRT for RTX takes one number for its scale: with a scale for each channel it writes FP32 before
# bias and ReLU, and a kernel of their own does these; with FP32 scales it writes FP32, too. It adds FP16 as it is
_RTX = replace(_TENSORRT, target="tensorrt-rtx", shared=False, sums=False, per_channel=False, half=True)


def quantized_for_cpu(
    model_fp32: bytes, ranges: Mapping[str, tuple[float, float]], floating: Collection[str] = ()
) -> bytes:
    """INT8 for OpenVINO and ONNX Runtime: unsigned activations, signed weights of seven bits per output channel.

    floating: names of convolutions to leave alone, besides those that write an output (export/operators.py).
    """
    return _Quantizer(model_fp32, ranges, floating, _CPU).model()


def quantized_for_tensorrt(
    model_fp32: bytes, ranges: Mapping[str, tuple[float, float]], floating: Collection[str] = ()
) -> bytes:
    """INT8 for TensorRT and TensorRT for RTX: symmetric signed activations, weights of eight bits per channel.

    Pairs stand where TensorRT fuses them: before each convolution (after a Resize), and on one side of a sum, so that
    the other convolution adds it in its own epilogue. What is not quantized stays FP32 here (export/fp16.py casts it).
    """
    return _Quantizer(model_fp32, ranges, floating, _TENSORRT).model()


def quantized_for_rtx(
    model_fp32: bytes, ranges: Mapping[str, tuple[float, float]], floating: Collection[str] = ()
) -> bytes:
    """INT8 for TensorRT for RTX: like TensorRT's, with one scale for all weights of a convolution.

    Scales are numbers that FP16 holds, so that export/fp16.py can cast them with all else: the convolution then applies
    scale, bias, ReLU and sum by itself and writes FP16. Rounding that to INT8 for the next one takes a kernel more,
    whatever the graph.
    """
    return _Quantizer(model_fp32, ranges, floating, _RTX).model()


class _Quantizer:
    """One graph being rewritten."""

    def __init__(
        self, model: bytes, ranges: Mapping[str, tuple[float, float]], floating: Collection[str], scheme: _Scheme
    ) -> None:
        self._graph = graph_from_onnx(model)
        self._scheme = scheme
        self._int8 = int8_nodes(self._graph, scheme.target, floating)
        self._readers = self._quantized_edges()
        self._ranges = _grouped(self._graph, self._int8, ranges, scheme.shared)
        self._means = ranges.means if isinstance(ranges, Ranges) else {}
        self._constants: list[Any] = []

    def model(self) -> bytes:
        from onnx import checker

        nodes = [pair for name in self._graph.inputs for pair in self._pair(name)]
        for node in self._graph.nodes:
            if node.op_type == "Conv" and node.name in self._int8:
                nodes += self._parameters(node)
            nodes.append(node)
            nodes += [pair for output in node.output for pair in self._pair(output)]
        for node in nodes:
            for place, name in enumerate(node.input):
                if (node.name, name) in self._readers:
                    node.input[place] = f"{name}_dequantized"
        proto = self._graph.model
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in proto.graph.initializer if tensor.name in used]
        del proto.graph.node[:], proto.graph.initializer[:], proto.graph.value_info[:]
        proto.graph.node.extend(nodes)
        proto.graph.initializer.extend([*kept, *self._constants])
        checker.check_model(proto, full_check=True)
        result: bytes = proto.SerializeToString(deterministic=True)
        return result

    def _quantized_edges(self) -> set[tuple[str, str]]:
        """(node, tensor) where a node reads the rounded form of a tensor."""
        graph, edges = self._graph, set()
        for node in graph.nodes:
            if node.name not in self._int8:
                continue
            for name in graph.computed_inputs(node):
                if not is_fused(graph, self._int8, name) and self._reads_rounded(node, name):
                    edges.add((node.name, name))
            if self._scheme.everywhere:
                for name in node.output:
                    readers = graph.consumers.get(name, [])
                    # what only floating point reads need not be rounded: it would cost the last layers their precision
                    if not is_fused(graph, self._int8, name) and any(reader.name in self._int8 for reader in readers):
                        edges.update((reader.name, name) for reader in readers)
        return edges

    def _reads_rounded(self, node: Any, name: str) -> bool:
        if self._scheme.everywhere or node.op_type == "Conv":
            return True
        return self._scheme.sums and node.op_type == "Add" and name != self._continued(node)

    def _continued(self, node: Any) -> str | None:
        """The summand that stays as the convolution computed it: the sum happens in that convolution's epilogue."""
        for name in self._graph.computed_inputs(node):
            maker = self._graph.producer.get(name)
            if maker is not None and maker.op_type == "Conv" and self._graph.only_reader(name) is not None:
                return name
        return None

    def _pair(self, name: str) -> list[Any]:
        """QuantizeLinear and DequantizeLinear of a tensor, where somebody reads it rounded."""
        from onnx import helper

        if not any((reader.name, name) in self._readers for reader in self._graph.consumers.get(name, [])):
            return []
        scale, zero = self._activation(name)
        constants = [f"{name}_scale", f"{name}_zero_point"]
        self._store(constants[0], self._held(scale))
        self._store(constants[1], np.int8(0) if self._scheme.signed else np.uint8(zero))
        return [
            helper.make_node("QuantizeLinear", [name, *constants], [f"{name}_quantized"], f"{name}_Quantize"),
            helper.make_node(
                "DequantizeLinear", [f"{name}_quantized", *constants], [f"{name}_dequantized"], f"{name}_Dequantize"
            ),
        ]

    def _activation(self, name: str) -> tuple[float, int]:
        """Scale and zero point of a tensor; zero is always exact, because padding is zero."""
        if name not in self._ranges:
            raise UsageError(
                f"there is no range of the tensor {name!r}", fix="run `edge-inspect quantize`, which collects them anew"
            )
        low, high = self._ranges[name]
        low, high = min(low, 0.0), max(high, 0.0)
        if self._scheme.signed:
            return max(-low, high, _SMALLEST_STEP) / 127, 0
        scale = max(high - low, _SMALLEST_STEP) / 255
        return scale, round(-low / scale)

    def _parameters(self, node: Any) -> list[Any]:
        """Quantised weights (and bias) of a convolution, each with its DequantizeLinear; the node reads those."""
        from onnx import numpy_helper

        weights = numpy_helper.to_array(self._graph.constants[node.input[1]])
        largest = np.abs(weights.reshape(weights.shape[0], -1)).max(1).astype(np.float64)
        if not self._scheme.per_channel:
            largest = largest.max(keepdims=True)
        scales = np.maximum(largest / self._scheme.weight_peak, _SMALLEST_STEP)
        bias = None
        if self._scheme.bias and len(node.input) > 2:
            bias = numpy_helper.to_array(self._graph.constants[node.input[2]]).astype(np.float64)
            step, _ = self._activation(node.input[0])
            scales = np.maximum(scales, np.abs(bias) / (np.float32(step) * _LARGEST_BIAS))
        scales = self._held(scales)
        shaped = scales.reshape(-1, *[1] * (weights.ndim - 1))
        peak = self._scheme.weight_peak
        rounded = np.clip(np.rint(weights / shaped), -peak, peak).astype(np.int8)
        made = [self._dequantized(node, 1, "weight", rounded, scales)]
        shift = self._mean_shift(node, rounded * shaped - weights)
        if bias is not None:
            steps = (scales * np.float32(step)).astype(np.float32)
            made.append(self._dequantized(node, 2, "bias", np.rint((bias - shift) / steps).astype(np.int32), steps))
        elif len(node.input) > 2:
            name = f"{node.name}_bias_corrected"
            self._store(name, (numpy_helper.to_array(self._graph.constants[node.input[2]]) - shift).astype(np.float32))
            node.input[2] = name
        return made

    def _mean_shift(self, node: Any, error: Any) -> Any:
        """What rounding the weights of a convolution adds to each of its channels on the mean of good parts.

        After ReLU6 channels are far from zero on average, so that the errors of a channel's weights do not cancel: they
        move all that follows, and more than the rounding itself does (bias correction: Nagel et al., 2019). Zero where
        the means of its input are not known.
        """
        if node.input[0] not in self._means:
            return np.zeros(len(error))
        groups = attribute(node, "group", 1)
        means = np.asarray(self._means[node.input[0]]).reshape(groups, -1)
        by_group = error.sum(tuple(range(2, error.ndim)), dtype=np.float64).reshape(groups, -1, means.shape[1])
        return np.einsum("goi,gi->go", by_group, means).ravel()

    def _dequantized(self, node: Any, place: int, what: str, values: Any, scales: Any) -> Any:
        from onnx import helper

        stem = f"{node.name}_{what}"
        names = [f"{stem}_quantized", f"{stem}_scale", f"{stem}_zero_point"]
        axis = {"axis": 0} if self._scheme.per_channel else {}
        scales = scales if axis else scales[0]
        self._store(names[0], values)
        self._store(names[1], scales)
        self._store(names[2], np.zeros(np.shape(scales), values.dtype))
        node.input[place] = f"{stem}_dequantized"
        return helper.make_node("DequantizeLinear", names, [f"{stem}_dequantized"], f"{stem}_Dequantize", **axis)

    def _held(self, scales: Any) -> Any:
        """Scales as the target's type holds them, in single precision; weights are divided by these."""
        if not self._scheme.half:
            return np.float32(scales)
        return np.float32(np.float16(np.maximum(scales, np.finfo(np.float16).tiny)))

    def _store(self, name: str, values: Any) -> None:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.asarray(values), name))


def _grouped(
    graph: Graph, int8: Collection[str], ranges: Mapping[str, tuple[float, float]], shared: bool
) -> dict[str, tuple[float, float]]:
    """Ranges that give one scale to what is only moved and, where wanted, to what is joined."""
    leader = {name: name for name in ranges}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for node in graph.nodes:
        if node.name not in int8 or not (node.op_type in MOVING or (shared and node.op_type in ("Concat", "Add"))):
            continue
        together = graph.computed_inputs(node)
        if node.op_type != "Add":
            together = [*together, *node.output]
        known = [name for name in together if name in leader]
        for name in known[1:]:
            leader[find(name)] = find(known[0])
    widest: dict[str, tuple[float, float]] = {}
    for name, (low, high) in ranges.items():
        lowest, highest = widest.get(find(name), (low, high))
        widest[find(name)] = (min(low, lowest), max(high, highest))
    return {name: widest[find(name)] for name in ranges}
