// How blocks divide the work; the numbers are the same in plan.py.
#pragma once

#include "parameters.h"
#include "pixel_math.h"

constexpr int THREADS = 256;

// map pixels that a block makes, and a thread of it: RUN in a line
template <int TILE_ROWS, int TILE_COLUMNS>
struct TileShape {
    static constexpr int ROWS = TILE_ROWS, COLUMNS = TILE_COLUMNS, RUN = TILE_ROWS * TILE_COLUMNS / THREADS;
    static_assert(ROWS * COLUMNS == THREADS * RUN);
};

// large: less of its neighbours is done twice. small: a single frame gives work to four times as many processors
using Large = TileShape<32, 64>;
using Small = TileShape<16, 32>;

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
