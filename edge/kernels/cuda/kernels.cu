// All kernels in one module, by the names that plan.py launches them under.

#include "preprocess.cu"
#include "reduce.cu"
#include "residual.cu"

KERNEL(preprocess_f32, PreprocessParameters, preprocess<float>)
KERNEL(preprocess_f16, PreprocessParameters, preprocess<Half>)

// by the type of the network's outputs, what the terms look at, and the scale of the map
#define RESIDUALS(output, Output, scale)                                                         \
    KERNEL(residual_##output##_pixel_##scale, ResidualParameters, residual<Output, PIXEL, scale>) \
    KERNEL(residual_##output##_ssim_##scale, ResidualParameters, residual<Output, SSIM, scale>)   \
    KERNEL(residual_##output##_gms_##scale, ResidualParameters, residual<Output, GMS, scale>)     \
    KERNEL(residual_##output##_all_##scale, ResidualParameters, residual<Output, ALL, scale>)

RESIDUALS(f16, Half, 1)
RESIDUALS(f16, Half, 2)
RESIDUALS(f16, Half, 4)
RESIDUALS(f32, float, 1)
RESIDUALS(f32, float, 2)
RESIDUALS(f32, float, 4)

KERNEL(evidence_f16_1, ResidualParameters, evidence_alone<Half, 1>)
KERNEL(evidence_f16_2, ResidualParameters, evidence_alone<Half, 2>)
KERNEL(evidence_f16_4, ResidualParameters, evidence_alone<Half, 4>)
KERNEL(evidence_f32_1, ResidualParameters, evidence_alone<float, 1>)
KERNEL(evidence_f32_2, ResidualParameters, evidence_alone<float, 2>)
KERNEL(evidence_f32_4, ResidualParameters, evidence_alone<float, 4>)

KERNEL(reduce_box, ReduceParameters, reduce<Box>)
KERNEL(reduce_gaussian, ReduceParameters, reduce<Gaussian>)
KERNEL(reduce_smoothed, ReduceParameters, reduce_smoothed_map)
KERNEL(box_columns, ReduceParameters, wide_columns<Box>)
KERNEL(box_rows, ReduceParameters, wide_rows<Box>)
KERNEL(gaussian_columns, ReduceParameters, wide_columns<Gaussian>)
KERNEL(gaussian_rows, ReduceParameters, wide_rows<Gaussian>)
