// What each kernel is given, by value, as its only argument. edge/kernels/cuda/parameters.py packs the same bytes.
#pragma once

#include "standard.h"

constexpr int HISTOGRAM_BINS = 1024;
constexpr int MAXIMUM_TAPS = 257;

struct PreprocessParameters {
    const std::uint8_t* frames;
    std::uint8_t* bytes;  // RGB planes as they were before scaling; null: not wanted
    void* pictures;
    std::int64_t frame_stride, row_stride;  // in bytes
    double scale_y, scale_x;                // source pixels per target pixel
    std::int32_t height, width, channels;   // of the source: the region, with what a letterbox adds
    std::int32_t added_rows, added_columns;  // so many on each of two sides, which repeat the region's edge
    std::int32_t rows, columns;             // of the target
    std::int32_t box_height, box_width;
    float inverse_box_area;
};

struct ResidualParameters {
    const std::uint8_t* bytes;  // RGB planes that preprocessing keeps
    const void* recon;
    const void* seg_logit;  // null: the network lacks it
    const void* emb_dist;   // null: the network lacks it
    const float* mean;
    const float* inv_std;
    const float* weight;  // null: every place counts
    std::uint16_t* blended;
    struct Counters* counters;
    std::int32_t rows, columns;  // of the map
    std::int32_t emb_rows, emb_columns, emb_places;
    std::int32_t blend_mode;
    std::int32_t logits_at_map;  // 1: one for each map pixel; 0: as many as the picture has pixels
    float emb_scale_y, emb_scale_x;
    float emb_mean, emb_inv_std, seg_mean, seg_inv_std;
    float w_l1, w_l2, w_col, w_ssim, w_gms;  // of pictures in -1..1
    float z_max, inverse_tau;
    float alpha, beta, gamma, lift, one_minus_alpha, gate_scale;
};

struct ReduceParameters {
    const std::uint16_t* blended;
    float* maps;           // null: not wanted
    void* work;            // sums of columns, before those of rows; wide smoothing alone
    struct Counters* counters;
    struct Result* results;
    std::int32_t rows, columns;
    std::int32_t radius;
    std::int32_t largest;  // k
    float scale;           // from the sum over a neighbourhood to 0..1
    float pixel_threshold;
    float taps[MAXIMUM_TAPS];  // from the centre outwards
};

// one for each frame; zeroed by the residual kernel
struct Counters {
    std::uint32_t histogram[HISTOGRAM_BINS];
    std::uint32_t area, peak_bits, not_finite, finished_blocks;
};

struct Result {
    std::uint64_t top_bins;  // sum of the bin numbers of the k largest values
    std::uint32_t largest;   // k
    std::uint32_t area;
    float peak;
    std::uint32_t not_finite;
    std::uint32_t median_bin;  // of all map pixels; the lower of two
};
