// Frames → the network's input, in one launch: region, box mean, bilinear, colour order, -1..1. The bytes equal those of
// edge/preprocessing/preprocess.py. A thread makes one pixel of the target; windows of neighbours overlap, and meet in the cache.

#include "block.h"

namespace {

constexpr int PREPROCESS_COLUMNS = 32, PREPROCESS_ROWS = 8;
static_assert(PREPROCESS_COLUMNS * PREPROCESS_ROWS == THREADS);

struct Places {
    Neighbours columns[PREPROCESS_COLUMNS], rows[PREPROCESS_ROWS];
};

// double precision is slow on most GPUs: each place is found once for a block, not for every pixel
__device__ __forceinline__ void find_places(Places& places, const PreprocessParameters& p) {
    int thread = static_cast<int>(threadIdx.y) * PREPROCESS_COLUMNS + static_cast<int>(threadIdx.x);
    if (thread < PREPROCESS_COLUMNS) {
        int column = static_cast<int>(blockIdx.x) * PREPROCESS_COLUMNS + thread;
        places.columns[thread] = neighbours(column, p.scale_x, p.width, true);
    } else if (thread < PREPROCESS_COLUMNS + PREPROCESS_ROWS) {
        int row = static_cast<int>(blockIdx.y) * PREPROCESS_ROWS + thread - PREPROCESS_COLUMNS;
        places.rows[thread - PREPROCESS_COLUMNS] = neighbours(row, p.scale_y, p.height, false);
    }
    __syncthreads();
}

// where a place of the region lies in the frame: its border is mirrored, and what a letterbox adds repeats the edge
__device__ __forceinline__ int source_of(int place, int count, int added) {
    return within(reflected(place, count) - added, count - 2 * added);
}

// sums of the four boxes around the four neighbours, of one channel
struct BoxSums {
    int top_left, top_right, bottom_left, bottom_right;
};

// sums of a row under the left and the right box, of one channel
struct RowSums {
    int left, right;
};

// the right box is the left one, a step further: it gains a pixel and loses one; at an edge both are the same.
// INSIDE: no column is outside the region, so none is looked for
template <int CHANNELS, bool INSIDE>
__device__ __forceinline__ void add_row(
    const std::uint8_t* line, const PreprocessParameters& p, Neighbours x, RowSums (&sums)[CHANNELS]
) {
    const int begin = x.first - p.box_width / 2;
    if constexpr (INSIDE) line += (begin - p.added_columns) * CHANNELS;
    auto pixel = [&](int i) {
        return line + (INSIDE ? i : source_of(begin + i, p.width, p.added_columns)) * CHANNELS;
    };
    int left[CHANNELS] = {};
    for (int i = 0; i < p.box_width; i++) {
        const std::uint8_t* here = pixel(i);
        for (int c = 0; c < CHANNELS; c++) left[c] += here[c];
    }
    for (int c = 0; c < CHANNELS; c++) sums[c] = {left[c], left[c]};
    if (x.second == x.first) return;
    const std::uint8_t *lost = pixel(0), *gained = pixel(p.box_width);
    for (int c = 0; c < CHANNELS; c++) sums[c].right += gained[c] - lost[c];
}

template <int CHANNELS, bool INSIDE>
__device__ __forceinline__ void add_boxes(
    const std::uint8_t* frame, const PreprocessParameters& p, Neighbours y, Neighbours x, BoxSums (&sums)[CHANNELS]
) {
    const int begin = y.first - p.box_height / 2;
    RowSums row[CHANNELS];
    auto add = [&](int i) {
        add_row<CHANNELS, INSIDE>(frame + source_of(begin + i, p.height, p.added_rows) * p.row_stride, p, x, row);
    };
    // the lower box is the upper one, a step further, likewise
    for (int i = 0; i < p.box_height; i++) {
        add(i);
        for (int c = 0; c < CHANNELS; c++) {
            sums[c].top_left += row[c].left, sums[c].top_right += row[c].right;
            if (i != 0) sums[c].bottom_left += row[c].left, sums[c].bottom_right += row[c].right;
        }
    }
    if (y.second != y.first) {
        add(p.box_height);
    } else {
        add(0);
    }
    for (int c = 0; c < CHANNELS; c++) sums[c].bottom_left += row[c].left, sums[c].bottom_right += row[c].right;
}

template <class Element>
__device__ __forceinline__ void write_pixel(
    const PreprocessParameters& p, int frame, int row, int column, int channel, std::uint8_t level
) {
    std::int64_t area = static_cast<std::int64_t>(p.rows) * p.columns;
    std::int64_t place = (frame * std::int64_t{3} + channel) * area + static_cast<std::int64_t>(row) * p.columns + column;
    if (p.bytes != nullptr) p.bytes[place] = level;
    static_cast<Element*>(p.pictures)[place] = element_of<Element>(value_of(level));
}

template <class Element, int CHANNELS>
__device__ __forceinline__ void make_pixel(const PreprocessParameters& p, const Places& places) {
    int column = static_cast<int>(blockIdx.x) * PREPROCESS_COLUMNS + static_cast<int>(threadIdx.x);
    int row = static_cast<int>(blockIdx.y) * PREPROCESS_ROWS + static_cast<int>(threadIdx.y);
    int frame = static_cast<int>(blockIdx.z);
    if (row >= p.rows || column >= p.columns) return;
    Neighbours y = places.rows[threadIdx.y], x = places.columns[threadIdx.x];
    BoxSums sums[CHANNELS] = {};
    const std::uint8_t* source = p.frames + frame * p.frame_stride;
    const int begin = x.first - p.box_width / 2, end = begin + p.box_width;
    if (begin >= p.added_columns && end < p.width - p.added_columns) {
        add_boxes<CHANNELS, true>(source, p, y, x, sums);
    } else {
        add_boxes<CHANNELS, false>(source, p, y, x, sums);
    }
    for (int c = 0; c < 3; c++) {
        // the last is red; grey is all three
        const BoxSums& s = sums[CHANNELS == 3 ? 2 - c : 0];
        float inverse = p.inverse_box_area;
        std::uint8_t level = bilinear(
            box_mean(s.top_left, inverse), box_mean(s.top_right, inverse), box_mean(s.bottom_left, inverse),
            box_mean(s.bottom_right, inverse), y, x
        );
        write_pixel<Element>(p, frame, row, column, c, level);
    }
}

template <class Element>
__device__ __forceinline__ void preprocess(const PreprocessParameters& p) {
    SHARED(Places, places);
    find_places(places, p);
    if (p.channels == 3) {
        make_pixel<Element, 3>(p, places);
    } else {
        make_pixel<Element, 1>(p, places);
    }
}

}  // namespace
