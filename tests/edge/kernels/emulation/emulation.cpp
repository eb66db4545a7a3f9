// The kernels on the CPU, and the one entry that Python calls.

#include "cuda_shim.h"

#include <dlfcn.h>
#include <ucontext.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#ifdef FEW
#include "few_kernels.cu"
#else
#include "pixel_calls.cpp"
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#else
// the sanitizer wants to know which stack is in use
inline void __sanitizer_start_switch_fiber(void**, const void*, std::size_t) {}
inline void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*) {}
#endif

namespace emulation {

Dim3 thread_index, block_index, block_size, grid_size;

namespace {

constexpr std::size_t STACK_BYTES = 256 * 1024;
constexpr unsigned char POISON = 0xff;  // NaN as float and as half, and far outside as a whole number

struct Fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
    Dim3 index;
    void* fake_stack = nullptr;
    bool finished = false;
};

ucontext_t scheduler;
void* scheduler_fake_stack;
const void* scheduler_stack;
std::size_t scheduler_stack_bytes;
std::vector<Fibre> fibres;
Fibre* running;
void (*kernel)(const void*);
const void* arguments;
void* shared;
std::size_t shared_bytes;

void enter() {
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
    kernel(arguments);
    running->finished = true;
    // null: this fibre's stack is not used again
    __sanitizer_start_switch_fiber(nullptr, scheduler_stack, scheduler_stack_bytes);
    swapcontext(&running->context, &scheduler);
}

void start(Fibre& fibre, unsigned number) {
    fibre.index = {number % block_size.x, number / block_size.x % block_size.y, number / block_size.x / block_size.y};
    fibre.finished = false;
    fibre.fake_stack = nullptr;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = STACK_BYTES;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, enter, 0);
}

void resume(Fibre& fibre) {
    running = &fibre;
    thread_index = fibre.index;
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, fibre.stack.get(), STACK_BYTES);
    swapcontext(&scheduler, &fibre.context);
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
}

// false: some threads ended while others wait at a barrier
bool run_block(bool backwards) {
    const std::size_t count = fibres.size();
    for (std::size_t i = 0; i < count; i++) start(fibres[i], static_cast<unsigned>(i));
    while (true) {
        std::size_t finished = 0;
        for (std::size_t i = 0; i < count; i++) {
            Fibre& fibre = fibres[backwards ? count - 1 - i : i];
            resume(fibre);
            finished += fibre.finished ? 1 : 0;
        }
        if (finished == count) return true;
        if (finished != 0) return false;
    }
}

// among the names that this library exports
void (*find_kernel(const char* name))(const void*) {
    Dl_info self;
    if (dladdr(reinterpret_cast<const void*>(&run_block), &self) == 0) return nullptr;
    void* library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    void* found = library == nullptr ? nullptr : dlsym(library, name);
    if (library != nullptr) dlclose(library);
    return reinterpret_cast<void (*)(const void*)>(found);
}

}  // namespace

void* shared_memory(std::size_t size_bytes) {
    if (shared == nullptr) {
        shared = std::malloc(size_bytes);
        shared_bytes = size_bytes;
        std::memset(shared, POISON, size_bytes);
    }
    if (size_bytes != shared_bytes) std::abort();
    return shared;
}

void barrier() {
    Fibre& self = *running;
    __sanitizer_start_switch_fiber(&self.fake_stack, scheduler_stack, scheduler_stack_bytes);
    swapcontext(&self.context, &scheduler);
    __sanitizer_finish_switch_fiber(self.fake_stack, &scheduler_stack, &scheduler_stack_bytes);
}

}  // namespace emulation

// 0: done. 1: no such kernel. 2: a barrier that not all threads of a block reached.
// backwards: the threads' order between barriers; the result must not depend on it
extern "C" __attribute__((visibility("default"))) int emulate(
    const char* name, const std::uint32_t* grid, const std::uint32_t* block, const void* parameters, int backwards
) {
    using namespace emulation;
    kernel = find_kernel(name);
    if (kernel == nullptr) return 1;
    arguments = parameters;
    grid_size = {grid[0], grid[1], grid[2]};
    block_size = {block[0], block[1], block[2]};
    fibres = std::vector<Fibre>(static_cast<std::size_t>(block[0]) * block[1] * block[2]);
    bool whole = true;
    for (unsigned z = 0; z < grid[2] && whole; z++) {
        for (unsigned y = 0; y < grid[1] && whole; y++) {
            for (unsigned x = 0; x < grid[0] && whole; x++) {
                block_index = {x, y, z};
                whole = run_block(backwards != 0);
                std::free(shared);
                shared = nullptr;
            }
        }
    }
    fibres.clear();
    return whole ? 0 : 2;
}
