// As much of a CUDA driver as our code needs through the real pycuda, in host memory: counts what is taken, refuses
// calls without a current context, runs copies at once or records them, and launches nothing. `broken` and `full` are
// set by the test; `report` says what is still taken.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long Address;
enum { BAD_VALUE = 1, OUT_OF_MEMORY = 2, NO_CONTEXT = 201, LAUNCH_FAILED = 719, CAPTURING = 900 };
enum { DEVICE, PINNED, STREAMS, MODULES, CONTEXTS, GRAPHS, EXECUTABLES, CURRENT, LAUNCHES, RESETS, KERNELS, REGISTERED, COUNTS };

static int counts[COUNTS];
static __thread int depth;
static void *const context = (void *)0x123456789a0;
int broken, full;

typedef struct { void *target; const void *source; size_t size; } Copy;
static Copy recorded[64];
static int nodes, recording;

#define NEEDS_CONTEXT do { if (!depth) return NO_CONTEXT; if (broken) return LAUNCH_FAILED; } while (0)
#define NOT_RECORDED do { NEEDS_CONTEXT; if (recording) return CAPTURING; } while (0)

void report(int *given) { memcpy(given, counts, sizeof counts); given[CURRENT] = depth; }

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuGetErrorName(int status, const char **name) { *name = "FAKE_ERROR"; return 0; }
int cuGetErrorString(int status, const char **text) { *text = status == OUT_OF_MEMORY ? "out of memory" : "fake error"; return 0; }

int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) { return counts[CONTEXTS] ? 708 : 0; }
int cuDevicePrimaryCtxRetain(void **found, int device) { *found = context; counts[CONTEXTS]++; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { counts[CONTEXTS]--; return 0; }
int cuDevicePrimaryCtxReset_v2(int device) {
    counts[DEVICE] = counts[PINNED] = counts[STREAMS] = counts[MODULES] = counts[GRAPHS] = counts[EXECUTABLES] = 0;
    counts[RESETS]++;
    return broken = 0;
}
int cuCtxPushCurrent_v2(void *pushed) { if (pushed != context) return NO_CONTEXT; depth++; return 0; }
int cuCtxPopCurrent_v2(void **popped) { if (!depth) return NO_CONTEXT; depth--; *popped = context; return 0; }

int cuStreamCreate(void **stream, unsigned flags) { NOT_RECORDED; *stream = (void *)0x7f0012345670; counts[STREAMS]++; return 0; }
int cuStreamDestroy_v2(void *stream) { NOT_RECORDED; counts[STREAMS]--; return 0; }
int cuStreamSynchronize(void *stream) { NOT_RECORDED; return 0; }

int cuMemAlloc_v2(Address *address, size_t size) {
    NOT_RECORDED;
    if (!size) return BAD_VALUE;
    if (full) return OUT_OF_MEMORY;
    *address = (Address)malloc(size);
    counts[DEVICE]++;
    return 0;
}
int cuMemFree_v2(Address address) { NOT_RECORDED; free((void *)address); counts[DEVICE]--; return 0; }
int cuMemHostAlloc(void **data, size_t size, unsigned flags) { NOT_RECORDED; if (!size) return BAD_VALUE; *data = malloc(size); counts[PINNED]++; return 0; }
int cuMemFreeHost(void *data) { NOT_RECORDED; free(data); counts[PINNED]--; return 0; }

static int copy(void *target, const void *source, size_t size) {
    NEEDS_CONTEXT;
    if (recording) recorded[nodes++] = (Copy){target, source, size};
    else memcpy(target, source, size);
    return 0;
}
int cuMemcpyHtoDAsync_v2(Address target, const void *source, size_t size, void *stream) { return copy((void *)target, source, size); }
int cuMemcpyDtoHAsync_v2(void *target, Address source, size_t size, void *stream) { return copy(target, (void *)source, size); }
int cuMemcpyDtoDAsync_v2(Address target, Address source, size_t size, void *stream) { return copy((void *)target, (void *)source, size); }

int cuMemHostGetDevicePointer_v2(Address *address, void *data, unsigned flags) { *address = (Address)data; return 0; }
typedef struct {
    size_t src_x, src_y; unsigned src_type; const char *src_host; Address src_device; void *src_array; size_t src_pitch;
    size_t dst_x, dst_y; unsigned dst_type; char *dst_host; Address dst_device; void *dst_array; size_t dst_pitch;
    size_t width, rows;
} Copy2D;
int cuMemcpy2DAsync_v2(const Copy2D *c, void *stream) {
    NEEDS_CONTEXT;
    for (size_t row = 0; row < c->rows; row++) {
        memcpy((char *)c->dst_device + row * c->dst_pitch, c->src_host + row * c->src_pitch, c->width);
    }
    return 0;
}
int cuMemHostRegister_v2(void *data, size_t size, unsigned flags) { NOT_RECORDED; counts[REGISTERED]++; return 0; }
int cuMemHostUnregister(void *data) { NOT_RECORDED; counts[REGISTERED]--; return 0; }

int cuModuleLoadDataEx(void **module, const void *image, unsigned count, void *options, void *values) {
    NOT_RECORDED;
    *module = (void *)0x550;
    counts[MODULES]++;
    return 0;
}
int cuModuleLoadData(void **module, const void *image) { return cuModuleLoadDataEx(module, image, 0, NULL, NULL); }
int cuModuleUnload(void *module) { NOT_RECORDED; counts[MODULES]--; return 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) { NEEDS_CONTEXT; *function = (void *)0x660; return 0; }
int cuFuncSetBlockShape(void *function, int x, int y, int z) { NEEDS_CONTEXT; return 0; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    NEEDS_CONTEXT;
    counts[KERNELS]++;
    return extra == NULL ? BAD_VALUE : 0;
}

int cuStreamBeginCapture_v2(void *stream, int mode) { NOT_RECORDED; recording = 1; nodes = 0; return 0; }
int cuStreamEndCapture(void *stream, void **graph) { NEEDS_CONTEXT; recording = 0; *graph = (void *)0x770; counts[GRAPHS]++; return 0; }
int cuGraphGetNodes(void *graph, void *listed, size_t *count) { *count = nodes; return 0; }
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    NEEDS_CONTEXT;
    *executable = (void *)0x880;
    counts[EXECUTABLES]++;
    return 0;
}
int cuGraphLaunch(void *executable, void *stream) {
    NEEDS_CONTEXT;
    counts[LAUNCHES]++;
    for (int i = 0; i < nodes; i++) memcpy(recorded[i].target, recorded[i].source, recorded[i].size);
    return 0;
}
int cuGraphExecDestroy(void *executable) { NEEDS_CONTEXT; counts[EXECUTABLES]--; return 0; }
int cuGraphDestroy(void *graph) { NEEDS_CONTEXT; counts[GRAPHS]--; return 0; }
