"""A small real network with a head that knows one kind of defect by heart, and a memory that finds what is new."""

import numpy as np

from calibration.choice.exhibits import Exhibits, draw_exhibits
from calibration.choice.measured import Measured
from edge.backends.cpu import open_network
from edge.core.manifest import ScoreSpec
from edge.preprocessing.preprocess import Preprocess
from tests.small_bundle import good_part, manifest

SIDE = 64
NOTHING = np.zeros((0, SIDE, SIDE, 3), np.uint8)


def fields(count: int) -> np.ndarray:
    """Good parts as the network sees them, uint8 (n, SIDE, SIDE, 3) BGR."""
    return np.stack([Preprocess(SIDE, SIDE).field(good_part(seed)) for seed in range(count)])


def two_evidences() -> bytes:
    """FP32 ONNX: image → seg_logit, how red a wide place is; emb_dist, how sharp each place is.

    The head finds red spots, as something trained to would. The memory finds lines, edges and specks.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    wide, narrow = 9, 3
    red = np.zeros((1, 3, wide, wide), np.float32)
    red[0, 0], red[0, 1] = 1 / wide**2, -1 / wide**2
    edges = np.zeros((2, 3, narrow, narrow), np.float32)
    edges[0, :, 1, 0], edges[0, :, 1, 2] = -1, 1
    edges[1, :, 0, 1], edges[1, :, 2, 1] = -1, 1
    total = np.ones((1, 2, 1, 1), np.float32)
    constants = [numpy_helper.from_array(values, name) for name, values in (("m", red), ("e", edges), ("t", total))]
    nodes = [
        helper.make_node("Conv", ["image", "m"], ["seg_logit"], name="head", pads=[wide // 2] * 4),
        helper.make_node("Conv", ["image", "e"], ["slopes"], name="slopes", pads=[1] * 4),
        helper.make_node("Mul", ["slopes", "slopes"], ["squares"], name="squares"),
        helper.make_node("Conv", ["squares", "t"], ["sharp"], name="sharp"),
        helper.make_node("AveragePool", ["sharp"], ["emb_dist"], name="pool", kernel_shape=[4, 4], strides=[4, 4]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (
            ("image", [1, 3, SIDE, SIDE]), ("seg_logit", [1, 1, SIDE, SIDE]), ("emb_dist", [1, 1, SIDE // 4, SIDE // 4])
        )
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "two", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


def measured(exhibits: Exhibits, graphs: list[bytes] | None = None, fold_of: np.ndarray | None = None) -> Measured:
    """What the network makes of the exhibits."""
    described = manifest(SIDE, outputs=("seg_logit", "emb_dist"), score=ScoreSpec(map_scale=4))
    return Measured(
        exhibits, graphs or [two_evidences()], fold_of, lambda graph: open_network("openvino", graph, described, 1),
        NOTHING,
    )  # fmt: skip


def judged(count: int = 16, seed: int = 3, defective: int = 96) -> Exhibits:
    """Good parts, and defects of the families that training never draws."""
    return draw_exhibits(fields(count), None, seed, defective=defective)
