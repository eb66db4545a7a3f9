// Enough of CUDA for g++ to compile the kernels as they are. A block's threads are fibres of one thread: each runs until a
// barrier, then the next. Blocks run one after another. Shared memory is fresh for each block, and full of NaN.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __forceinline__ inline

namespace emulation {

struct Dim3 {
    unsigned x = 1, y = 1, z = 1;
};

// what the fibre that runs now is
extern Dim3 thread_index, block_index, block_size, grid_size;

// memory that all fibres of a block share: the first to ask allocates it
void* shared_memory(std::size_t size_bytes);
void barrier();

}  // namespace emulation

#define threadIdx emulation::thread_index
#define blockIdx emulation::block_index
#define blockDim emulation::block_size
#define gridDim emulation::grid_size

#define SHARED(Type, name) Type& name = *static_cast<Type*>(emulation::shared_memory(sizeof(Type)))
#define KERNEL(name, Parameters, ...)                                                      \
    extern "C" __attribute__((visibility("default"))) void name(const void* parameters) {  \
        __VA_ARGS__(*static_cast<const Parameters*>(parameters));                          \
    }

inline void __syncthreads() { emulation::barrier(); }
inline void __threadfence() {}

template <class Number>
Number atomicAdd(Number* place, Number value) {
    Number before = *place;
    *place = before + value;
    return before;
}

template <class Number>
Number atomicMax(Number* place, Number value) {
    Number before = *place;
    *place = std::max(before, value);
    return before;
}
