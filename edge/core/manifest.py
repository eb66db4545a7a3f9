"""manifest.json of a bundle, as types: what the network takes and gives, and how a score is made of it."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT_VERSION = 3

Weight = Annotated[float, Field(ge=0)]
Precision = Literal["int8", "fp16", "fp32"]
Fit = Literal["stretch", "letterbox"]
MethodName = Literal["memory", "kist", "sparsity_prior", "isstad", "slsg"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
# the runtimes' own limit for one message, and what int32 coordinates of a picture can be
MAXIMUM_FILE_BYTES = 2**31 - 1
Place = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
Offset = Annotated[int, Field(ge=0, le=1_000_000)]
Extent = Annotated[int, Field(ge=1, le=1_000_000)]
# tiles begin, and their halos end, at multiples of it: whole places of the features that a network returns
TILE_STEP = 16
# of a field in tiles: it takes 16 bytes a pixel
MOST_FIELD_PX = 1 << 26


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputSpec(_Part):
    """Network input `image` (n, 3, height, width) float32 in -1..1, RGB."""

    height: Annotated[int, Field(ge=16, le=4096)]
    width: Annotated[int, Field(ge=16, le=4096)]
    channel_order: Literal["rgb"] = "rgb"
    range: tuple[float, float] = (-1.0, 1.0)


class UprightSpec(_Part):
    """How parts that lie anyhow are found and stood upright on a canvas: the network's field, in frame pixels.

    height, width: of the canvas. contrast: how a part differs from its ground; otsu_share: from what share of Otsu's
    threshold on. frame_px: side of a canvas pixel in the
    frame; own_size: times the part's length over length_px, else the same for all. area_px: of taught parts' outlines,
    smallest, median, largest. lean: how far their area's centre lies towards the left end, of the length. match: of
    taught parts with the reference. outside: most of a taught part beyond the frame, of its area. clutter: largest
    other outline in taught pictures, of a part's area. parts: how many a frame must show, None: any number.
    silhouette: of the reference, 255 inside, bytes by rows in base64.
    """

    height: Annotated[int, Field(ge=16, le=4096)]
    width: Annotated[int, Field(ge=16, le=4096)]
    contrast: Literal["dark", "bright", "colour", "any"]
    otsu_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    frame_px: Annotated[float, Field(gt=0)]
    own_size: bool
    length_px: Annotated[float, Field(gt=0)]
    area_px: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    lean: Annotated[float, Field(ge=0, le=0.5)]
    match: Annotated[float, Field(ge=0, le=1)]
    outside: Annotated[float, Field(ge=0, le=1)]
    clutter: Annotated[float, Field(ge=0)]
    parts: Annotated[int, Field(ge=1, le=1000)] | None = None
    silhouette: Annotated[str, Field(max_length=100_000)]


class AlignSpec(_Part):
    """A reference that parts are aligned to: the inspected view of good parts, reduced, grey, bytes by rows in base64.

    max_shift: share of the view's sides. max_scale: share of the part's size. min_quality: of the match, 0..1.
    upright: of that mode alone. Its reference is a part on its canvas: half its grey levels above the ground, plus 128.
    """

    mode: Literal["phase", "template", "ecc", "upright"]
    width: Annotated[int, Field(ge=16, le=256)]
    height: Annotated[int, Field(ge=16, le=256)]
    reference: Annotated[str, Field(max_length=100_000)]
    max_shift: Annotated[float, Field(gt=0, le=0.5)]
    max_angle_deg: Annotated[float, Field(ge=0, le=45)]
    max_scale: Annotated[float, Field(ge=0, le=0.5)]
    min_quality: Annotated[float, Field(ge=0, le=1)]
    upright: UprightSpec | None = None

    @model_validator(mode="after")
    def _consistent(self) -> AlignSpec:
        if (self.mode == "upright") != (self.upright is not None):
            raise ValueError("mode upright and its own values go together")
        pictures = {"reference": self.reference} | (
            {} if self.upright is None else {"silhouette": self.upright.silhouette}
        )
        for name, text in pictures.items():
            try:
                size = len(base64.b64decode(text, validate=True))
            except ValueError as error:
                raise ValueError(f"the {name} is not base64") from error
            if size != self.width * self.height:
                raise ValueError(f"the {name} has {size} bytes, {self.width}x{self.height} are said")
        return self


class TileSpec(_Part):
    """How a field that is larger than the network's input is inspected: in tiles of that input's size.

    height, width: of the whole field, in multiples of TILE_STEP. halo: pixels along an inner edge of a tile that are
    not taken from it, at least: there the network sees the tile's end, and the next tile sees on.
    """

    height: Annotated[int, Field(ge=16, le=16384)]
    width: Annotated[int, Field(ge=16, le=16384)]
    halo: Annotated[int, Field(ge=TILE_STEP, le=512, multiple_of=TILE_STEP)] = 16

    @model_validator(mode="after")
    def _whole_steps(self) -> TileSpec:
        if self.height * self.width > MOST_FIELD_PX:
            raise ValueError(f"a field of {self.width}x{self.height} px has more than {MOST_FIELD_PX:,} pixels")
        if self.height % TILE_STEP or self.width % TILE_STEP:
            raise ValueError(f"a field of {self.width}x{self.height} px is no multiple of {TILE_STEP} px")
        return self


class PreprocessSpec(_Part):
    """Region of interest in frame pixels: (x, y, width, height) and polygon corners; and what parts are aligned to.

    fit: how the region comes to the field's aspect. stretch: each side by itself. letterbox: the region grows beyond
    itself on two sides, and what is added is not scored. tiles: None where the network's input shows the whole field.
    """

    rectangle: tuple[Offset, Offset, Extent, Extent] | None = None
    polygon: Annotated[tuple[tuple[Place, Place], ...], Field(min_length=3, max_length=10_000)] | None = None
    align: AlignSpec | None = None
    fit: Fit = "stretch"
    tiles: TileSpec | None = None


class ResidualSpec(_Part):
    """Weights of the error terms of picture against reconstruction (edge/kernels/README.md)."""

    w_l1: Weight = 0.0
    w_l2: Weight = 0.0
    w_ssim: Weight = 0.0
    w_gms: Weight = 0.0
    w_col: Weight = 0.0

    @property
    def used(self) -> bool:
        return any((self.w_l1, self.w_l2, self.w_ssim, self.w_gms, self.w_col))


class NormSpec(_Part):
    """z = clamp((error - mean) * inv_std, 0, z_max); evidence r = 1 - exp(-z / tau).

    distances: whether embedding distances have statistics for each place too. A network that is shown whole fields
    knows its places by itself, tiles do not know where they lie.
    """

    kind: Literal["pixel", "global"] = "pixel"
    distances: Literal["by_place", "pooled"] = "pooled"
    z_max: Annotated[float, Field(gt=0)] = 20.0
    tau: Annotated[float, Field(gt=0)] = 3.0


class BlendSpec(_Part):
    """How residual evidence r, probability p and embedding evidence q become one map.

    product: r^alpha * p^beta. wsum: alpha r + (1 - alpha) p. max. noisy_or: 1 - (1-r)(1-p)(1-q).
    gate: p (1 + alpha r) / (1 + alpha).
    With a single kind of evidence each of these modes is that evidence.
    sum: 1 - exp(-max(0, alpha z_r + beta z_p + gamma z_e + lift) / tau), of z-scores of residual, logit and embedding
    distance. lift: keeps places apart that differ less than usual, so that the map's median says something.
    """

    mode: Literal["product", "wsum", "max", "noisy_or", "gate", "sum"] = "product"
    alpha: Weight = 1.0
    beta: Weight = 1.0
    gamma: Weight = 1.0
    lift: Weight = 0.0


class SmoothSpec(_Part):
    """box: `radius` is half the side without the centre (10 → 21x21). gaussian: `radius` is sigma in pixels."""

    kind: Literal["none", "box", "gaussian"] = "box"
    radius: Annotated[int, Field(ge=0, le=64)] = 10


class ImageScoreSpec(_Part):
    """Mean of the k largest smoothed values, from a histogram of 1024 bins over 0..1.

    minus_median: less the map's median, which says how unusual the whole part is; not below 0.
    """

    kind: Literal["topk_mean"] = "topk_mean"
    k: Annotated[int, Field(gt=0)] = 100
    minus_median: bool = False


class ScoreSpec(_Part):
    """The whole score path of one bundle; methods differ only here and in the network's outputs.

    map_scale: picture and reconstruction are averaged over so many pixels each way before they are compared; the map
    has so many times fewer rows and columns. Smoothing radius and k count map pixels.
    """

    map_scale: Literal[1, 2, 4] = 1
    residual: ResidualSpec = ResidualSpec()
    norm: NormSpec = NormSpec()
    blend: BlendSpec = BlendSpec()
    smooth: SmoothSpec = SmoothSpec()
    image_score: ImageScoreSpec = ImageScoreSpec()


class ComparisonSpec(_Part):
    """How a picture is compared with a golden one (edge/kernels/reference_difference.py)."""

    tolerance_px: Annotated[int, Field(ge=0, le=16)] = 2
    sigma_px: Annotated[float, Field(ge=0, le=16)] = 2.0
    reach_px: Annotated[int, Field(ge=1, le=64)] = 6


class GoldenSpec(_Part):
    """How pictures are compared with a golden one, and from where on they are NG.

    level: difference in grey levels above which a part is NG; pixel_level: the same for a place. levels: of good parts,
    sorted; budget: share of them that the level aims to reject, bound: its upper bound at 95 %. calibrated_on: pixel
    hashes of those parts. preprocess_sha256: of the region and alignment that they were seen through.
    """

    comparison: ComparisonSpec = ComparisonSpec()
    level: Annotated[float, Field(gt=0)]
    pixel_level: Annotated[float, Field(gt=0)]
    levels: Annotated[tuple[Weight, ...], Field(min_length=1, max_length=100_000)]
    budget: Annotated[float, Field(gt=0, lt=1)]
    bound: Annotated[float, Field(ge=0, le=1)]
    calibrated_on: tuple[Sha256, ...] = ()
    preprocess_sha256: Sha256


class FileEntry(_Part):
    """One file of the bundle, by name and content."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=200)]
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=MAXIMUM_FILE_BYTES)]


class TrainingRecord(_Part):
    """Where the weights come from; `selection` says on what the kept weights and the score terms were chosen.

    weights_sha256: of the checkpoint that a pre-trained encoder came from; None: nothing was pre-trained.
    """

    software: str
    seed: int
    steps: int
    n_train: int
    n_heldout: int
    n_weak: int = 0
    layout: Literal["aligned", "free"] = "aligned"
    ablations: tuple[str, ...] = ()
    data_sha256: Sha256
    weights_sha256: Sha256 | None = None
    selection: str


class TriedPrecision(_Part):
    """A candidate precision that was tried; exceeded: the gate's limits it does not keep, none: it passed.

    milliseconds: of a frame in the short timing of all that passed, None where there was nothing to choose from.
    """

    precision: str
    model_sha256: Sha256 | None
    exceeded: tuple[str, ...] = ()
    milliseconds: float | None = None


class Deployment(_Part):
    """What runs on one target, and what was tried before it."""

    precision: Precision
    backend: str
    tried: tuple[TriedPrecision, ...]

    def refused(self, precision: Precision) -> bool:
        """Whether every candidate of this precision was refused; some have floating ends."""
        of_it = [step for step in self.tried if step.precision.startswith(precision)]
        return bool(of_it) and all(step.exceeded for step in of_it)


class Manifest(_Part):
    """The bundle's one commit point: a file that is not named here is not part of the bundle."""

    format_version: Literal[3] = 3
    method: MethodName
    variant: str
    product: str
    created_utc: str
    input: InputSpec
    preprocess: PreprocessSpec = PreprocessSpec()
    outputs: tuple[Literal["recon", "seg_logit", "emb_dist"], ...]
    score: ScoreSpec
    training: TrainingRecord
    # pixel hashes (edge/preprocessing/normal_samples.py) of the good parts trained on: calibration must not use them
    trained_on: tuple[Sha256, ...] = ()
    # the same of the good parts in its memory: each is judged by a memory of the others (calibration/memory)
    memory_on: tuple[Sha256, ...] = ()
    # the same of the parts known to be defective that training saw: evaluation must not use them
    weak_on: tuple[Sha256, ...] = ()
    # each picture is also compared with a golden one: the file `golden`, or one that the run is given for it
    golden: GoldenSpec | None = None
    # what passed the gate, by target: cpu, tensorrt, tensorrt-rtx
    deployments: dict[str, Deployment] = {}
    # keys: model_fp32, model_int8, ranges, quantization, drift, golden; for a processor calibration_fp32,
    # calibration_int8, gate_cpu, gate_page_cpu; for a target such as tensorrt calibration_tensorrt_int8, gate_tensorrt,
    # gate_page_tensorrt
    files: dict[str, FileEntry]

    @property
    def field(self) -> tuple[int, int]:
        """(height, width) of what a frame is scaled to: the network's input, or what is cut in tiles of it."""
        whole = self.preprocess.tiles or self.input
        return whole.height, whole.width

    @property
    def map_shape(self) -> tuple[int, int]:
        """Rows and columns of the anomaly map, and of the statistics."""
        height, width = self.field
        return height // self.score.map_scale, width // self.score.map_scale

    @property
    def of_one_tile(self) -> Manifest:
        """The same for pictures of the network's input alone: the top share of a tile's map, no places of a frame."""
        tiles, score = self.preprocess.tiles, self.score
        if tiles is None:
            return self
        share = self.input.height * self.input.width / (tiles.height * tiles.width)
        k = max(1, round(score.image_score.k * share))
        norm = score.norm.model_copy(update={"kind": "global", "distances": "pooled"})
        image_score = score.image_score.model_copy(update={"k": k})
        return self.model_copy(
            update={
                "preprocess": self.preprocess.model_copy(update={"tiles": None}),
                "score": score.model_copy(update={"norm": norm, "image_score": image_score}),
            }
        )

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.score.residual.used and "recon" not in self.outputs:
            raise ValueError("the score weighs a residual, but the network has no `recon` output")
        if not self.score.residual.used and self.outputs == ("recon",):
            raise ValueError("the network gives only `recon`, but every residual weight is zero")
        height, width, scale = self.input.height, self.input.width, self.score.map_scale
        if height % scale or width % scale:
            raise ValueError(f"map_scale {scale} does not divide the input of {width}x{height} px")
        tiles = self.preprocess.tiles
        if tiles is None and self.score.norm.distances == "by_place":
            raise ValueError("distances have statistics by place in tiles alone")
        if tiles is not None and (height % TILE_STEP or width % TILE_STEP):
            raise ValueError(f"tiles of {width}x{height} px are no multiples of {TILE_STEP} px")
        if tiles is not None and (tiles.height < height or tiles.width < width):
            raise ValueError(f"tiles of {width}x{height} px do not fit a field of {tiles.width}x{tiles.height} px")
        if tiles is not None and 2 * tiles.halo >= min(height, width):
            raise ValueError(f"a halo of {tiles.halo} px leaves nothing of a tile of {width}x{height} px")
        if "model_fp32" not in self.files:
            raise ValueError("`files` lacks model_fp32")
        return self
