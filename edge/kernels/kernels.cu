// All kernels in one module.

#include "preprocess.cu"
#include "reduce.cu"
#include "residual.cu"
