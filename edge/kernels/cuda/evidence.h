// Error and outputs of the network → blended evidence in 16 bits, one map pixel at a time: all that follows the residual,
// and the kernel for scores without one. All threads decide alike on the mode and on outputs that are absent.
#pragma once

#include "block.h"

namespace {

// where a block stands
struct Corner {
    int frame, row, column;
};

template <class Tile>
__device__ __forceinline__ Corner corner() {
    return {
        static_cast<int>(blockIdx.z), static_cast<int>(blockIdx.y) * Tile::ROWS,
        static_cast<int>(blockIdx.x) * Tile::COLUMNS
    };
}

// value, and zero or NaN: limits swallow what is not finite, so it travels beside them
struct Traced {
    float value, trace;
};

// `Of` of the logit, averaged over the map pixel where there is more than one
template <class Output, int SCALE, class Of>
__device__ __forceinline__ Traced logit_at(const ResidualParameters& p, int frame, int row, int column) {
    const int scale = p.logits_at_map ? 1 : SCALE, width = p.columns * scale;
    const std::int64_t area = static_cast<std::int64_t>(p.rows) * scale * width;
    const Output* logit = static_cast<const Output*>(p.seg_logit) + frame * area;
    logit += static_cast<std::int64_t>(row) * scale * width + column * scale;
    if (SCALE == 1 || p.logits_at_map) return {block_mean<1, Of>(logit, width), block_mean<1, Trace>(logit, width)};
    return {block_mean<SCALE, Of>(logit, width), block_mean<SCALE, Trace>(logit, width)};
}

// one axis of a bilinear sample of the embedding's distances
struct Sample {
    int first, second;
    float part;
};

__device__ __forceinline__ Sample sample(int place, float scale, int count) {
    const float source = (static_cast<float>(place) + 0.5f) * scale - 0.5f;
    const float whole = floorf(source);
    const int first = static_cast<int>(whole);
    return {within(first, count), within(first + 1, count), source - whole};
}

// what a distance counts for before it is enlarged: evidence, or its share in the sum of standard deviations
template <bool SUMMED>
__device__ __forceinline__ float of_distance(const ResidualParameters& p, float distance) {
    if constexpr (SUMMED) {
        return standardised(distance, p.emb_mean, p.emb_inv_std, p.z_max);
    } else {
        // the embedding has no upper limit of its own
        return bounded(distance, p.emb_mean, p.emb_inv_std, INFINITY, p.inverse_tau);
    }
}

template <class Output, bool SUMMED>
__device__ __forceinline__ Traced embedding_at(const ResidualParameters& p, int frame, int row, int column) {
    const Output* plane = static_cast<const Output*>(p.emb_dist) + static_cast<std::int64_t>(frame) * p.emb_places;
    const Sample y = sample(row, p.emb_scale_y, p.emb_rows), x = sample(column, p.emb_scale_x, p.emb_columns);
    float values[2], trace = 0.0f;
    for (int i = 0; i < 2; i++) {
        const Output* line = plane + (i == 0 ? y.first : y.second) * p.emb_columns;
        const float left = value_of(line[x.first]), right = value_of(line[x.second]);
        values[i] = of_distance<SUMMED>(p, left) * (1.0f - x.part) + of_distance<SUMMED>(p, right) * x.part;
        trace = trace + (trace_of(left) + trace_of(right));
    }
    return {values[0] * (1.0f - y.part) + values[1] * y.part, trace};
}

// evidence of each kind, blended; RESIDUAL: there is an error
template <class Output, int SCALE, bool RESIDUAL>
__device__ __forceinline__ Traced blended_at(
    const ResidualParameters& p, int frame, int row, int column, std::int64_t place, float error
) {
    Evidence evidence = {};
    float trace = 0.0f;
    if (RESIDUAL) {
        add_evidence(evidence, bounded(error, p.mean[place], p.inv_std[place], p.z_max, p.inverse_tau));
        trace = trace_of(error);
    }
    if (p.seg_logit != nullptr) {
        const Traced found = logit_at<Output, SCALE, Probability>(p, frame, row, column);
        add_evidence(evidence, found.value);
        trace = trace + found.trace;
    }
    if (p.emb_dist != nullptr) {
        const Traced found = embedding_at<Output, false>(p, frame, row, column);
        add_evidence(evidence, found.value);
        trace = trace + found.trace;
    }
    return {blended(evidence, {p.blend_mode, p.alpha, p.beta, p.one_minus_alpha, p.gate_scale}), trace};
}

// evidence of the weighted sum of standard deviations, mode `sum`
template <class Output, int SCALE, bool RESIDUAL>
__device__ __forceinline__ Traced summed_at(
    const ResidualParameters& p, int frame, int row, int column, std::int64_t place, float error
) {
    float total = 0.0f, trace = 0.0f;
    if (RESIDUAL) {
        total = p.alpha * standardised(error, p.mean[place], p.inv_std[place], p.z_max);
        trace = trace_of(error);
    }
    if (p.seg_logit != nullptr) {
        const Traced logit = logit_at<Output, SCALE, Itself>(p, frame, row, column);
        total = total + p.beta * standardised(logit.value, p.seg_mean, p.seg_inv_std, p.z_max);
        trace = trace + logit.trace;
    }
    if (p.emb_dist != nullptr) {
        const Traced found = embedding_at<Output, true>(p, frame, row, column);
        total = total + p.gamma * found.value;
        trace = trace + found.trace;
    }
    return {evidence_of(clamped(total + p.lift, 0.0f, INFINITY), p.inverse_tau), trace};
}

// everything behind the error
template <class Output, int SCALE, bool RESIDUAL>
__device__ __forceinline__ void write_evidence(
    const ResidualParameters& p, int frame, int row, int column, float error
) {
    const std::int64_t place = static_cast<std::int64_t>(row) * p.columns + column;
    const Traced found = p.blend_mode == SUM ? summed_at<Output, SCALE, RESIDUAL>(p, frame, row, column, place, error)
                                             : blended_at<Output, SCALE, RESIDUAL>(p, frame, row, column, place, error);
    float value = found.value;
    if (p.weight != nullptr) value = value * p.weight[place];
    p.blended[frame * static_cast<std::int64_t>(p.rows) * p.columns + place] = steps_of(value + found.trace);
}

// the reduction that follows counts from zero
__device__ __forceinline__ void clear_counters(const ResidualParameters& p) {
    if (blockIdx.x != 0 || blockIdx.y != 0) return;
    Counters& counters = p.counters[blockIdx.z];
    for (int bin = static_cast<int>(threadIdx.x); bin < HISTOGRAM_BINS; bin += THREADS) counters.histogram[bin] = 0;
    if (threadIdx.x == 0) counters.area = counters.peak_bits = counters.not_finite = counters.finished_blocks = 0;
}

template <class Output, int SCALE, class Tile = Large>
__device__ __forceinline__ void evidence_alone(const ResidualParameters& p) {
    const Corner at = corner<Tile>();
    clear_counters(p);
    const int thread = static_cast<int>(threadIdx.x);
    const int x = thread % Tile::COLUMNS, y = thread / Tile::COLUMNS * Tile::RUN;
    if (at.column + x >= p.columns) return;
    for (int i = 0; i < Tile::RUN && at.row + y + i < p.rows; i++) {
        write_evidence<Output, SCALE, false>(p, at.frame, at.row + y + i, at.column + x, 0.0f);
    }
}

}  // namespace
