"""The score path as part of an OpenVINO network: reference.py's formulas up to the blended map, in float32.

Bound against the definition: KERNEL_TOLERANCE, checked by test_score_graph.py. Planes lie on the first
axis, (n, rows, columns): that is the memory order in which picking one is free and element-wise work vectorises.
OpenVINO is imported only when a graph is built.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np

from edge.core.datatypes import F32
from edge.core.errors import BundleError
from edge.core.manifest import BlendSpec, ScoreSpec
from edge.kernels import reference
from edge.kernels.cpu import NormalStatistics

FIELD, BLENDED, SMOOTHED, LARGEST = "field", "blended", "smoothed", "largest"
# up to here sums of shifted planes and a selection cost less inside the graph than calls after it
_WIDEST_BOX, _MOST_LARGEST = 3, 256

# openvino.Model and openvino.Output: the package has no types of use here
Model = Any
Plane = Any


def with_score(
    model: Model,
    names: tuple[str, ...],
    spec: ScoreSpec,
    shape: tuple[int, int],
    statistics: NormalStatistics,
    *,
    masked: bool = False,
) -> Model:
    """The network with its preprocessing and its score path in one graph; `model` is used up.

    names: the network's outputs that the manifest lists. shape: (height, width) of the field. Input of the
    result: `field` uint8 (1, 3, height, width), RGB planes. Outputs: where smoothing is narrow, k small, and no mask
    comes in between (`masked`), `smoothed` float32 (1, rows, columns), the finished map, and `largest` (k), the values
    that the score is the mean of; else `blended` (1, rows, columns), the map before mask and smoothing. All are NaN
    where the network's outputs are not finite. Raises KeyError for an output that the network lacks, BundleError for
    one of another shape.
    """
    graph = _ScoreGraph(spec, shape, statistics, masked)
    ports = {name: port for port in model.outputs for name in port.get_names()}
    outputs = {name: ports[name].get_node().input_value(0) for name in names}
    field = graph.feed(model.inputs[0])
    return graph.finished(field, outputs)


class _ScoreGraph:
    def __init__(self, spec: ScoreSpec, shape: tuple[int, int], statistics: NormalStatistics, masked: bool) -> None:
        import openvino
        from openvino import opset13

        self._openvino = openvino
        self._op = opset13
        self._spec = spec
        self._height, self._width = shape
        self._rows, self._columns = shape[0] // spec.map_scale, shape[1] // spec.map_scale
        self._statistics = statistics
        smooth, self._k = spec.smooth, min(spec.image_score.k, self._rows * self._columns)
        few = self._k <= _MOST_LARGEST
        narrow = smooth.kind == "none" or (smooth.kind == "box" and smooth.radius <= _WIDEST_BOX)
        self._finishes = narrow and few and not masked

    def feed(self, network_input: Any) -> Any:
        """A uint8 field in place of the network's float input."""
        op = self._op
        field = op.parameter([1, 3, self._height, self._width], np.uint8, name=FIELD)
        planes = self._in_network_range(op.convert(field, np.float32))
        for consumer in network_input.get_target_inputs():
            consumer.replace_source_output(planes.output(0))
        return field

    def _in_network_range(self, planes: Plane) -> Plane:
        """0..255 → -1..1."""
        return self._op.subtract(self._op.multiply(planes, _f32(2 / 255)), _f32(1))

    def finished(self, field: Any, outputs: dict[str, Plane]) -> Model:
        op = self._op
        by_sum = self._spec.blend.mode == "sum"
        evidence: list[Plane] = []
        raw: list[Plane] = []
        if self._spec.residual.used:
            # from the bytes, not from what the network reads: that would be laid out a second time
            picture = op.convert(op.reshape(field, _i64(3, self._height, self._width), False), np.float32)
            scaled = self._in_network_range(self._at_map_side(picture))
            error = self._error(scaled, self._reconstruction(outputs["recon"]))
            raw.append(error)
            evidence.append(self._weighed(self._z_residual(error), "alpha") if by_sum else self._evidence(error))
        if "seg_logit" in outputs:
            rows, columns = list(outputs["seg_logit"].shape)[-2:]
            logit = op.reshape(outputs["seg_logit"], _i64(1, rows, columns), False)
            raw.append(self._at_map_side(logit))
            evidence.append(
                self._weighed(self._z(raw[-1], self._statistics.seg_mean, self._statistics.seg_inv_std), "beta")
                if by_sum
                else self._at_map_side(op.sigmoid(logit))
            )
        if "emb_dist" in outputs:
            rows, columns = list(outputs["emb_dist"].shape)[-2:]
            distance = op.reshape(outputs["emb_dist"], _i64(1, rows, columns), False)
            raw.append(self._resized(distance))
            evidence.append(
                self._weighed(self._z_distance(distance), "gamma") if by_sum else self._embedding_evidence(distance)
            )
        blended = self._bounded_sum(evidence) if by_sum else self._blended(evidence, self._spec.blend)
        for values in raw:
            # limits swallow NaN on some processors; nothing times zero is NaN again
            blended = op.add(blended, op.multiply(values, _f32(0)))
        results = []
        for name, values in self._reduced(blended).items():
            results.append(op.result(values))
            results[-1].output(0).set_names({name})
        field.output(0).set_names({FIELD})
        return self._openvino.Model(results, [field], "inspection")

    def _reduced(self, blended: Plane) -> dict[str, Plane]:
        if not self._finishes:
            return {BLENDED: blended}
        op, smooth = self._op, self._spec.smooth
        smoothed = blended if smooth.kind == "none" else self._window_mean(blended, 2 * smooth.radius + 1)
        k = op.constant(np.int64(self._k))
        largest = op.topk(op.reshape(smoothed, _i64(-1), False), k, 0, "max", "none").output(0)
        # which values are largest is not defined where one is no number; a sum with it is no number either
        total = op.reduce_sum(smoothed, _i64(0, 1, 2), False)
        return {SMOOTHED: smoothed, LARGEST: op.add(largest, op.multiply(total, _f32(0)))}

    # planes of the map's shape

    def _reconstruction(self, recon: Plane) -> Plane:
        """(3, rows, columns) block means of the reconstruction, in -1..1."""
        op, scale = self._op, self._spec.map_scale
        if list(recon.shape) != [1, 3, self._height, self._width]:
            raise BundleError(
                f"the network's recon is {list(recon.shape)}, not (1, 3, {self._height}, {self._width})",
                fix="make the bundle anew with `edge-inspect train`",
            )
        shuffle = recon.get_node()
        if scale > 1 and _shuffles_depth_first(shuffle, scale):
            # block means of a pixel shuffle are means over its input's channels: nothing is shuffled
            means = self._channel_means(shuffle.input_value(0), scale * scale)
            return op.reshape(means, _i64(3, self._rows, self._columns), False)
        return self._at_map_side(op.reshape(recon, _i64(3, self._height, self._width), False))

    def _channel_means(self, wide: Plane, group: int) -> Plane:
        """(1, 3 group, h, w) → (1, 3, h, w); the means of a convolution are one with averaged weights."""
        op = self._op
        averaging = np.kron(np.eye(3), np.full((1, group), 1 / group))
        add = wide.get_node()
        convolution = add.input_value(0).get_node() if add.get_type_name() == "Add" else add
        if convolution.get_type_name() != "Convolution" or list(add.input_value(1).shape) != [1, 3 * group, 1, 1]:
            return op.convolution(wide, _f32(averaging[:, :, None, None]), [1, 1], [0, 0], [0, 0], [1, 1])
        weights, bias = convolution.input_value(1), add.input_value(1)
        rows, *kernel = list(weights.shape)
        # of constants only, so the compiler computes them once
        averaged = op.matmul(_f32(averaging), op.reshape(weights, _i64(rows, -1), False), False, False)
        level = op.matmul(_f32(averaging), op.reshape(bias, _i64(rows, 1), False), False, False)
        narrow = op.convolution(
            convolution.input_value(0),
            op.reshape(averaged, _i64(3, *kernel), False),
            **convolution.get_attributes(),
        )
        return op.add(narrow, op.reshape(level, _i64(1, 3, 1, 1), False))

    def _at_map_side(self, planes: Plane) -> Plane:
        there = list(planes.shape)[1:] == [self._rows, self._columns]
        return planes if there else self._block_means(planes, self._spec.map_scale)

    def _block_means(self, planes: Plane, scale: int) -> Plane:
        """(n, height, width) → (n, height / scale, width / scale)."""
        op = self._op
        count, rows, columns = list(planes.shape)
        # planes as pictures of one channel: more channels would be moved into another memory order first
        pooled = op.avg_pool(
            op.reshape(planes, _i64(count, 1, rows, columns), False),
            [scale, scale], [0, 0], [0, 0], [scale, scale], True,
        )  # fmt: skip
        return op.reshape(pooled, _i64(count, rows // scale, columns // scale), False)

    def _resized(self, planes: Plane) -> Plane:
        """To the map's shape, bilinear at pixel centres: two products, faster than the compiler's resize."""
        op = self._op
        _, from_rows, from_columns = list(planes.shape)
        down, across = _bilinear(from_rows, self._rows), _bilinear(from_columns, self._columns)
        return op.matmul(op.matmul(_f32(down), planes, False, False), _f32(across), False, True)

    # the residual error

    def _error(self, image: Plane, reconstruction: Plane) -> Plane:
        """Weighted error (1, rows, columns) of two (3, rows, columns) pictures in -1..1."""
        op, weights = self._op, self._spec.residual
        terms = []
        if weights.w_l1 or weights.w_l2 or weights.w_col:
            red, green, blue = self._split(op.subtract(image, reconstruction))
            if weights.w_l1:
                terms.append((weights.w_l1 / 6, self._sum(op.abs(red), op.abs(green), op.abs(blue))))
            if weights.w_l2:
                terms.append((weights.w_l2 / 12, self._sum(*map(self._squared, (red, green, blue)))))
            if weights.w_col:
                red_green = op.subtract(red, green)
                yellow_blue = op.subtract(op.multiply(op.add(red, green), _f32(0.5)), blue)
                terms.append((weights.w_col / 4, op.add(self._squared(red_green), self._squared(yellow_blue))))
        if weights.w_gms or weights.w_ssim:
            lumas = self._op.concat([self._luma(image), self._luma(reconstruction)], 0)
            if weights.w_gms:
                terms.append((weights.w_gms / 2, self._gradient_dissimilarity(lumas)))
                terms.append((weights.w_gms / 2, self._coarse(lumas)))
            if weights.w_ssim:
                terms.append((weights.w_ssim, self._dissimilarity(lumas)))
        return self._sum(*(op.multiply(term, _f32(weight)) for weight, term in terms))

    def _luma(self, picture: Plane) -> Plane:
        op = self._op
        weighted = (
            op.multiply(plane, _f32(share))
            for plane, share in zip(self._split(picture), reference.LUMA, strict=True)
        )  # fmt: skip
        return self._sum(*weighted)

    def _coarse(self, lumas: Plane) -> Plane:
        """The dissimilarity at half the size, brought back to (1, rows, columns)."""
        op, rows, columns = self._op, self._rows, self._columns
        if rows % 2 or columns % 2:
            lumas = op.pad(lumas, _i64(0, 0, 0), _i64(0, rows % 2, columns % 2), "edge")
        dissimilarity = self._gradient_dissimilarity(self._block_means(lumas, 2))
        down, across = (
            _f32(_bilinear((side + 1) // 2, 2 * ((side + 1) // 2))[:side]) for side in (rows, columns)
        )  # fmt: skip
        return op.matmul(op.matmul(down, dissimilarity, False, False), across, False, True)

    def _gradient_dissimilarity(self, lumas: Plane) -> Plane:
        """1 - GMS = (g - h)^2 / (g^2 + h^2 + c) of the two planes of `lumas`, in -1..1."""
        op = self._op
        squared = self._squared_gradients(lumas)
        first, second = self._pair(squared)
        root, other = self._pair(op.sqrt(squared))
        difference = op.subtract(root, other)
        return op.divide(self._squared(difference), self._sum(first, second, _f32(4 * reference.GMS_C)))

    def _squared_gradients(self, planes: Plane) -> Plane:
        op = self._op
        above, centre, below = self._shifts(self._bordered(planes, 1), 1, 3)
        left, _, right = self._shifts(self._sum(above, centre, below), 2, 3)
        down = self._sum(*self._shifts(op.subtract(below, above), 2, 3))
        return op.multiply(op.add(self._squared(op.subtract(right, left)), self._squared(down)), _f32(1 / 9))

    def _dissimilarity(self, lumas: Plane) -> Plane:
        """(1 - SSIM) / 2 from window means and variances of sum and difference, as in cpu.py."""
        op = self._op
        first, second = self._pair(lumas)
        both = op.concat([op.add(first, second), op.subtract(first, second)], 0)
        means = self._window_mean(both, reference.SSIM_SIDE)
        variances = op.subtract(self._window_mean(self._squared(both), reference.SSIM_SIDE), self._squared(means))
        mean, bias = self._pair(means)
        variance, noise = self._pair(variances)
        # only the luminance needs 0..1; the mean is of a sum of two planes
        light, shift = self._squared(op.add(mean, _f32(2))), self._squared(bias)
        c1, c2 = _f32(8 * reference.SSIM_C1), _f32(8 * reference.SSIM_C2)
        above = op.multiply(op.add(op.subtract(light, shift), c1), op.add(op.subtract(variance, noise), c2))
        below = op.multiply(self._sum(light, shift, c1), self._sum(variance, noise, c2))
        return op.multiply(op.subtract(_f32(1), op.divide(above, below)), _f32(0.5))

    def _window_mean(self, planes: Plane, side: int) -> Plane:
        bordered = self._bordered(planes, side // 2)
        rows = self._sum(*self._shifts(bordered, 1, side))
        return self._op.multiply(self._sum(*self._shifts(rows, 2, side)), _f32(1 / side**2))

    def _bordered(self, planes: Plane, width: int) -> Plane:
        """Half-sample symmetric, also where the border is wider than the picture."""
        op = self._op
        least = min(list(planes.shape)[1:])
        while width:
            step = min(width, least)
            planes = op.pad(planes, _i64(0, step, step), _i64(0, step, step), "symmetric")
            width, least = width - step, least + 2 * step
        return planes

    def _shifts(self, planes: Plane, axis: int, count: int) -> list[Plane]:
        """The planes seen from `count` neighbours along an axis; each is count - 1 shorter."""
        length = int(planes.shape[axis]) - count + 1
        return [
            self._op.slice(planes, _i64(start), _i64(start + length), _i64(1), _i64(axis)).output(0)
            for start in range(count)
        ]

    # evidence and blend

    def _evidence(self, error: Plane) -> Plane:
        op, norm = self._op, self._spec.norm
        shape = (1, self._rows, self._columns)
        slope = np.broadcast_to(self._statistics.inv_std / np.float32(norm.tau), shape)
        offset = np.broadcast_to(self._statistics.mean, shape) * slope
        exponent = op.clamp(op.subtract(_f32(offset), op.multiply(error, _f32(slope))), -norm.z_max / norm.tau, 0.0)
        return op.subtract(_f32(1), op.exp(exponent))

    def _embedding_evidence(self, distance: Plane) -> Plane:
        op, statistics = self._op, self._statistics
        z = op.relu(op.multiply(op.subtract(distance, _f32(statistics.emb_mean)), _f32(statistics.emb_inv_std)))
        small = op.subtract(_f32(1), op.exp(op.multiply(z, _f32(-1 / self._spec.norm.tau))))
        return self._resized(small)

    def _z_residual(self, error: Plane) -> Plane:
        shape = (1, self._rows, self._columns)
        slope = np.broadcast_to(self._statistics.inv_std, shape)
        offset = np.broadcast_to(self._statistics.mean, shape) * slope
        return self._clamped(self._op.subtract(self._op.multiply(error, _f32(slope)), _f32(offset)))

    def _z_distance(self, distance: Plane) -> Plane:
        return self._resized(self._z(distance, self._statistics.emb_mean, self._statistics.emb_inv_std))

    def _z(self, values: Plane, mean: F32 | float, inv_std: F32 | float) -> Plane:
        return self._clamped(self._op.multiply(self._op.subtract(values, _f32(mean)), _f32(inv_std)))

    def _clamped(self, z: Plane) -> Plane:
        return self._op.clamp(z, -self._spec.norm.z_max, self._spec.norm.z_max)

    def _weighed(self, z: Plane, weight: Literal["alpha", "beta", "gamma"]) -> Plane:
        return self._op.multiply(z, _f32(getattr(self._spec.blend, weight)))

    def _bounded_sum(self, weighed: list[Plane]) -> Plane:
        op = self._op
        total = op.relu(op.add(self._sum(*weighed), _f32(self._spec.blend.lift)))
        return op.subtract(_f32(1), op.exp(op.multiply(total, _f32(-1 / self._spec.norm.tau))))

    def _blended(self, present: list[Plane], spec: BlendSpec) -> Plane:
        op = self._op
        if len(present) == 1:
            return present[0]
        if spec.mode == "max":
            return _folded(op.maximum, present)
        if spec.mode == "noisy_or":
            return op.subtract(_f32(1), _folded(op.multiply, [op.subtract(_f32(1), values) for values in present]))
        first, second = present[0], present[1]
        if spec.mode == "product":
            return op.multiply(op.power(first, _f32(spec.alpha)), op.power(second, _f32(spec.beta)))
        if spec.mode == "wsum":
            return op.add(op.multiply(first, _f32(spec.alpha)), op.multiply(second, _f32(1 - spec.alpha)))
        gain = op.add(op.multiply(first, _f32(spec.alpha / (1 + spec.alpha))), _f32(1 / (1 + spec.alpha)))
        return op.multiply(second, gain)

    # arithmetic

    def _split(self, planes: Plane, count: int = 3) -> list[Plane]:
        parts: list[Plane] = self._op.split(planes, self._op.constant(np.int64(0)), count).outputs()
        return parts

    def _pair(self, planes: Plane) -> list[Plane]:
        return self._split(planes, 2)

    def _sum(self, *terms: Plane) -> Plane:
        return _folded(self._op.add, list(terms))

    def _squared(self, plane: Plane) -> Plane:
        return self._op.multiply(plane, plane)


def _shuffles_depth_first(node: Any, block: int) -> bool:
    if node.get_type_name() != "DepthToSpace":
        return False
    attributes = node.get_attributes()
    return bool(attributes["mode"] == "depth_first" and attributes["block_size"] == block)


def _bilinear(size: int, wanted: int) -> Any:
    """(wanted, size) weights of bilinear resizing at pixel centres along one axis."""
    return cv2.resize(np.eye(size, dtype=np.float32), (size, wanted), interpolation=cv2.INTER_LINEAR)


def _folded(operation: Any, terms: list[Plane]) -> Plane:
    total = terms[0]
    for term in terms[1:]:
        total = operation(total, term)
    return total


def _f32(values: Any) -> Any:
    from openvino import opset13

    return opset13.constant(np.ascontiguousarray(values, np.float32))


def _i64(*values: int) -> Any:
    from openvino import opset13

    return opset13.constant(np.array(values, np.int64))
