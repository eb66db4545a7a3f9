"""Small real graphs with the shapes that quantisation must get right: by-passes, joins, up-sampling."""

import numpy as np

SIDE = 16


def onnx_graph(nodes, weights, outputs=("recon",), side=SIDE, output_side=None):
    """A checked model `image` (1, 3, side, side) → outputs; nodes: (op, inputs, output, name, attributes)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    made = [helper.make_node(op, inputs, [output], name=name, **extra) for op, inputs, output, name, extra in nodes]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, output_side or side, output_side or side])
        for name in outputs
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(made, "small", [image], values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


def weight(outputs, inputs, kernel=3, seed=0):
    """Random weights that neither blow up nor vanish, channels of very different size."""
    random = np.random.default_rng(seed)
    values = random.normal(0, (inputs * kernel**2) ** -0.5, (outputs, inputs, kernel, kernel))
    return (values * np.geomspace(0.3, 2, outputs)[:, None, None, None]).astype(np.float32)


SAME = {"pads": [1, 1, 1, 1]}


def residual_network():
    """first → relu → [conv → relu → conv] + by-pass → relu → conv, up-sampled and joined with a branch → last."""
    names = ("first", "one", "two", "deep", "joined", "last")
    weights = {f"w_{name}": weight(8, 3 if name == "first" else 8, seed=seed) for seed, name in enumerate(names)}
    weights["w_joined"] = weight(8, 16, seed=7)
    weights["w_last"] = weight(3, 8, seed=8)
    weights |= {f"b_{name}": np.linspace(-0.3, 0.3, 8).astype(np.float32) for name in names[:-1]}
    weights["b_last"] = np.zeros(3, np.float32)
    weights["twice"] = np.array([1, 1, 2, 2], np.float32)

    def conv(name, source, output, **extra):
        return ("Conv", [source, f"w_{name}", f"b_{name}"], output, name, SAME | extra)

    nodes = [
        conv("first", "image", "a0"),
        ("Relu", ["a0"], "a", "relu_a", {}),
        conv("one", "a", "b0"),
        ("Relu", ["b0"], "b", "relu_b", {}),
        conv("two", "b", "c"),
        ("Add", ["c", "a"], "d0", "add", {}),
        ("Relu", ["d0"], "d", "relu_d", {}),
        conv("deep", "d", "e0", strides=[2, 2]),
        ("Relu", ["e0"], "e", "relu_e", {}),
        ("Resize", ["e", "", "twice"], "f", "enlarge", {"mode": "nearest"}),
        ("Concat", ["f", "d"], "g", "join", {"axis": 1}),
        conv("joined", "g", "h0"),
        ("Relu", ["h0"], "h", "relu_h", {}),
        conv("last", "h", "recon"),
    ]
    return onnx_graph(nodes, weights)


def pictures(count=6, side=SIDE, seed=0):
    random = np.random.default_rng(seed)
    return [random.uniform(-1, 1, (3, side, side)).astype(np.float32) for _ in range(count)]


def run(model, picture, name="recon"):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # as the engine of an FP16 graph is given it
    half = session.get_inputs()[0].type == "tensor(float16)"
    given = picture.astype(np.float16) if half else picture
    return session.run([name], {"image": given[None]})[0][0].astype(np.float32)
