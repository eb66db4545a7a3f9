// All kernels in one module, by the names that plan.py launches them under.

#include "preprocess.cu"
#include "reduce.cu"
#include "residual.cu"

KERNEL(preprocess_f32, PreprocessParameters, preprocess<float>)
KERNEL(preprocess_f16, PreprocessParameters, preprocess<Half>)

// by the type of the network's outputs, what the terms look at, the scale of the map, and the size of the tiles
#define RESIDUALS(output, Output, scale, small, Shape)                                                           \
    KERNEL(residual_##output##_pixel_##scale##small, ResidualParameters, residual<Output, PIXEL, scale, Shape>) \
    KERNEL(residual_##output##_ssim_##scale##small, ResidualParameters, residual<Output, SSIM, scale, Shape>)   \
    KERNEL(residual_##output##_gms_##scale##small, ResidualParameters, residual<Output, GMS, scale, Shape>)     \
    KERNEL(residual_##output##_all_##scale##small, ResidualParameters, residual<Output, ALL, scale, Shape>)     \
    KERNEL(evidence_##output##_##scale##small, ResidualParameters, evidence_alone<Output, scale, Shape>)

#define OF_BOTH_TILES(output, Output, scale)       \
    RESIDUALS(output, Output, scale, , Large)      \
    RESIDUALS(output, Output, scale, _small, Small)

OF_BOTH_TILES(f16, Half, 1)
OF_BOTH_TILES(f16, Half, 2)
OF_BOTH_TILES(f16, Half, 4)
OF_BOTH_TILES(f32, float, 1)
OF_BOTH_TILES(f32, float, 2)
OF_BOTH_TILES(f32, float, 4)

KERNEL(reduce_box, ReduceParameters, reduce<Box>)
KERNEL(reduce_box_small, ReduceParameters, reduce<Box, Small>)
KERNEL(reduce_gaussian, ReduceParameters, reduce<Gaussian>)
KERNEL(reduce_gaussian_small, ReduceParameters, reduce<Gaussian, Small>)
KERNEL(reduce_smoothed, ReduceParameters, reduce_smoothed_map)
KERNEL(box_columns, ReduceParameters, wide_columns<Box>)
KERNEL(box_rows, ReduceParameters, wide_rows<Box>)
KERNEL(gaussian_columns, ReduceParameters, wide_columns<Gaussian>)
KERNEL(gaussian_rows, ReduceParameters, wide_rows<Gaussian>)
