"""The kernels' arguments as bytes; the same as parameters.h, field by field."""

from __future__ import annotations

from ctypes import Structure, c_double, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p

from edge.kernels.reference import HISTOGRAM_BINS

MAXIMUM_TAPS = 257
# by name of BlendSpec.mode; `single` where there is one kind of evidence only
BLEND_MODES = {"single": 0, "product": 1, "wsum": 2, "max": 3, "noisy_or": 4, "gate": 5, "sum": 6}


class PreprocessParameters(Structure):
    _fields_ = (
        ("frames", c_void_p), ("bytes", c_void_p), ("pictures", c_void_p),
        ("frame_stride", c_int64), ("row_stride", c_int64),
        ("scale_y", c_double), ("scale_x", c_double),
        ("height", c_int32), ("width", c_int32), ("channels", c_int32),
        ("added_rows", c_int32), ("added_columns", c_int32),
        ("rows", c_int32), ("columns", c_int32),
        ("box_height", c_int32), ("box_width", c_int32),
        ("inverse_box_area", c_float),
    )  # fmt: skip


class ResidualParameters(Structure):
    _fields_ = (
        ("bytes", c_void_p), ("recon", c_void_p), ("seg_logit", c_void_p), ("emb_dist", c_void_p),
        ("mean", c_void_p), ("inv_std", c_void_p), ("weight", c_void_p),
        ("blended", c_void_p), ("counters", c_void_p),
        ("rows", c_int32), ("columns", c_int32),
        ("emb_rows", c_int32), ("emb_columns", c_int32), ("emb_places", c_int32),
        ("blend_mode", c_int32), ("logits_at_map", c_int32),
        ("emb_scale_y", c_float), ("emb_scale_x", c_float),
        ("emb_mean", c_float), ("emb_inv_std", c_float), ("seg_mean", c_float), ("seg_inv_std", c_float),
        ("w_l1", c_float), ("w_l2", c_float), ("w_col", c_float), ("w_ssim", c_float), ("w_gms", c_float),
        ("z_max", c_float), ("inverse_tau", c_float),
        ("alpha", c_float), ("beta", c_float), ("gamma", c_float), ("lift", c_float),
        ("one_minus_alpha", c_float), ("gate_scale", c_float),
    )  # fmt: skip


class ReduceParameters(Structure):
    _fields_ = (
        ("blended", c_void_p), ("maps", c_void_p), ("work", c_void_p),
        ("counters", c_void_p), ("results", c_void_p),
        ("rows", c_int32), ("columns", c_int32), ("radius", c_int32), ("largest", c_int32),
        ("scale", c_float), ("pixel_threshold", c_float),
        ("taps", c_float * MAXIMUM_TAPS),
    )  # fmt: skip


class Counters(Structure):
    _fields_ = (
        ("histogram", c_uint32 * HISTOGRAM_BINS),
        ("area", c_uint32), ("peak_bits", c_uint32), ("not_finite", c_uint32), ("finished_blocks", c_uint32),
    )  # fmt: skip


class Result(Structure):
    _fields_ = (
        ("top_bins", c_uint64), ("largest", c_uint32), ("area", c_uint32), ("peak", c_float), ("not_finite", c_uint32),
        ("median_bin", c_uint32),
    )  # fmt: skip
