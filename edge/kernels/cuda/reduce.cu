// Blended evidence → smoothed map, histogram, area, largest value, and the sum that the score is made of. One launch;
// wide smoothing takes two more before it. The last block of a frame to finish walks the histogram.
// Box sums are whole numbers, so their order does not matter; Gaussian sums have one order, wherever a tile begins.

#include "block.h"

namespace {

constexpr int WARP = 32;
constexpr int FUSED_RADIUS = 16;

struct Box {
    using Source = std::uint16_t;
    using Sum = std::uint32_t;
    __device__ static Source source_of(std::uint16_t steps) { return steps; }
    // whole numbers below 2^32: 65535 times 129 x 129
    __device__ static float value_of(Sum sum, float scale) { return static_cast<float>(sum) * scale; }

    // sums over 2 radius + 1 elements around each of a run, `stride` apart; each is the one before, moved by one
    template <int RUN, class Element>
    __device__ static void run(const Element* centre, int stride, const ReduceParameters& p, Sum (&sums)[RUN]) {
        Sum sum = 0;
        for (int i = -p.radius; i <= p.radius; i++) sum += centre[i * stride];
        sums[0] = sum;
#pragma unroll
        for (int i = 1; i < RUN; i++) {
            sum += centre[(i + p.radius) * stride];
            sum -= centre[(i - 1 - p.radius) * stride];
            sums[i] = sum;
        }
    }
};

struct Gaussian {
    using Source = float;
    using Sum = float;
    __device__ static Source source_of(std::uint16_t steps) { return static_cast<float>(steps); }
    __device__ static float value_of(Sum sum, float scale) { return sum * scale; }

    // from the centre outwards; neighbours on both sides move through registers, so that each is read once
    template <int RUN>
    __device__ static void run(const float* centre, int stride, const ReduceParameters& p, float (&sums)[RUN]) {
        float before[RUN], after[RUN];
#pragma unroll
        for (int i = 0; i < RUN; i++) {
            before[i] = after[i] = centre[i * stride];
            sums[i] = p.taps[0] * before[i];
        }
        for (int distance = 1; distance <= p.radius; distance++) {
#pragma unroll
            for (int i = RUN - 1; i > 0; i--) before[i] = before[i - 1];
            before[0] = centre[-distance * stride];
#pragma unroll
            for (int i = 0; i < RUN - 1; i++) after[i] = after[i + 1];
            after[RUN - 1] = centre[(RUN - 1 + distance) * stride];
            const float tap = p.taps[distance];
#pragma unroll
            for (int i = 0; i < RUN; i++) sums[i] = sums[i] + tap * (before[i] + after[i]);
        }
    }
};

struct Statistics {
    std::uint32_t histogram[HISTOGRAM_BINS];
    std::uint32_t area, peak_bits, not_finite, is_last, median_bin;
    std::uint32_t scan[THREADS];
    unsigned long long top_bins;
};

template <class SmoothingOf, class TileShape>
struct ReduceTile {
    using Smoothing = SmoothingOf;
    using Shape = TileShape;
    static constexpr int ROWS = Shape::ROWS + 2 * FUSED_RADIUS, COLUMNS = Shape::COLUMNS + 2 * FUSED_RADIUS;
    // one more than a multiple of the 32 banks: threads work on rows below each other
    static constexpr int SUM_PITCH = COLUMNS + 1, MAP_PITCH = Shape::COLUMNS + 1;

    union {
        typename Smoothing::Source source[ROWS][COLUMNS];
        float map[Shape::ROWS][MAP_PITCH];
    };
    typename Smoothing::Sum sums[Shape::ROWS][SUM_PITCH];
    Statistics statistics;
};

struct MapTile {
    float map[Large::ROWS][Large::COLUMNS + 1];
    Statistics statistics;
};

__device__ __forceinline__ void clear(Statistics& statistics) {
    for (int bin = static_cast<int>(threadIdx.x); bin < HISTOGRAM_BINS; bin += THREADS) statistics.histogram[bin] = 0;
    if (threadIdx.x == 0) {
        statistics.area = statistics.peak_bits = statistics.not_finite = statistics.is_last = 0;
        statistics.top_bins = 0;
    }
}

// neighbours of a row, as they are counted
struct Tally {
    std::uint32_t bin, length, area;
    float peak;
};

__device__ __forceinline__ void close_bin(Statistics& statistics, const Tally& tally) {
    if (tally.length != 0) atomicAdd(&statistics.histogram[tally.bin], tally.length);
}

// neighbours in a smooth map share their bin: they are counted together, or a flat map would queue at one address
__device__ __forceinline__ void count(Statistics& statistics, Tally& tally, float value, float pixel_threshold) {
    const float place = value * static_cast<float>(HISTOGRAM_BINS);
    const std::uint32_t bin = place < static_cast<float>(HISTOGRAM_BINS - 1) ? static_cast<std::uint32_t>(place)
                                                                          : HISTOGRAM_BINS - 1;
    if (bin != tally.bin) {
        close_bin(statistics, tally);
        tally.bin = bin;
        tally.length = 0;
    }
    tally.length++;
    if (value > pixel_threshold) tally.area++;
    if (value > tally.peak) tally.peak = value;
}

// neighbours of a row into the statistics
template <int RUN>
__device__ __forceinline__ void count_run(
    Statistics& statistics, const ReduceParameters& p, int row, int column, const float (&values)[RUN]
) {
    if (row >= p.rows || column >= p.columns) return;
    Tally tally = {};
#pragma unroll
    for (int i = 0; i < RUN; i++) {
        if (column + i >= p.columns) break;
        count(statistics, tally, values[i], p.pixel_threshold);
    }
    close_bin(statistics, tally);
    if (tally.area != 0) atomicAdd(&statistics.area, tally.area);
    // values are not negative: their bits are in the order of their values
    atomicMax(&statistics.peak_bits, bits_of(tally.peak));
}

template <class Tile>
__device__ __forceinline__ void write_map(const Tile& tile, const ReduceParameters& p) {
    constexpr int ROWS = Tile::Shape::ROWS, COLUMNS = Tile::Shape::COLUMNS;
    const int first_row = static_cast<int>(blockIdx.y) * ROWS;
    const int column = static_cast<int>(blockIdx.x) * COLUMNS + static_cast<int>(threadIdx.x) % COLUMNS;
    if (column >= p.columns) return;
    for (int y = static_cast<int>(threadIdx.x) / COLUMNS; y < ROWS; y += THREADS / COLUMNS) {
        const int row = first_row + y;
        if (row >= p.rows) break;
        p.maps[(static_cast<std::int64_t>(blockIdx.z) * p.rows + row) * p.columns + column] =
            tile.map[y][threadIdx.x % COLUMNS];
    }
}

// the block's counts into the frame's; says whether this block is the frame's last
__device__ __forceinline__ bool deliver(Statistics& statistics, Counters& counters) {
    __syncthreads();
    for (int bin = static_cast<int>(threadIdx.x); bin < HISTOGRAM_BINS; bin += THREADS) {
        if (statistics.histogram[bin] != 0) atomicAdd(&counters.histogram[bin], statistics.histogram[bin]);
    }
    if (threadIdx.x == 0) {
        if (statistics.area != 0) atomicAdd(&counters.area, statistics.area);
        atomicMax(&counters.peak_bits, statistics.peak_bits);
        if (statistics.not_finite != 0) atomicMax(&counters.not_finite, 1u);
    }
    // all that this block added is visible before it says so
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        const std::uint32_t before = atomicAdd(&counters.finished_blocks, 1u);
        statistics.is_last = before + 1 == gridDim.x * gridDim.y;
    }
    __syncthreads();
    return statistics.is_last != 0;
}

// takes the k largest values, and the median, from the histogram: four bins for each thread, the highest for the first
__device__ __forceinline__ void write_result(Statistics& statistics, const ReduceParameters& p) {
    constexpr int EACH = HISTOGRAM_BINS / THREADS;
    // other blocks wrote these, so no cache of this processor may answer
    const volatile Counters& counters = p.counters[blockIdx.z];
    __threadfence();
    const int thread = static_cast<int>(threadIdx.x), top = HISTOGRAM_BINS - 1 - thread * EACH;
    std::uint32_t counts[EACH], own = 0;
    for (int i = 0; i < EACH; i++) {
        counts[i] = counters.histogram[top - i];
        own += counts[i];
    }
    statistics.scan[thread] = own;
    __syncthreads();
    for (int distance = 1; distance < THREADS; distance *= 2) {
        const std::uint32_t lower = thread >= distance ? statistics.scan[thread - distance] : 0;
        __syncthreads();
        statistics.scan[thread] += lower;
        __syncthreads();
    }
    std::uint32_t taken = statistics.scan[thread] - own;
    const std::uint32_t largest = static_cast<std::uint32_t>(p.largest);
    // so many lie above the lower of two medians; in one thread's bins alone it is reached
    const std::uint32_t upper_half = static_cast<std::uint32_t>(p.rows) * static_cast<std::uint32_t>(p.columns) / 2;
    std::uint32_t above = taken;
    for (int i = 0; i < EACH; i++) {
        if (above <= upper_half && upper_half - above < counts[i]) statistics.median_bin = top - i;
        above += counts[i];
    }
    unsigned long long sum = 0;
    for (int i = 0; i < EACH && taken < largest; i++) {
        const std::uint32_t take = counts[i] < largest - taken ? counts[i] : largest - taken;
        sum += static_cast<unsigned long long>(take) * static_cast<unsigned long long>(top - i);
        taken += take;
    }
    if (sum != 0) atomicAdd(&statistics.top_bins, sum);
    __syncthreads();
    if (thread == 0) {
        Result& result = p.results[blockIdx.z];
        result.top_bins = statistics.top_bins;
        result.largest = largest;
        result.area = counters.area;
        result.peak = float_of(counters.peak_bits);
        result.not_finite = counters.not_finite;
        result.median_bin = statistics.median_bin;
    }
}

// runs of pixels of a row, one for each thread: threads of a warp are below each other
struct RunPlace {
    int y, x;
};

template <class Shape>
__device__ __forceinline__ RunPlace run_place() {
    const int thread = static_cast<int>(threadIdx.x);
    return {thread % Shape::ROWS, thread / Shape::ROWS * Shape::RUN};
}

template <class Tile>
__device__ __forceinline__ void load_source(Tile& tile, const ReduceParameters& p, int first_row, int first_column) {
    const int height = Tile::Shape::ROWS + 2 * p.radius, width = Tile::Shape::COLUMNS + 2 * p.radius;
    const std::uint16_t* blended = p.blended + static_cast<std::int64_t>(blockIdx.z) * p.rows * p.columns;
    bool not_finite = false;
    // a warp takes a row: nothing is divided, and the border of rows is looked at once for each
    for (int y = static_cast<int>(threadIdx.x) / WARP; y < height; y += THREADS / WARP) {
        const int row = reflected(first_row + y - p.radius, p.rows);
        const std::uint16_t* line = blended + static_cast<std::int64_t>(row) * p.columns;
        for (int x = static_cast<int>(threadIdx.x) % WARP; x < width; x += WARP) {
            const std::uint16_t steps = line[reflected(first_column + x - p.radius, p.columns)];
            not_finite = not_finite || steps == NOT_FINITE;
            tile.source[y][x] = Tile::Smoothing::source_of(steps);
        }
    }
    if (not_finite) atomicMax(&tile.statistics.not_finite, 1u);
}

template <class Tile>
__device__ __forceinline__ void sum_columns(Tile& tile, const ReduceParameters& p) {
    constexpr int RUN = Tile::Shape::RUN;
    const int width = Tile::Shape::COLUMNS + 2 * p.radius;
    for (int item = static_cast<int>(threadIdx.x); item < width * (Tile::Shape::ROWS / RUN); item += THREADS) {
        const int x = item % width, y = item / width * RUN;
        typename Tile::Smoothing::Sum sums[RUN];
        Tile::Smoothing::run(&tile.source[y + p.radius][x], Tile::COLUMNS, p, sums);
#pragma unroll
        for (int i = 0; i < RUN; i++) tile.sums[y + i][x] = sums[i];
    }
}

template <class Smoothing, class Shape = Large>
__device__ __forceinline__ void reduce(const ReduceParameters& p) {
    using Tile = ReduceTile<Smoothing, Shape>;
    constexpr int RUN = Shape::RUN;
    SHARED(Tile, tile);
    const int first_row = static_cast<int>(blockIdx.y) * Shape::ROWS;
    const int first_column = static_cast<int>(blockIdx.x) * Shape::COLUMNS;
    clear(tile.statistics);
    __syncthreads();
    load_source(tile, p, first_row, first_column);
    __syncthreads();
    sum_columns(tile, p);
    __syncthreads();
    const RunPlace at = run_place<Shape>();
    typename Smoothing::Sum sums[RUN];
    Smoothing::run(&tile.sums[at.y][at.x + p.radius], 1, p, sums);
    float values[RUN];
#pragma unroll
    for (int i = 0; i < RUN; i++) {
        values[i] = Smoothing::value_of(sums[i], p.scale);
        tile.map[at.y][at.x + i] = values[i];
    }
    count_run(tile.statistics, p, first_row + at.y, first_column + at.x, values);
    __syncthreads();
    if (p.maps != nullptr) write_map(tile, p);
    if (deliver(tile.statistics, p.counters[blockIdx.z])) write_result(tile.statistics, p);
}

// the same for a map that is smoothed already
__device__ __forceinline__ void reduce_smoothed_map(const ReduceParameters& p) {
    SHARED(MapTile, tile);
    constexpr int RUN = Large::RUN;
    const int first_row = static_cast<int>(blockIdx.y) * Large::ROWS;
    const int first_column = static_cast<int>(blockIdx.x) * Large::COLUMNS;
    clear(tile.statistics);
    const float* map = p.maps + static_cast<std::int64_t>(blockIdx.z) * p.rows * p.columns;
    for (int item = static_cast<int>(threadIdx.x); item < Large::ROWS * Large::COLUMNS; item += THREADS) {
        const int y = item / Large::COLUMNS, x = item % Large::COLUMNS;
        const int row = first_row + y, column = first_column + x;
        const bool inside = row < p.rows && column < p.columns;
        tile.map[y][x] = inside ? map[static_cast<std::int64_t>(row) * p.columns + column] : 0.0f;
    }
    __syncthreads();
    const RunPlace at = run_place<Large>();
    float values[RUN];
#pragma unroll
    for (int i = 0; i < RUN; i++) values[i] = tile.map[at.y][at.x + i];
    count_run(tile.statistics, p, first_row + at.y, first_column + at.x, values);
    if (deliver(tile.statistics, p.counters[blockIdx.z])) write_result(tile.statistics, p);
}

// wide smoothing, one axis at a time, one pixel for each thread; rare, and not made to be fast

struct Pixel {
    int row, column;
    std::int64_t plane, place;
};

__device__ __forceinline__ Pixel own_pixel(const ReduceParameters& p) {
    const int row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const std::int64_t plane = static_cast<std::int64_t>(blockIdx.z) * p.rows * p.columns;
    return {row, column, plane, plane + static_cast<std::int64_t>(row) * p.columns + column};
}

// elements in order around `centre`, of a line that begins at `line`
template <class Smoothing, class Element>
struct Line {
    const Element* line;
    int stride, count;
    __device__ typename Smoothing::Sum operator[](int place) const { return line[reflected(place, count) * stride]; }
};

template <class Element>
__device__ __forceinline__ std::uint32_t wide_sum(Line<Box, Element> line, int centre, const ReduceParameters& p) {
    std::uint32_t sum = 0;
    for (int i = -p.radius; i <= p.radius; i++) sum += line[centre + i];
    return sum;
}

template <class Element>
__device__ __forceinline__ float wide_sum(Line<Gaussian, Element> line, int centre, const ReduceParameters& p) {
    float sum = p.taps[0] * line[centre];
    for (int i = 1; i <= p.radius; i++) sum = sum + p.taps[i] * (line[centre - i] + line[centre + i]);
    return sum;
}

template <class Smoothing>
__device__ __forceinline__ void wide_columns(const ReduceParameters& p) {
    const Pixel at = own_pixel(p);
    if (at.row >= p.rows || at.column >= p.columns) return;
    if (p.blended[at.place] == NOT_FINITE) atomicMax(&p.counters[blockIdx.z].not_finite, 1u);
    const Line<Smoothing, std::uint16_t> line = {p.blended + at.plane + at.column, p.columns, p.rows};
    static_cast<typename Smoothing::Sum*>(p.work)[at.place] = wide_sum(line, at.row, p);
}

template <class Smoothing>
__device__ __forceinline__ void wide_rows(const ReduceParameters& p) {
    using Sum = typename Smoothing::Sum;
    const Pixel at = own_pixel(p);
    if (at.row >= p.rows || at.column >= p.columns) return;
    const Sum* sums = static_cast<const Sum*>(p.work) + at.plane + static_cast<std::int64_t>(at.row) * p.columns;
    const Line<Smoothing, Sum> line = {sums, 1, p.columns};
    p.maps[at.place] = Smoothing::value_of(wide_sum(line, at.column, p), p.scale);
}

}  // namespace
