"""`python -m tests.edge.kernels.emulation.sanitized LIBRARY MISSING`: awkward sizes through kernels with sanitizers.

MISSING: bytes by which all memory is too small. To be run with the address sanitizer loaded first; a finding ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from tests.edge.kernels.device_case import ALL_TERMS, assert_equal_to_the_last_bit, computed, made_up
from tests.edge.kernels.emulation import EmulatedModule, HostMemory

SIZES = ((1, 1), (1, 257), (63, 32), (255, 255), (256, 256))
SMOOTHINGS = (
    SmoothSpec(kind="box", radius=16),
    SmoothSpec(kind="box", radius=20),
    SmoothSpec(kind="gaussian", radius=4),
)
PRODUCT, SUM = BlendSpec(mode="product", alpha=0.5), BlendSpec(mode="sum", lift=2)


def main() -> None:
    module, missing_bytes = EmulatedModule(library=Path(sys.argv[1])), int(sys.argv[2])
    for index, shape in enumerate(SIZES):
        case = made_up(shape, spec(SMOOTHINGS[index % 3], 1, PRODUCT), ("recon", "seg_logit", "emb_dist"), 2, "f16")
        assert_equal_to_the_last_bit(case, computed(case, module, HostMemory(exact=True, missing_bytes=missing_bytes)))
    for index, shape in enumerate(SIZES[1:3]):
        chosen = spec(SMOOTHINGS[2 * (index % 2)], 1, PRODUCT)
        case = made_up(shape, chosen, ("recon", "seg_logit", "emb_dist"), 2, "f16", multiprocessors=10**6)
        assert_equal_to_the_last_bit(case, computed(case, module, HostMemory(exact=True, missing_bytes=missing_bytes)))
    for shape, scale in (((2, 2), 2), ((62, 130), 2), ((4, 4), 4), ((60, 132), 4)):
        for outputs in (("recon", "seg_logit"), ("seg_logit", "emb_dist")):
            residual = ALL_TERMS if "recon" in outputs else ResidualSpec()
            chosen = spec(SMOOTHINGS[0], scale, SUM).model_copy(update={"residual": residual})
            case = made_up(shape, chosen, outputs, 2, "f32")
            memory = HostMemory(exact=True, missing_bytes=missing_bytes)
            assert_equal_to_the_last_bit(case, computed(case, module, memory))
    print("sound:", *sorted(set(module.launched)))


def spec(smooth: SmoothSpec, map_scale: int, blend: BlendSpec) -> ScoreSpec:
    image_score = ImageScoreSpec(k=40, minus_median=True)
    return ScoreSpec(map_scale=map_scale, residual=ALL_TERMS, blend=blend, smooth=smooth, image_score=image_score)


if __name__ == "__main__":
    main()
