"""What the kernels of one bundle are launched with: names, grids and packed arguments. No GPU and no pycuda in here.

A launch of a kernel covers all frames of a batch: they lie one after the other, along the grid's third axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from ctypes import Structure, c_float, sizeof
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge.core.errors import UsageError
from edge.core.manifest import ScoreSpec
from edge.kernels import reference
from edge.kernels.cuda.parameters import (
    BLEND_MODES,
    MAXIMUM_TAPS,
    Counters,
    PreprocessParameters,
    ReduceParameters,
    ResidualParameters,
    Result,
)
from edge.preprocessing.preprocess import odd_kernel

FloatType = Literal["f16", "f32"]

# (rows, columns) of the map pixels that a block makes, the same as in block.h
LARGE_TILE, SMALL_TILE = (32, 64), (16, 32)
THREADS = 256
# the most that a tile is surrounded with on each side; wider smoothing takes launches of its own
FUSED_RADIUS = 16
PREPROCESS_BLOCK = (32, 8, 1)
# blended evidence is kept in 16 bits: 0..1 in steps of 1 / EVIDENCE_STEPS, and one mark for what is not finite
EVIDENCE_STEPS = 65534
_EVIDENCE_BYTES = 2
_ELEMENT_BYTES = {"f16": 2, "f32": 4}
_WIDE_BLOCK = (64, 4, 1)
# sums and counts of a map are kept in 32 bits
_MOST_PIXELS = 2**24
_ALIGNMENT = 256


@dataclass(frozen=True)
class Launch:
    """One kernel launch. parameters: its only argument, by value."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    parameters: bytes


@dataclass(frozen=True)
class Workspace:
    """Memory that the kernels of a batch share: bytes in all, and where each part begins.

    picture: RGB planes of bytes, of all frames. Of one slice: blended, evidence before smoothing; work, column sums of
    wide smoothing; counters.
    """

    bytes: int
    picture: int
    blended: int
    work: int
    counters: int


@dataclass(frozen=True)
class Statistics:
    """Addresses of float32 planes at the map's side; weight None: every place counts."""

    mean: int
    inv_std: int
    weight: int | None = None


@dataclass(frozen=True)
class FrameSource:
    """Frames on the device: uint8, height x width of the region to inspect, channels 3 (BGR) or 1 (grey).

    address: of the region's first pixel in the first frame. row_stride, frame_stride: bytes from one row, one frame, to
    the next; tiles of one frame are frames that lie close together. borders: rows above and below, columns on either
    side, that a letterbox adds to the region by repeating its edge.
    """

    address: int
    height: int
    width: int
    channels: int
    row_stride: int
    frame_stride: int
    borders: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class FrameResult:
    """score: NaN where the map holds a number that is not finite. area_px: map pixels above the pixel threshold."""

    score: float
    area_px: int
    peak: float


@dataclass(frozen=True)
class ScorePlan:
    """One bundle's score path at one batch size.

    field: (height, width) of the network's input. batch: most frames at once. outputs: what the network gives, with
    output_type for all; emb_shape: (h, w) of `emb_dist`. logits_at_map: `seg_logit` has the map's shape, not the
    field's. input_type: what preprocessing writes for the network.
    multiprocessors: of the GPU; a launch that gives a large tile to fewer than these takes small ones; 0: never.
    evidence_bytes: so much may lie between residual and reduction; a larger batch is scored in slices, so that it stays
    in a large GPU's second-level cache. Raises UsageError where the score needs an output that is not there.
    """

    spec: ScoreSpec
    field: tuple[int, int]
    outputs: tuple[str, ...]
    batch: int = 1
    input_type: FloatType = "f32"
    output_type: FloatType = "f32"
    emb_shape: tuple[int, int] = (1, 1)
    logits_at_map: bool = False
    emb_mean: float = 0.0
    emb_inv_std: float = 1.0
    seg_mean: float = 0.0
    seg_inv_std: float = 1.0
    pixel_threshold: float = 1.0
    multiprocessors: int = 0
    evidence_bytes: int = 2**24

    def __post_init__(self) -> None:
        if self.spec.residual.used and "recon" not in self.outputs:
            raise UsageError("the score weighs a residual, but the network gives no `recon`", fix="check the manifest")
        if not self._kinds:
            raise UsageError("the score weighs nothing that the network gives", fix="check the manifest")
        scale = self.spec.map_scale
        if any(side % scale or side < 1 for side in self.field):
            raise UsageError(
                f"a field of {self.field} is not divided by {scale}", fix="choose an even size of the network's input"
            )
        if self.field[0] * self.field[1] > _MOST_PIXELS:
            raise UsageError(f"a field of {self.field} is more than the kernels count", fix="inspect in tiles")

    @property
    def map_shape(self) -> tuple[int, int]:
        height, width = self.field
        return height // self.spec.map_scale, width // self.spec.map_scale

    @property
    def slice_frames(self) -> int:
        """Frames that are scored by one launch of each kernel."""
        rows, columns = self.map_shape
        return max(1, min(self.batch, self.evidence_bytes // (_EVIDENCE_BYTES * rows * columns)))

    @property
    def _kinds(self) -> int:
        return self.spec.residual.used + ("seg_logit" in self.outputs) + ("emb_dist" in self.outputs)

    @property
    def wide(self) -> bool:
        """Whether smoothing reaches too far to be done in one launch with the reduction."""
        return self._radius > FUSED_RADIUS

    @property
    def _smoothing(self) -> str:
        # none is a box of one pixel
        return "gaussian" if self.spec.smooth.kind == "gaussian" and self.spec.smooth.radius else "box"

    @property
    def _radius(self) -> int:
        smooth = self.spec.smooth
        return {"none": 0, "box": smooth.radius, "gaussian": 4 * smooth.radius}[smooth.kind]

    @property
    def workspace(self) -> Workspace:
        pixels = self.slice_frames * self.map_shape[0] * self.map_shape[1]
        picture = _aligned(self.batch * 3 * self.field[0] * self.field[1]) if self.spec.residual.used else 0
        blended = _aligned(_EVIDENCE_BYTES * pixels)
        work = _aligned(4 * pixels) if self.wide else 0
        counters = self.slice_frames * sizeof(Counters)
        return Workspace(
            bytes=picture + blended + work + counters,
            picture=0,
            blended=picture,
            work=picture + blended,
            counters=picture + blended + work,
        )

    @property
    def result_bytes(self) -> int:
        """Of one frame."""
        return sizeof(Result)

    def preprocess(self, source: FrameSource, pictures: int, workspace: int, count: int) -> Launch:
        """Frames → the network's input at `pictures`, and their bytes in the workspace."""
        rows, columns = self.field
        height, width = source.height + 2 * source.borders[0], source.width + 2 * source.borders[1]
        box_height, box_width = odd_kernel(height / rows), odd_kernel(width / columns)
        parameters = PreprocessParameters(
            frames=source.address,
            bytes=workspace + self.workspace.picture if self.spec.residual.used else None,
            pictures=pictures,
            frame_stride=source.frame_stride,
            row_stride=source.row_stride,
            # as OpenCV computes it: the reciprocal of a reciprocal
            scale_y=1 / (rows / height),
            scale_x=1 / (columns / width),
            height=height,
            width=width,
            channels=source.channels,
            added_rows=source.borders[0],
            added_columns=source.borders[1],
            rows=rows,
            columns=columns,
            box_height=box_height,
            box_width=box_width,
            inverse_box_area=float(np.float32(1 / (box_height * box_width))),
        )
        grid = _blocks(rows, PREPROCESS_BLOCK[1]), _blocks(columns, PREPROCESS_BLOCK[0])
        return self._launch(f"preprocess_{self.input_type}", grid, PREPROCESS_BLOCK, parameters, count, self.batch)

    def residual(
        self, outputs: Mapping[str, int], statistics: Statistics, workspace: int, count: int, first: int = 0
    ) -> Launch:
        """Bytes in the workspace and outputs of a slice → blended evidence there; zeroes the counters.

        first: the frame that the slice begins with; addresses are of the whole batch.
        """
        spec, weights = self.spec, self.spec.residual
        rows, columns = self.map_shape
        emb_rows, emb_columns = self.emb_shape
        field = self.field[0] * self.field[1]
        each = _ELEMENT_BYTES[self.output_type]
        logits = rows * columns if self.logits_at_map else field
        frame_bytes = {"recon": 3 * field * each, "seg_logit": logits * each, "emb_dist": emb_rows * emb_columns * each}
        here = {name: address + first * frame_bytes[name] for name, address in outputs.items()}
        parameters = ResidualParameters(
            bytes=workspace + self.workspace.picture + first * 3 * field,
            recon=here.get("recon"),
            seg_logit=here.get("seg_logit"),
            emb_dist=here.get("emb_dist"),
            mean=statistics.mean,
            inv_std=statistics.inv_std,
            weight=statistics.weight,
            blended=workspace + self.workspace.blended,
            counters=workspace + self.workspace.counters,
            rows=rows,
            columns=columns,
            emb_rows=emb_rows,
            emb_columns=emb_columns,
            emb_places=emb_rows * emb_columns,
            blend_mode=BLEND_MODES[spec.blend.mode if self._kinds > 1 or spec.blend.mode == "sum" else "single"],
            logits_at_map=self.logits_at_map,
            emb_scale_y=emb_rows / rows,
            emb_scale_x=emb_columns / columns,
            emb_mean=self.emb_mean,
            emb_inv_std=self.emb_inv_std,
            seg_mean=self.seg_mean,
            seg_inv_std=self.seg_inv_std,
            # pictures of -1..1 differ by twice as much as those of 0..1
            w_l1=weights.w_l1 / 6,
            w_l2=weights.w_l2 / 12,
            w_col=weights.w_col / 4,
            w_ssim=weights.w_ssim / 2,
            w_gms=weights.w_gms / 2,
            z_max=spec.norm.z_max,
            inverse_tau=1 / spec.norm.tau,
            alpha=spec.blend.alpha,
            beta=spec.blend.beta,
            gamma=spec.blend.gamma,
            lift=spec.blend.lift,
            one_minus_alpha=1 - spec.blend.alpha,
            gate_scale=1 / (1 + spec.blend.alpha),
        )
        kernel = self.residual_kernel + ("_small" if self._small_tiles(count) else "")
        tiles = self._tiles(self._small_tiles(count))
        return self._launch(kernel, tiles, (THREADS, 1, 1), parameters, count, self.slice_frames)

    @property
    def residual_kernel(self) -> str:
        """Its name says what it is compiled for: element types, neighbourhoods, and pixels averaged each way."""
        weights, scale = self.spec.residual, self.spec.map_scale
        if not weights.used:
            return f"evidence_{self.output_type}_{scale}"
        terms = {(False, False): "pixel", (True, False): "ssim", (False, True): "gms", (True, True): "all"}
        reach = terms[weights.w_ssim > 0, weights.w_gms > 0]
        return f"residual_{self.output_type}_{reach}_{scale}"

    def reduce(self, maps: int | None, results: int, workspace: int, count: int, first: int = 0) -> tuple[Launch, ...]:
        """Blended evidence of a slice → smoothed maps and results: one launch, three where smoothing is wide.

        maps: float32 planes; None: not wanted; wide smoothing always needs them. first: as in `residual`, which must
        come before it each time.
        """
        rows, columns = self.map_shape
        smoothing, radius = self._smoothing, self._radius
        taps = reference.gaussian_taps(self.spec.smooth.radius)[radius:] if smoothing == "gaussian" else np.ones(1)
        side = 2 * radius + 1 if smoothing == "box" else 1
        parameters = ReduceParameters(
            blended=workspace + self.workspace.blended,
            maps=None if maps is None else maps + first * 4 * rows * columns,
            work=workspace + self.workspace.work,
            counters=workspace + self.workspace.counters,
            results=results + first * self.result_bytes,
            rows=rows,
            columns=columns,
            radius=radius,
            largest=min(self.spec.image_score.k, rows * columns),
            scale=1 / (EVIDENCE_STEPS * side * side),
            pixel_threshold=self.pixel_threshold,
            taps=(c_float * MAXIMUM_TAPS)(*taps.astype(np.float32)),
        )
        if not self.wide:
            small = self._small_tiles(count)
            kernel, tiles = f"reduce_{smoothing}" + ("_small" if small else ""), self._tiles(small)
            return (self._launch(kernel, tiles, (THREADS, 1, 1), parameters, count, self.slice_frames),)
        if maps is None:
            raise UsageError("wide smoothing needs room for its map", fix="give the address of the maps")
        grid = _blocks(rows, _WIDE_BLOCK[1]), _blocks(columns, _WIDE_BLOCK[0])
        return (
            self._launch(f"{smoothing}_columns", grid, _WIDE_BLOCK, parameters, count, self.slice_frames),
            self._launch(f"{smoothing}_rows", grid, _WIDE_BLOCK, parameters, count, self.slice_frames),
            self._launch(
                "reduce_smoothed", self._tiles(small=False), (THREADS, 1, 1), parameters, count, self.slice_frames
            ),
        )

    def _small_tiles(self, count: int) -> bool:
        rows, columns = self._tiles(small=False)
        return rows * columns * count < self.multiprocessors

    def _tiles(self, small: bool) -> tuple[int, int]:
        (rows, columns), (tile_rows, tile_columns) = self.map_shape, SMALL_TILE if small else LARGE_TILE
        return _blocks(rows, tile_rows), _blocks(columns, tile_columns)

    def _launch(
        self,
        kernel: str,
        blocks: tuple[int, int],
        block: tuple[int, int, int],
        parameters: Structure,
        count: int,
        most: int,
    ) -> Launch:
        if not 1 <= count <= most:
            raise UsageError(f"{count} frames, where 1 to {most} were planned", fix="plan for a larger batch")
        return Launch(kernel, (blocks[1], blocks[0], count), block, bytes(parameters))


def read_result(result: Result, *, minus_median: bool = False) -> FrameResult:
    """What a result says; the score is the same number as the reference's of the map, see ImageScoreSpec."""
    if result.not_finite:
        return FrameResult(math.nan, 0, math.nan)
    score = (result.top_bins + result.largest / 2) / reference.HISTOGRAM_BINS / result.largest
    if minus_median:
        score = max(score - (result.median_bin + 0.5) / reference.HISTOGRAM_BINS, 0.0)
    return FrameResult(score, result.area, result.peak)


def _blocks(pixels: int, each: int) -> int:
    return (pixels + each - 1) // each


def _aligned(size_bytes: int) -> int:
    return _blocks(size_bytes, _ALIGNMENT) * _ALIGNMENT
