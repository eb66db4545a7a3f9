// The arithmetic of one pixel, for device and host alike. device_reference.py does the same operations in the same order
// with NumPy, and gets the same bits: every operation is rounded once, nothing is contracted, and exp and log are our own,
// because no two libraries round them alike. Formulas: README.md.
#pragma once

#include "standard.h"

#ifdef __CUDACC__
#define BOTH __host__ __device__ __forceinline__
#else
#define BOTH inline
#endif

struct Half {
    std::uint16_t bits;
};

constexpr float TWO_255THS = 2.0f / 255.0f;
constexpr float LUMA_RED = 0.299f, LUMA_GREEN = 0.587f, LUMA_BLUE = 0.114f;
constexpr int SSIM_REACH = 3;
constexpr float SSIM_AREA_INVERSE = 1.0f / 49.0f;
// of a sum of two planes of -1..1, whose squares are eight times as large as those of 0..1 in both constants
constexpr float SSIM_C1 = 8e-4f, SSIM_C2 = 72e-4f;
// a slope here is twelve times that of the definition: a sum of three rows, of planes of -1..1, twice each
constexpr float GMS_C = 144.0f * 0.0026f;
constexpr float EXPONENT_LIMIT = 87.0f, LOGIT_LIMIT = 60.0f;
constexpr float LOG2_E = 1.44269504f;
// ln 2 in two parts; the first has few bits, so that products with whole numbers are exact
constexpr float LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;
constexpr float SQRT_2 = 1.41421356f;

BOTH std::uint32_t bits_of(float value) {
    std::uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

BOTH float float_of(std::uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// half precision: conversions are exact, or rounded to nearest even; the device has instructions for both

BOTH float value_of(Half half) {
#ifdef __CUDA_ARCH__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half.bits));
    return value;
#else
    std::uint32_t sign = (half.bits & 0x8000u) << 16, exponent = (half.bits >> 10) & 31u, fraction = half.bits & 0x3ffu;
    if (exponent == 0) return float_of(sign | bits_of(static_cast<float>(fraction) * 0x1p-24f));
    if (exponent == 31) return float_of(sign | 0x7f800000u | (fraction << 13));
    return float_of(sign | ((exponent + 112u) << 23) | (fraction << 13));
#endif
}

BOTH Half half_of(float value) {
    Half half;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(value));
#else
    std::uint32_t bits = bits_of(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        half.bits = 0x7fffu;
    } else if (magnitude >= 0x477ff000u) {  // rounds to more than the largest half
        half.bits = static_cast<std::uint16_t>(sign | 0x7c00u);
    } else if (magnitude < 0x38800000u) {  // below the smallest normal: a multiple of 2^-24
        half.bits = static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(rintf(float_of(magnitude) * 0x1p24f)));
    } else {
        std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
        half.bits = static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
    }
#endif
    return half;
}

// elements of planes, as floats; pictures come out in -1..1

BOTH float value_of(float value) { return value; }
BOTH float value_of(std::uint8_t level) { return static_cast<float>(level) * TWO_255THS - 1.0f; }

template <class Element>
BOTH Element element_of(float value);
template <>
BOTH float element_of<float>(float value) {
    return value;
}
template <>
BOTH Half element_of<Half>(float value) {
    return half_of(value);
}

// comparisons let NaN pass; fminf and fmaxf would swallow it
BOTH float clamped(float value, float low, float high) { return value < low ? low : (value > high ? high : value); }

// what is not finite becomes NaN, all else zero
BOTH float trace_of(float value) { return value * 0.0f; }

BOTH float exponential(float x) {
    // at most EXPONENT_LIMIT; what is far below underflows to nothing
    if (!(x >= -EXPONENT_LIMIT)) return x < -EXPONENT_LIMIT ? 0.0f : x;
    float whole = rintf(x * LOG2_E);
    float r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    float series = 1.0f / 5040.0f;
    series = series * r + 1.0f / 720.0f;
    series = series * r + 1.0f / 120.0f;
    series = series * r + 1.0f / 24.0f;
    series = series * r + 1.0f / 6.0f;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    return series * float_of(static_cast<std::uint32_t>(static_cast<std::int32_t>(whole) + 127) << 23);
}

// of a normal positive number
BOTH float logarithm(float value) {
    std::uint32_t bits = bits_of(value);
    std::int32_t exponent = static_cast<std::int32_t>(bits >> 23) - 127;
    float mantissa = float_of((bits & 0x7fffffu) | 0x3f800000u);
    if (mantissa > SQRT_2) {
        mantissa = mantissa * 0.5f;
        exponent = exponent + 1;
    }
    float s = (mantissa - 1.0f) / (mantissa + 1.0f);
    float square = s * s;
    float series = 2.0f / 9.0f;
    series = series * square + 2.0f / 7.0f;
    series = series * square + 2.0f / 5.0f;
    series = series * square + 2.0f / 3.0f;
    series = series * square + 2.0f;
    float whole = static_cast<float>(exponent);
    return whole * LN2_HIGH + (whole * LN2_LOW + series * s);
}

// value in 0..1
BOTH float power(float value, float exponent) {
    if (exponent == 1.0f) return value;
    if (exponent == 0.0f) return 1.0f;
    if (!(value > 0.0f)) return value;
    return exponential(exponent * logarithm(value));
}

// the residual error

struct Colour {
    float red, green, blue;
};

struct ErrorWeights {
    float l1, l2, col;
};

BOTH float luma(Colour c) { return (c.red * LUMA_RED + c.green * LUMA_GREEN) + c.blue * LUMA_BLUE; }

// the terms that need one pixel alone; a weight of zero is the same for all threads, and costs a comparison
BOTH float pixel_error(Colour a, Colour b, ErrorWeights w) {
    float red = a.red - b.red, green = a.green - b.green, blue = a.blue - b.blue;
    float error = 0.0f;
    if (w.l1 != 0.0f) error = error + w.l1 * ((fabsf(red) + fabsf(green)) + fabsf(blue));
    if (w.l2 != 0.0f) error = error + w.l2 * ((red * red + green * green) + blue * blue);
    if (w.col != 0.0f) {
        float red_green = red - green, yellow_blue = (red + green) * 0.5f - blue;
        error = error + w.col * (red_green * red_green + yellow_blue * yellow_blue);
    }
    return error;
}

struct Slope {
    float across, down;
};

// sum and difference of two luma planes stand for the planes themselves
BOTH float gradient_dissimilarity(Slope sum, Slope difference) {
    float across_a = sum.across + difference.across, down_a = sum.down + difference.down;
    float across_b = sum.across - difference.across, down_b = sum.down - difference.down;
    float square_a = across_a * across_a + down_a * down_a, square_b = across_b * across_b + down_b * down_b;
    float gap = sqrtf(square_a) - sqrtf(square_b);
    return (gap * gap) / ((square_a + square_b) + GMS_C);
}

// window sums of sum and difference, and of their squares
BOTH float structure_dissimilarity(float sum, float sum_square, float difference, float difference_square) {
    float mean = sum * SSIM_AREA_INVERSE, bias = difference * SSIM_AREA_INVERSE;
    float variance = sum_square * SSIM_AREA_INVERSE - mean * mean;
    float noise = difference_square * SSIM_AREA_INVERSE - bias * bias;
    float light = (mean + 2.0f) * (mean + 2.0f), shift = bias * bias;
    float above = ((light - shift) + SSIM_C1) * ((variance - noise) + SSIM_C2);
    float below = ((light + shift) + SSIM_C1) * ((variance + noise) + SSIM_C2);
    return 1.0f - above / below;
}

// evidence

BOTH float evidence_of(float z, float inverse_tau) { return 1.0f - exponential(-(z * inverse_tau)); }

BOTH float bounded(float value, float mean, float inv_std, float z_max, float inverse_tau) {
    return evidence_of(clamped((value - mean) * inv_std, 0.0f, z_max), inverse_tau);
}

// standard deviations above and below normal parts
BOTH float standardised(float value, float mean, float inv_std, float z_max) {
    return clamped((value - mean) * inv_std, -z_max, z_max);
}

BOTH float probability(float logit) {
    return 1.0f / (1.0f + exponential(-clamped(logit, -LOGIT_LIMIT, LOGIT_LIMIT)));
}

enum BlendMode { SINGLE = 0, PRODUCT = 1, WEIGHTED_SUM = 2, MAXIMUM = 3, NOISY_OR = 4, GATE = 5, SUM = 6 };

struct Blend {
    int mode;
    float alpha, beta, one_minus_alpha, gate_scale;
};

// evidence in the order residual, probability, embedding, those that there are
struct Evidence {
    float first, second, third;
    int count;
};

BOTH void add_evidence(Evidence& evidence, float value) {
    (evidence.count == 0 ? evidence.first : evidence.count == 1 ? evidence.second : evidence.third) = value;
    evidence.count++;
}

BOTH float blended(const Evidence& e, const Blend& b) {
    if (b.mode == PRODUCT) return power(e.first, b.alpha) * power(e.second, b.beta);
    if (b.mode == WEIGHTED_SUM) return b.alpha * e.first + b.one_minus_alpha * e.second;
    if (b.mode == GATE) return (e.second * (1.0f + b.alpha * e.first)) * b.gate_scale;
    if (b.mode == MAXIMUM) {
        float larger = e.first < e.second ? e.second : e.first;
        return e.count > 2 && larger < e.third ? e.third : larger;
    }
    if (b.mode == NOISY_OR) {
        float none = (1.0f - e.first) * (1.0f - e.second);
        return 1.0f - (e.count > 2 ? none * (1.0f - e.third) : none);
    }
    return e.first;
}

// means of blocks

BOTH float mean_of_four(float a, float below_a, float b, float below_b) {
    return ((a + below_a) + (b + below_b)) * 0.25f;
}

// what is averaged of an element
struct Itself {
    BOTH static float of(float value) { return value; }
};

struct Probability {
    BOTH static float of(float value) { return probability(value); }
};

struct Trace {
    BOTH static float of(float value) { return trace_of(value); }
};

// mean of SCALE x SCALE elements from `block` on, in lines of `width`; of 4 x 4: the mean of four means of 2 x 2
template <int SCALE, class Of, class Element>
BOTH float block_mean(const Element* block, int width) {
    if constexpr (SCALE == 1) {
        return Of::of(value_of(*block));
    } else {
        constexpr int HALF = SCALE / 2;
        const Element* below = block + HALF * width;
        return mean_of_four(
            block_mean<HALF, Of>(block, width), block_mean<HALF, Of>(below, width),
            block_mean<HALF, Of>(block + HALF, width), block_mean<HALF, Of>(below + HALF, width)
        );
    }
}

// 0..1 in 16 bits
constexpr float EVIDENCE_STEPS = 65534.0f;
constexpr std::uint16_t NOT_FINITE = 65535;

BOTH std::uint16_t steps_of(float evidence) {
    if (!(evidence - evidence == 0.0f)) return NOT_FINITE;
    return static_cast<std::uint16_t>(rintf(clamped(evidence, 0.0f, 1.0f) * EVIDENCE_STEPS));
}

// half-sample symmetric: d c b a | a b c d | d c b a, however far outside
BOTH int reflected(int place, int count) {
    if (place >= 0 && place < count) return place;
    place %= 2 * count;
    if (place < 0) place += 2 * count;
    return place < count ? place : 2 * count - 1 - place;
}

BOTH int within(int place, int count) { return place < 0 ? 0 : (place < count ? place : count - 1); }

// resizing bytes: OpenCV's, to the last bit

constexpr int LINEAR_BITS = 11;

// one axis of a bilinear sample: places of the two neighbours, and their shares of 2^11
struct Neighbours {
    int first, second, share_first, share_second;
};

BOTH Neighbours neighbours(int target, double scale, int count, bool drops_outside) {
    float place = static_cast<float>((target + 0.5) * scale - 0.5);
    int first = static_cast<int>(floorf(place));
    float part = place - static_cast<float>(first);
    // along rows OpenCV drops the neighbour that lies outside; along columns it repeats the edge instead
    if (drops_outside && (first < 0 || first >= count - 1)) part = 0.0f;
    Neighbours result;
    result.first = within(first, count);
    result.second = within(drops_outside ? result.first + 1 : first + 1, count);
    result.share_first = static_cast<int>(rintf((1.0f - part) * (1 << LINEAR_BITS)));
    result.share_second = static_cast<int>(rintf(part * (1 << LINEAR_BITS)));
    return result;
}

// an odd area knows no ties: the rounded product is the rounded quotient
BOTH int box_mean(int sum, float inverse_area) {
    return static_cast<int>(rintf(static_cast<float>(sum) * inverse_area));
}

BOTH std::uint8_t bilinear(int top_left, int top_right, int bottom_left, int bottom_right, Neighbours y, Neighbours x) {
    int top = top_left * x.share_first + top_right * x.share_second;
    int bottom = bottom_left * x.share_first + bottom_right * x.share_second;
    int sum = ((y.share_first * (top >> 4)) >> 16) + ((y.share_second * (bottom >> 4)) >> 16);
    return static_cast<std::uint8_t>(within((sum + 2) >> 2, 256));
}
