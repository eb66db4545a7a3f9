// How blocks divide the work; the numbers are the same in plan.py.
#pragma once

#include "parameters.h"
#include "pixel_math.h"

constexpr int TILE_ROWS = 32, TILE_COLUMNS = 64;
constexpr int THREADS = 256;
// map pixels that a thread makes: so many in a line
constexpr int RUN = 8;
static_assert(TILE_ROWS * TILE_COLUMNS == THREADS * RUN);

#ifdef __CUDACC__
#define SHARED(Type, name) __shared__ Type name
// an exported kernel with one argument, by value; all are launched with THREADS threads
#define KERNEL(name, Parameters, ...)                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) name(const __grid_constant__ Parameters parameters) {   \
        __VA_ARGS__(parameters);                                                                                  \
    }
#endif

// neighbouring elements of a row, in one transaction
template <class Element, int COUNT>
struct alignas(sizeof(Element) * COUNT) Packed {
    Element elements[COUNT];
};
