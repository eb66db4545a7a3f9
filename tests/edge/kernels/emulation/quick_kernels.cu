// Of kernels.cu, what the short tests of the PTX execute: all of them take nvcc a quarter of a minute.

#include "preprocess.cu"
#include "reduce.cu"
#include "residual.cu"

KERNEL(preprocess_f32, PreprocessParameters, preprocess<float>)
KERNEL(preprocess_f16, PreprocessParameters, preprocess<Half>)
KERNEL(residual_f32_pixel_1, ResidualParameters, residual<float, PIXEL, 1>)
KERNEL(residual_f16_all_1, ResidualParameters, residual<Half, ALL, 1>)
KERNEL(residual_f16_all_1_small, ResidualParameters, residual<Half, ALL, 1, Small>)
KERNEL(residual_f32_all_2, ResidualParameters, residual<float, ALL, 2>)
KERNEL(residual_f16_pixel_4, ResidualParameters, residual<Half, PIXEL, 4>)
KERNEL(evidence_f32_4, ResidualParameters, evidence_alone<float, 4>)
KERNEL(reduce_box, ReduceParameters, reduce<Box>)
KERNEL(reduce_gaussian, ReduceParameters, reduce<Gaussian>)
KERNEL(reduce_gaussian_small, ReduceParameters, reduce<Gaussian, Small>)
KERNEL(reduce_smoothed, ReduceParameters, reduce_smoothed_map)
KERNEL(box_columns, ReduceParameters, wide_columns<Box>)
KERNEL(box_rows, ReduceParameters, wide_rows<Box>)
