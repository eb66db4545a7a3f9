"""FP32 ONNX and ranges → an ONNX with explicit Quantize/Dequantize pairs: the INT8 artefact of one target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def quantized_for_cpu(model_fp32: bytes, ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """INT8 for OpenVINO and ONNX Runtime: unsigned activations, signed weights of seven bits per output channel.

    Seven bits, because processors without VNNI add two products in 16 bits and would saturate: the same bundle must
    score the same on every machine. The convolutions that write the outputs stay in FP32, or their step would be the
    residual's floor.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = onnx.load_model_from_string(model_fp32)
    tensors = TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()},
    )
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=tensors,
        nodes_to_quantize=[],
        nodes_to_exclude=output_convolutions(model),
        op_types_to_quantize=["Conv", "Relu", "Resize", "Concat", "Add", "MaxPool"],
        extra_options={},
    )
    quantized = quantizer.quantize_model()
    result: bytes = quantized.SerializeToString()
    return result


def output_convolutions(model: object) -> list[str]:
    """Names of the last convolution on the way to each output of an onnx ModelProto."""
    graph = model.graph  # type: ignore[attr-defined]
    producer = {output: node for node in graph.node for output in node.output}
    names = []
    for output in graph.output:
        node = producer.get(output.name)
        while node is not None and node.op_type != "Conv":
            node = producer.get(node.input[0])
        if node is not None:
            names.append(node.name)
    return names
