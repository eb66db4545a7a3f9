// Every source once, in few variants: for compilers and checks that would take minutes over all of them.

#include "preprocess.cu"
#include "reduce.cu"
#include "residual.cu"

KERNEL(preprocess_f16, PreprocessParameters, preprocess<Half>)
KERNEL(preprocess_f32, PreprocessParameters, preprocess<float>)
KERNEL(residual_f16_all_1, ResidualParameters, residual<Half, ALL, 1>)
KERNEL(residual_f16_all_1_small, ResidualParameters, residual<Half, ALL, 1, Small>)
#ifndef __CUDACC__
KERNEL(residual_f32_all_2, ResidualParameters, residual<float, ALL, 2>)
KERNEL(residual_f32_all_4, ResidualParameters, residual<float, ALL, 4>)
KERNEL(evidence_f32_2, ResidualParameters, evidence_alone<float, 2>)
KERNEL(evidence_f32_4, ResidualParameters, evidence_alone<float, 4>)
#endif
KERNEL(reduce_box, ReduceParameters, reduce<Box>)
KERNEL(reduce_box_small, ReduceParameters, reduce<Box, Small>)
KERNEL(reduce_gaussian_small, ReduceParameters, reduce<Gaussian, Small>)
KERNEL(reduce_gaussian, ReduceParameters, reduce<Gaussian>)
KERNEL(reduce_smoothed, ReduceParameters, reduce_smoothed_map)
KERNEL(box_columns, ReduceParameters, wide_columns<Box>)
KERNEL(box_rows, ReduceParameters, wide_rows<Box>)
