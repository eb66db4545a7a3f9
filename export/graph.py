"""Read an ONNX graph: which node makes and which nodes read each tensor, what is constant, the shape of each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """Views into an onnx ModelProto; nodes come in the order in which they run.

    producer, consumers: by tensor name. constants: initialisers and Constant nodes, as TensorProto. floats: tensors of
    float32 that are computed, with their shapes, and the input.
    """

    model: Any
    producer: dict[str, Any]
    consumers: dict[str, list[Any]]
    constants: dict[str, Any]
    floats: dict[str, Shape]

    @property
    def nodes(self) -> list[Any]:
        return list(self.model.graph.node)

    @property
    def inputs(self) -> list[str]:
        return [value.name for value in self.model.graph.input if value.name not in self.constants]

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.model.graph.output]

    def computed_inputs(self, node: Any) -> list[str]:
        """Float tensors that a node reads and that change from picture to picture."""
        return [name for name in node.input if name in self.floats]

    def only_reader(self, tensor: str) -> Any | None:
        """The one node that reads a tensor; None when there are more, or when it leaves the graph."""
        readers = self.consumers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None


def graph_from_onnx(model: bytes) -> Graph:
    """Parse a model and infer what every tensor is; nodes without a name get one."""
    import onnx

    proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model))
    producer: dict[str, Any] = {}
    consumers: dict[str, list[Any]] = {}
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for index, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
        if node.op_type == "Constant":
            constants.update((node.output[0], entry.t) for entry in node.attribute if entry.name == "value")
        for output in node.output:
            producer[output] = node
        for name in dict.fromkeys(node.input):
            consumers.setdefault(name, []).append(node)
    floats = {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in constants
    }
    return Graph(proto, producer, consumers, constants, floats)


def attribute(node: Any, name: str, default: Any) -> Any:
    """The value of a node's attribute; strings decoded."""
    import onnx

    for entry in node.attribute:
        if entry.name == name:
            value = onnx.helper.get_attribute_value(entry)
            return value.decode() if isinstance(value, bytes) else value
    return default


def output_convolutions(graph: Graph) -> list[str]:
    """Names of the last convolution on the way to each output, the first input being followed."""
    names = []
    for output in graph.outputs:
        node = graph.producer.get(output)
        while node is not None and node.op_type != "Conv":
            node = graph.producer.get(node.input[0]) if node.input else None
        if node is not None:
            names.append(node.name)
    return names


def input_convolutions(graph: Graph) -> list[str]:
    """Names of the convolutions that the picture reaches without passing another one."""
    raw, names = set(graph.inputs), []
    for node in graph.nodes:
        if not raw.intersection(node.input):
            continue
        if node.op_type == "Conv":
            names.append(node.name)
        else:
            raw.update(node.output)
    return names


def end_stages(graph: Graph) -> list[str]:
    """Names of the convolutions that read or write planes of half the input's side or more: first and last stage."""
    side = graph.floats[graph.inputs[0]][-1]
    wide = {name for name, shape in graph.floats.items() if len(shape) == 4 and 2 * shape[-1] >= side}
    return [node.name for node in graph.nodes if node.op_type == "Conv" and wide.intersection(node.output)]


def multiplications(graph: Graph) -> dict[str, int]:
    """Multiply-accumulate operations of every convolution, by name."""
    counts = {}
    for node in graph.nodes:
        if node.op_type == "Conv" and node.input[1] in graph.constants and node.output[0] in graph.floats:
            weight = graph.constants[node.input[1]].dims
            _, _, rows, columns = graph.floats[node.output[0]]
            per_place = 1
            for side in weight:
                per_place *= side
            counts[node.name] = per_place * rows * columns
    return counts


def with_outputs(model: bytes, names: Collection[str]) -> bytes:
    """The model with these of its outputs alone, and without what only the others need."""
    import onnx

    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    kept = [value for value in graph.output if value.name in names]
    needed = {value.name for value in kept}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    described = [value for value in graph.value_info if value.name in needed]
    for whole, part in (
        (graph.output, kept), (graph.node, nodes[::-1]), (graph.initializer, constants), (graph.value_info, described)
    ):  # fmt: skip
        copies = [type(each).FromString(each.SerializeToString()) for each in part]
        del whole[:]
        whole.extend(copies)
    data: bytes = proto.SerializeToString()
    return data
