"""An FP32 graph cast to FP16, node by node; nodes that need FP32 keep it, with casts where the two precisions meet.

Written here for two reasons: in a strongly typed engine the graph decides the precision of every node; and Q/DQ pairs,
and sums that leave the range of FP16, must stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from export.graph import Graph, graph_from_onnx

# the largest FP16 number is 65504; a factor of two is left for pictures with larger values than those seen
_LARGEST_SEEN = 32768.0
_FP32_OPERATORS = frozenset({"Constant", "Range"})
_PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
# the first in which scales may be FP16
_OPSET_OF_HALF_PAIRS = 19
# inputs that the standard wants in FP32 whatever the data are: sizes and places
_FP32_INPUTS = {"Resize": (1, 2)}


def fp16_from_fp32(
    model: bytes,
    kept_fp32: Collection[str] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    pairs: bool = False,
) -> bytes:
    """The graph in FP16, inputs and outputs included: the kernels around an engine read and write FP16 as they are.

    kept_fp32: names of nodes that stay FP32. ranges: of tensors; a node that reads or writes values beyond half of what
    FP16 can hold stays FP32, too; of an output, all outputs stay FP32, since the kernels want one type for them. pairs:
    cast the scales of Q/DQ pairs as well, so that what they give is FP16.
    """
    graph = graph_from_onnx(_with_half_pairs(model) if pairs else model)
    large = {name for name, limits in (ranges or {}).items() if max(map(abs, limits)) > _LARGEST_SEEN}
    large |= {f"{name}_dequantized" for name in large}
    kept = {
        node.name
        for node in graph.nodes
        if node.op_type in _FP32_OPERATORS
        or node.name in kept_fp32
        or large.intersection((*node.input, *node.output))
        or (not pairs if node.op_type in _PAIRS else not any(name in graph.floats for name in node.output))
    }
    return _Caster(graph, kept, half_outputs=not large.intersection(graph.outputs)).model()


def _with_half_pairs(model: bytes) -> bytes:
    """The graph in an opset that has FP16 scales."""
    import onnx
    from onnx import version_converter

    proto = onnx.load_model_from_string(model)
    converted: bytes = version_converter.convert_version(proto, _OPSET_OF_HALF_PAIRS).SerializeToString()
    return converted


class _Caster:
    """Rewrites one graph, and knows in which precisions each tensor exists already."""

    def __init__(self, graph: Graph, kept: Collection[str], half_outputs: bool) -> None:
        self._graph = graph
        self._kept = kept
        self._half_outputs = half_outputs
        self._nodes: list[Any] = []
        # (tensor, whether in FP16) → the name of that form; the names of forms are part of the graph's hash, and stay
        self._forms: dict[tuple[str, bool], str] = {(name, name in graph.floats): name for name in graph.inputs}
        self._constants: list[Any] = []

    def model(self) -> bytes:
        from onnx import TensorProto, checker, helper

        outputs = set(self._graph.outputs)
        for node in self._graph.nodes:
            fp16 = node.name not in self._kept
            places = _FP32_INPUTS.get(node.op_type, ())
            for place, name in enumerate(node.input):
                if name in self._graph.floats or self._is_float_constant(name):
                    node.input[place] = self._form(name, fp16 and place not in places)
            if fp16 and node.op_type == "Cast":
                _set_type(node, TensorProto.FLOAT16)
            casts = []
            for place, name in enumerate(node.output):
                if name not in self._graph.floats:
                    continue
                if name in outputs and fp16 != self._half_outputs:
                    # the name is the output's; what is computed gets another
                    other = f"{name}_{'half' if fp16 else 'whole'}"
                    node.output[place], self._forms[name, not fp16] = other, name
                    kind = TensorProto.FLOAT if fp16 else TensorProto.FLOAT16
                    casts.append(helper.make_node("Cast", [other], [name], f"{name}_Cast", to=kind))
                self._forms[name, fp16] = node.output[place]
            self._nodes += [node, *casts]
        proto = self._graph.model
        for value in (*proto.graph.input, *(proto.graph.output if self._half_outputs else ())):
            if value.name in self._graph.floats:
                value.type.tensor_type.elem_type = TensorProto.FLOAT16
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in proto.graph.initializer if tensor.name in used]
        del proto.graph.node[:], proto.graph.initializer[:], proto.graph.value_info[:]
        proto.graph.node.extend(node for node in self._nodes if node.op_type != "Constant" or used & set(node.output))
        proto.graph.initializer.extend([*kept, *self._constants])
        checker.check_model(proto, full_check=True)
        result: bytes = proto.SerializeToString(deterministic=True)
        return result

    def _is_float_constant(self, name: str) -> bool:
        from onnx import TensorProto

        tensor = self._graph.constants.get(name)
        return tensor is not None and tensor.data_type == TensorProto.FLOAT

    def _form(self, name: str, fp16: bool) -> str:
        """The name of the tensor in FP16 or FP32; a cast or a second constant makes it where it does not exist yet."""
        from onnx import TensorProto, helper, numpy_helper

        if (name, fp16) not in self._forms:
            if name in self._graph.constants:
                form = f"{name}_half" if fp16 else name
                if fp16:
                    values = numpy_helper.to_array(self._graph.constants[name])
                    limit = float(np.finfo(np.float16).max)
                    clipped = np.clip(values, -limit, limit).astype(np.float16)
                    self._constants.append(numpy_helper.from_array(clipped, form))
            else:
                form = f"{name}_as_half" if fp16 else f"{name}_as_whole"
                kind = TensorProto.FLOAT16 if fp16 else TensorProto.FLOAT
                source = self._forms[name, not fp16]
                self._nodes.append(helper.make_node("Cast", [source], [form], f"{form}_Cast", to=kind))
            self._forms[name, fp16] = form
        return self._forms[name, fp16]


def _set_type(node: Any, kind: int) -> None:
    from onnx import TensorProto

    for entry in node.attribute:
        if entry.name == "to" and entry.i == TensorProto.FLOAT:
            entry.i = kind
