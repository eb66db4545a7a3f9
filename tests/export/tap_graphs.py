"""A small real network that hands features on, and memories for it."""

import numpy as np

from export.memory_graph import Memory
from tests.export.graphs import weight

HEIGHT, WIDTH = 32, 64
CHANNELS = {"tap2": 12, "tap4": 16, "tap6": 20}


def tapped_network():
    """image → three taps at 1/4, 1/8 and 1/16 of the sides, after ReLU6; and a seg_logit that reads the first."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, weights = [], {}
    source, channels = "image", 3
    for number, (tap, outputs) in enumerate(CHANNELS.items()):
        weights[f"w_{tap}"] = weight(outputs, channels, seed=number)
        weights[f"b_{tap}"] = np.linspace(-0.2, 0.4, outputs).astype(np.float32)
        strides = [4, 4] if source == "image" else [2, 2]
        extra = {"pads": [1, 1, 1, 1], "strides": strides, "kernel_shape": [3, 3]}
        nodes.append(helper.make_node("Conv", [source, f"w_{tap}", f"b_{tap}"], [f"{tap}_raw"], f"conv_{tap}", **extra))
        nodes.append(helper.make_node("Clip", [f"{tap}_raw", "zero", "six"], [tap], f"clip_{tap}"))
        source, channels = tap, outputs
    weights |= {"w_head": weight(1, CHANNELS["tap2"], 1, seed=9), "zero": np.float32(0), "six": np.float32(6)}
    nodes.append(helper.make_node("Conv", ["tap2", "w_head"], ["seg_logit"], "head"))
    sizes = {"tap2": 4, "tap4": 8, "tap6": 16}
    values = [
        helper.make_tensor_value_info(tap, TensorProto.FLOAT, [1, CHANNELS[tap], HEIGHT // step, WIDTH // step])
        for tap, step in sizes.items()
    ]
    values.append(helper.make_tensor_value_info("seg_logit", TensorProto.FLOAT, [1, 1, HEIGHT // 4, WIDTH // 4]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tapped", [image], values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


def memory(name="fine", taps=("tap2", "tap4"), *, local=True, count=3, axes=5, seed=0, step=4, block=2):
    random = np.random.default_rng(seed)
    rows, columns = HEIGHT // step, WIDTH // step
    shape = (rows // block, columns // block, count, axes) if local else (count, axes)
    places = (rows, columns) if local else (1, 1)
    return Memory(
        name=name,
        taps=taps,
        projection=tuple(random.normal(0, 0.3, (axes, CHANNELS[tap])).astype(np.float32) for tap in taps),
        bias=random.normal(0, 0.1, axes).astype(np.float32),
        centres=random.normal(0, 0.5, shape).astype(np.float16).astype(np.float32),
        mean=random.uniform(0.1, 0.5, places).astype(np.float32),
        inv_std=random.uniform(1, 3, places).astype(np.float32),
    )


def pictures(count=6, seed=0):
    random = np.random.default_rng(seed)
    return [random.uniform(-1, 1, (3, HEIGHT, WIDTH)).astype(np.float32) for _ in range(count)]
