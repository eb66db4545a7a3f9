"""A memory of good parts as part of an ONNX graph: features of an encoder in, `emb_dist` out; written and read back.

Each place's features are turned into a few axes and compared with centres (PatchCore: Roth et al., 2022). The squared
distance to centre c is |p|^2 + (|c|^2 - 2 p c), and the smallest bracket is a matrix product and a minimum. Everything
here stands in standard operators, its nodes, tensors and constants are named with MEMORY_PREFIX, and runs in floating
point on every target (export/operators.py): FP32 on processors, FP16 in engines. So that FP16 is enough, the
places of a block are taken relative to the mean of its centres: what is compared is then no larger than what is told
apart. Centres are kept in FP16, half the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32
from edge.core.errors import BundleError
from export.graph import Graph, graph_from_onnx
from export.operators import MEMORY_PREFIX
from export.weak_head import NAMES, WeakHead, head_from_constants

OUTPUT = "emb_dist"
# of the outputs that hand features to a memory
TAP_PREFIX = "tap"
_MEAN_PX = 3


@dataclass(frozen=True, eq=False)
class Memory:
    """Good places in the features of some taps, and how far good parts are from them.

    name: told apart by it in the graph. taps: tensors of the graph, the finest first; places lie on its grid.
    projection: of each tap, (axes, channels); bias: (axes,). A place is bias + the sum over taps of projection times
    the mean of 3 x 3 places of the tap. centres: (count, axes), compared with every place; or (down, across, count,
    axes): the grid is cut into so many square blocks, each with its own. mean, inv_std: of the distances of good parts
    that the memory did not see, (rows, columns) for each place or (1, 1) for all. head: is added to the standardised
    distance, where there is one.
    """

    name: str
    taps: tuple[str, ...]
    projection: tuple[F32, ...]
    bias: F32
    centres: F32
    mean: F32
    inv_std: F32
    head: WeakHead | None = None

    @property
    def local(self) -> bool:
        """Whether each block of places has centres of its own."""
        return self.centres.ndim == 4


def with_memories(model: bytes, memories: Sequence[Memory]) -> bytes:
    """The graph with `emb_dist` (1, 1, rows, columns), the sum of the memories' standardised distances.

    model: has the taps as outputs, TAP_PREFIX and a number, which the result has no more, with all that only other taps
    need; its other outputs stay. rows, columns: of the first memory, the finest; the others are enlarged to them.
    """
    from onnx import TensorProto, checker, helper

    graph = graph_from_onnx(model)
    builder = _Builder(graph)
    sizes = [builder.size(memory.taps[0]) for memory in memories]
    maps = [builder.standardised(memory) for memory in memories]
    summands = [maps[0], *(builder.enlarged(z, sizes[0], "linear") for z in maps[1:])]
    builder.sum_as(OUTPUT, summands)
    proto = graph.model
    kept = [value for value in proto.graph.output if not value.name.startswith(TAP_PREFIX)]
    del proto.graph.output[:], proto.graph.value_info[:]
    proto.graph.output.extend([*kept, helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 1, *sizes[0]])])
    proto.graph.node.extend(builder.nodes)
    proto.graph.initializer.extend(builder.constants)
    _drop_what_nobody_reads(proto)
    checker.check_model(proto, full_check=True)
    return _serialised(proto)


def with_other_memories(model: bytes, memories: Sequence[Memory]) -> bytes:
    """The same graph, in whatever precision, comparing with other good parts; shapes of centres may differ in count."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_model_from_string(model)
    wanted = {name: value for memory in memories for name, value in _constants(memory).items()}
    there = {tensor.name for tensor in proto.graph.initializer}
    if missing := sorted(wanted.keys() - there):
        raise BundleError(
            f"the network has no {missing[0]}: its memory is another one", fix="make the bundle anew with `train`"
        )
    for memory in memories:
        if memory.head is None and f"{MEMORY_PREFIX}{memory.name}_head_{NAMES[0]}" in there:
            raise BundleError(
                f"memory {memory.name} has learned from no defective parts, and the network's has",
                fix="make the bundle anew with `train`",
            )
    for tensor in proto.graph.initializer:
        if tensor.name in wanted:
            tensor.CopyFrom(numpy_helper.from_array(wanted[tensor.name], tensor.name))
    # shapes of what is computed from centres may be written down, and wrong now
    stated = [value for value in proto.graph.value_info if not value.name.startswith(MEMORY_PREFIX)]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(stated)
    return _serialised(proto)


def with_places(model: bytes) -> bytes:
    """The graph that gives the places of each memory, too: `places_name(memory)`, (1, axes, rows, columns)."""
    from onnx import TensorProto, helper

    graph = graph_from_onnx(model)
    for memory in memories_of(model):
        name = places_name(memory.name)
        graph.model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.floats[name]))
    return _serialised(graph.model)


def memories_of(model: bytes) -> tuple[Memory, ...]:
    """The memories in a graph, the finest first; none: it has no memory."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_model_from_string(model)
    constants = {
        tensor.name.removeprefix(MEMORY_PREFIX): numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.name.startswith(MEMORY_PREFIX)
    }
    memories = []
    for name in [each.removesuffix("_centres") for each in constants if each.endswith("_centres")]:
        start = f"{name}_projection_"
        taps = [each.removeprefix(start) for each in constants if each.startswith(start)]
        centres = constants[f"{name}_centres"].astype(np.float32) / -2
        if centres.ndim == 4:
            centres = centres.transpose(0, 1, 3, 2) + constants[f"{name}_middle"].astype(np.float32)
        memories.append(
            Memory(
                name=name,
                taps=tuple(taps),
                projection=tuple(constants[start + tap][:, :, 0, 0] for tap in taps),
                bias=constants[f"{name}_bias"],
                centres=centres,
                mean=constants[f"{name}_mean"][0, 0],
                inv_std=constants[f"{name}_inv_std"][0, 0],
                head=_head_of(constants, name),
            )
        )
    return tuple(memories)


def _head_of(constants: dict[str, Any], memory: str) -> WeakHead | None:
    named = {name: constants.get(f"{memory}_head_{name}") for name in NAMES}
    return None if named["hidden"] is None else head_from_constants(named)


def places_name(name: str) -> str:
    """The tensor that holds the places of the memory of this name."""
    return f"{MEMORY_PREFIX}{name}_places"


def stored(centres: F32) -> F32:
    """Centres as the graph holds them."""
    middle, apart = _split(centres)
    return apart.astype(np.float32) + middle


def _split(centres: F32) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """The middle of each block's centres, zero where all places share them, and the centres relative to it."""
    middle = centres.mean(-2, keepdims=True).astype(np.float16) if centres.ndim == 4 else np.zeros(1, np.float16)
    return middle, (centres - middle).astype(np.float16)


def _constants(memory: Memory) -> dict[str, Any]:
    """The constants of a memory by name, as the graph holds them."""
    start = f"{MEMORY_PREFIX}{memory.name}"
    middle, apart = _split(memory.centres)
    # of what FP16 leaves of the centres: the two halves of a distance must speak of the same centre
    squares = np.square(apart, dtype=np.float32).sum(-1)
    doubled = -2 * apart
    own: dict[str, Any] = {}
    if memory.local:
        own = {f"{start}_middle": middle}
        doubled, squares = np.ascontiguousarray(doubled.transpose(0, 1, 3, 2)), squares[:, :, None, :]
    else:
        squares = squares[:, None]
    made = own | {
        f"{start}_projection_{tap}": np.ascontiguousarray(turn, np.float32)[:, :, None, None]
        for tap, turn in zip(memory.taps, memory.projection, strict=True)
    }
    if memory.head is not None:
        made |= {f"{start}_head_{name}": value for name, value in memory.head.constants().items()}
    return made | {
        f"{start}_bias": memory.bias.astype(np.float32),
        f"{start}_centres": doubled,
        f"{start}_squares": squares.astype(np.float32),
        f"{start}_mean": memory.mean.astype(np.float32)[None, None],
        f"{start}_inv_std": memory.inv_std.astype(np.float32)[None, None],
    }


class _Builder:
    """Collects nodes and constants; every method returns the name of the tensor it makes."""

    def __init__(self, graph: Graph) -> None:
        self._floats = graph.floats
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def size(self, tensor: str) -> tuple[int, int]:
        rows, columns = self._floats[tensor][-2:]
        return rows, columns

    def standardised(self, memory: Memory) -> str:
        """How far each place is from the memory, in standard deviations of good parts: (1, 1, rows, columns)."""
        start = f"{MEMORY_PREFIX}{memory.name}"
        for name, value in _constants(memory).items():
            self._constant(name, value)
        places = self._places(memory)
        centres = self._node("Cast", [f"{start}_centres"], f"{start}_centres_exact", to=1)
        rows, columns = self.size(memory.taps[0])
        if memory.local:
            down, across, _, axes = memory.centres.shape
            block = rows // down
            # (down, across, block * block, axes)
            cut = self._reshaped(places, f"{start}_places_cut", (axes, down, block, across, block))
            blocks = self._node("Transpose", [cut], f"{start}_blocks", perm=[1, 3, 2, 4, 0])
            absolute = self._reshaped(blocks, f"{start}_cells_absolute", (down, across, block * block, axes))
            middle = self._node("Cast", [f"{start}_middle"], f"{start}_middle_exact", to=1)
            cells = self._node("Sub", [absolute, middle], f"{start}_cells")
            products = self._node("MatMul", [cells, centres], f"{start}_products")
            axis = 3
        else:
            cells = self._reshaped(places, f"{start}_cells", (-1, rows * columns))
            products = self._node("MatMul", [centres, cells], f"{start}_products")
            axis = 0
        relative = self._node("Add", [products, f"{start}_squares"], f"{start}_relative")
        along = self._constant(f"{start}_axis", np.array([axis], np.int64))
        nearest = self._node("ReduceMin", [relative, along], f"{start}_nearest", keepdims=1)
        squared = self._node("Mul", [cells, cells], f"{start}_cells_squared")
        length = self._node("ReduceSum", [squared, along], f"{start}_length", keepdims=1)
        total = self._node("Add", [nearest, length], f"{start}_total")
        if memory.local:
            squares = self._reshaped(total, f"{start}_total_cut", (down, across, block, block))
            total = self._node("Transpose", [squares], f"{start}_total_rows", perm=[0, 2, 1, 3])
        as_map = self._reshaped(total, f"{start}_distance_squared", (1, 1, rows, columns))
        # rounding may leave less than nothing of a place that is a centre
        distance = self._node("Sqrt", [self._node("Relu", [as_map], f"{start}_not_negative")], f"{start}_distance")
        above = self._node("Sub", [distance, f"{start}_mean"], f"{start}_above_mean")
        self._floats[f"{start}_standardised"] = (1, 1, rows, columns)
        standardised = self._node("Mul", [above, f"{start}_inv_std"], f"{start}_standardised")
        if memory.head is None:
            return standardised
        seen = self._node("Concat", [places, standardised], f"{start}_head_inputs", axis=1)
        inner = [seen, f"{start}_head_hidden", f"{start}_head_hidden_bias"]
        hidden = self._node("Conv", inner, f"{start}_head_inner", kernel_shape=[1, 1])
        active = self._node("Relu", [hidden], f"{start}_head_active")
        outer = [active, f"{start}_head_output", f"{start}_head_output_bias"]
        logit = self._node("Conv", outer, f"{start}_head_logit", kernel_shape=[1, 1])
        self._floats[f"{start}_with_head"] = (1, 1, rows, columns)
        return self._node("Add", [standardised, logit], f"{start}_with_head")

    def enlarged(self, tensor: str, size: tuple[int, int], mode: str) -> str:
        """A tensor at (rows, columns); it has the size of a tap or of a map on a tap's grid."""
        rows, columns = self.size(tensor)
        if (rows, columns) == size:
            return tensor
        scales = np.array([1, 1, size[0] / rows, size[1] / columns], np.float32)
        name = self._constant(f"{tensor}_scales", scales)
        how = {"coordinate_transformation_mode": "half_pixel" if mode == "linear" else "asymmetric"}
        if mode == "nearest":
            how["nearest_mode"] = "floor"
        return self._node("Resize", [tensor, "", name], f"{tensor}_enlarged", mode=mode, **how)

    def sum_as(self, name: str, tensors: Sequence[str]) -> None:
        """The sum of some tensors, under a name."""
        from onnx import helper

        op = "Sum" if len(tensors) > 1 else "Identity"
        self.nodes.append(helper.make_node(op, list(tensors), [name], f"{MEMORY_PREFIX}{op}"))

    def _places(self, memory: Memory) -> str:
        start = f"{MEMORY_PREFIX}{memory.name}"
        size, summands = self.size(memory.taps[0]), []
        for number, tap in enumerate(memory.taps):
            # one bias is enough; a mean of places leaves it as it is
            inputs = [tap, f"{start}_projection_{tap}", *([f"{start}_bias"] if number == 0 else [])]
            axes = self._node("Conv", inputs, f"{start}_{tap}_axes", kernel_shape=[1, 1])
            mean = self._node(
                "AveragePool", [axes], f"{start}_{tap}_mean",
                kernel_shape=[_MEAN_PX] * 2, pads=[_MEAN_PX // 2] * 4, strides=[1, 1], count_include_pad=0,
            )  # fmt: skip
            for made in (axes, mean):
                self._floats[made] = (1, len(memory.bias), *self.size(tap))
            summands.append(self.enlarged(mean, size, "nearest"))
        return self._node("Sum" if len(summands) > 1 else "Identity", summands, places_name(memory.name))

    def _reshaped(self, tensor: str, name: str, shape: tuple[int, ...]) -> str:
        target = self._constant(f"{name}_shape", np.array(shape, np.int64))
        return self._node("Reshape", [tensor, target], name)

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], f"{output}_{op}", **attributes))
        return output

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(value, name))
        return name


def _drop_what_nobody_reads(proto: Any) -> None:
    wanted, kept = {value.name for value in proto.graph.output}, []
    for node in reversed(proto.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    constants = [tensor for tensor in proto.graph.initializer if tensor.name in wanted]
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(reversed(kept))
    proto.graph.initializer.extend(constants)


def _serialised(proto: Any) -> bytes:
    data: bytes = proto.SerializeToString(deterministic=True)
    return data
