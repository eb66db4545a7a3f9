// Functions of pixel_math.h over arrays, for Python; and what the compiler makes of the arguments' layout.

#include "kernels.cu"

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED void call_exponential(const float* in, float* out, int count) {
    for (int i = 0; i < count; i++) out[i] = exponential(in[i]);
}

EXPORTED void call_logarithm(const float* in, float* out, int count) {
    for (int i = 0; i < count; i++) out[i] = logarithm(in[i]);
}

EXPORTED void call_probability(const float* in, float* out, int count) {
    for (int i = 0; i < count; i++) out[i] = probability(in[i]);
}

EXPORTED void call_half_of(const float* in, std::uint16_t* out, int count) {
    for (int i = 0; i < count; i++) out[i] = half_of(in[i]).bits;
}

EXPORTED void call_float_of_half(const std::uint16_t* in, float* out, int count) {
    for (int i = 0; i < count; i++) out[i] = value_of(Half{in[i]});
}

EXPORTED void call_steps_of(const float* in, std::uint16_t* out, int count) {
    for (int i = 0; i < count; i++) out[i] = steps_of(in[i]);
}

EXPORTED int call_reflected(int place, int count) { return reflected(place, count); }

EXPORTED void call_pixel_error(const float* a, const float* b, float l1, float l2, float col, float* out) {
    *out = pixel_error({a[0], a[1], a[2]}, {b[0], b[1], b[2]}, {l1, l2, col});
}

EXPORTED void call_structure_dissimilarity(const float* sums, float* out) {
    *out = structure_dissimilarity(sums[0], sums[1], sums[2], sums[3]);
}

// sizes, and where some fields lie
EXPORTED void call_layout(std::int64_t* out) {
    out[0] = sizeof(PreprocessParameters);
    out[1] = sizeof(ResidualParameters);
    out[2] = sizeof(ReduceParameters);
    out[3] = sizeof(Counters);
    out[4] = sizeof(Result);
    out[5] = offsetof(PreprocessParameters, inverse_box_area);
    out[6] = offsetof(ResidualParameters, gate_scale);
    out[7] = offsetof(ReduceParameters, taps);
    out[8] = offsetof(Result, median_bin);
}
