// Picture and reconstruction → error → blended evidence (evidence.h), in one launch. Every pixel is loaded once for its
// own block, and again only for the border of neighbouring blocks, which the cache serves. What a variant does not need is
// not compiled into it; terms of one pixel cost a comparison that all threads decide alike.

#include "evidence.h"

namespace {

constexpr int PIXEL = 0, SSIM = 1, GMS = 2, ALL = SSIM | GMS;

// how far a term looks: 3 for SSIM; 4 for the slope of halves, two blocks of two away
BOTH constexpr int halo_of(int terms) { return terms == PIXEL ? 0 : 4; }

// of map pixels and what is around them
template <int OF_TERMS, class TileShape>
struct ResidualTile {
    using Shape = TileShape;
    static constexpr int TERMS = OF_TERMS, HALO = halo_of(TERMS);
    static constexpr int ROWS = Shape::ROWS + 2 * HALO, COLUMNS = Shape::COLUMNS + 2 * HALO;
    static constexpr int LUMA_ROWS = TERMS == PIXEL ? 1 : ROWS, LUMA_COLUMNS = TERMS == PIXEL ? 1 : COLUMNS;
    static constexpr int HALF_ROWS = TERMS & GMS ? ROWS / 2 : 1, HALF_COLUMNS = TERMS & GMS ? COLUMNS / 2 : 1;
    // two less on each side than halves: a slope needs both neighbours
    static constexpr int COARSE_ROWS = TERMS & GMS ? HALF_ROWS - 2 : 1;
    static constexpr int COARSE_COLUMNS = TERMS & GMS ? HALF_COLUMNS - 2 : 1;

    float error[Shape::ROWS][Shape::COLUMNS];
    // of the luma of both pictures
    float sum[LUMA_ROWS][LUMA_COLUMNS], difference[LUMA_ROWS][LUMA_COLUMNS];
    float half_sum[HALF_ROWS][HALF_COLUMNS], half_difference[HALF_ROWS][HALF_COLUMNS];
    float coarse[COARSE_ROWS][COARSE_COLUMNS];
};

// two neighbouring map pixels of one plane, which is SCALE times as large each way. PAIRED: they lie inside, and where
// neighbours may be read in one transaction; otherwise each is read for itself, wherever the border puts it
template <class Element, int SCALE, bool PAIRED>
__device__ __forceinline__ void load_two(
    const Element* plane, const ResidualParameters& p, int row, int column, float (&values)[2]
) {
    const int width = p.columns * SCALE;
    const Element* line = plane + static_cast<std::int64_t>(row) * SCALE * width;
    if constexpr (PAIRED) {
        // a transaction has 16 bytes at most
        constexpr int BOTH_WIDE = 2 * SCALE, EACH = BOTH_WIDE < 4 ? BOTH_WIDE : 4;
        Element blocks[SCALE * BOTH_WIDE];
#pragma unroll
        for (int y = 0; y < SCALE; y++) {
#pragma unroll
            for (int x = 0; x < BOTH_WIDE; x += EACH) {
                const Element* place = line + y * width + column * SCALE + x;
                const auto packed = *reinterpret_cast<const Packed<Element, EACH>*>(place);
#pragma unroll
                for (int i = 0; i < EACH; i++) blocks[y * BOTH_WIDE + x + i] = packed.elements[i];
            }
        }
        for (int i = 0; i < 2; i++) values[i] = block_mean<SCALE, Itself>(blocks + i * SCALE, BOTH_WIDE);
    } else {
        for (int i = 0; i < 2; i++) {
            values[i] = block_mean<SCALE, Itself>(line + reflected(column + i, p.columns) * SCALE, width);
        }
    }
}

template <class Element, int SCALE, bool PAIRED>
__device__ __forceinline__ void load_colours(
    const void* pictures, const ResidualParameters& p, int frame, int row, int column, Colour (&colours)[2]
) {
    const std::int64_t area = static_cast<std::int64_t>(p.rows) * p.columns * SCALE * SCALE;
    const Element* planes = static_cast<const Element*>(pictures) + frame * 3 * area;
    float red[2], green[2], blue[2];
    load_two<Element, SCALE, PAIRED>(planes, p, row, column, red);
    load_two<Element, SCALE, PAIRED>(planes + area, p, row, column, green);
    load_two<Element, SCALE, PAIRED>(planes + 2 * area, p, row, column, blue);
    for (int i = 0; i < 2; i++) colours[i] = {red[i], green[i], blue[i]};
}

template <class Output, int SCALE, class Tile>
__device__ __forceinline__ void load_tile(Tile& tile, const ResidualParameters& p, Corner at) {
    constexpr int HALO = Tile::HALO, PAIRS = Tile::COLUMNS / 2;
    const ErrorWeights weights = {p.w_l1, p.w_l2, p.w_col};
    for (int item = static_cast<int>(threadIdx.x); item < Tile::ROWS * PAIRS; item += THREADS) {
        const int y = item / PAIRS, x = item % PAIRS * 2;
        const int column = at.column + x - HALO, outer_row = at.row + y - HALO;
        // so far outside, nothing looks
        if (outer_row >= p.rows + HALO || column >= p.columns + HALO) continue;
        const int row = reflected(outer_row, p.rows);
        Colour a[2], b[2];
        // an even width keeps every pair aligned
        if (column >= 0 && column + 1 < p.columns && p.columns % 2 == 0) {
            load_colours<std::uint8_t, SCALE, true>(p.bytes, p, at.frame, row, column, a);
            load_colours<Output, SCALE, true>(p.recon, p, at.frame, row, column, b);
        } else {
            load_colours<std::uint8_t, SCALE, false>(p.bytes, p, at.frame, row, column, a);
            load_colours<Output, SCALE, false>(p.recon, p, at.frame, row, column, b);
        }
        for (int i = 0; i < 2; i++) {
            if (Tile::TERMS != PIXEL) {
                const float luma_a = luma(a[i]), luma_b = luma(b[i]);
                tile.sum[y][x + i] = luma_a + luma_b;
                tile.difference[y][x + i] = luma_a - luma_b;
            }
            const bool own = y >= HALO && y < HALO + Tile::Shape::ROWS && x >= HALO && x < HALO + Tile::Shape::COLUMNS;
            if (own) tile.error[y - HALO][x + i - HALO] = pixel_error(a[i], b[i], weights);
        }
    }
}

// slopes of a plane around [y][x], with rows and columns of its neighbours given
template <int COLUMNS>
__device__ __forceinline__ Slope slope(
    const float (*plane)[COLUMNS], int above, int y, int below, int left, int x, int right
) {
    const float west = (plane[above][left] + plane[y][left]) + plane[below][left];
    const float east = (plane[above][right] + plane[y][right]) + plane[below][right];
    const float north = (plane[above][left] + plane[above][x]) + plane[above][right];
    const float south = (plane[below][left] + plane[below][x]) + plane[below][right];
    return {east - west, south - north};
}

// dissimilarity of gradients at half the size, around the tile
template <class Tile>
__device__ __forceinline__ void make_coarse(Tile& tile, const ResidualParameters& p, Corner at) {
    const int rows = (p.rows + 1) / 2, columns = (p.columns + 1) / 2;
    // of the first half of the tile, outside as well as inside the picture
    const int first_row = at.row / 2 - 2, first_column = at.column / 2 - 2;
    for (int item = static_cast<int>(threadIdx.x); item < Tile::HALF_ROWS * Tile::HALF_COLUMNS; item += THREADS) {
        const int y = item / Tile::HALF_COLUMNS, x = item % Tile::HALF_COLUMNS;
        const int row = first_row + y, column = first_column + x;
        if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
        tile.half_sum[y][x] = mean_of_four(
            tile.sum[2 * y][2 * x], tile.sum[2 * y + 1][2 * x], tile.sum[2 * y][2 * x + 1], tile.sum[2 * y + 1][2 * x + 1]
        );
        tile.half_difference[y][x] = mean_of_four(
            tile.difference[2 * y][2 * x], tile.difference[2 * y + 1][2 * x], tile.difference[2 * y][2 * x + 1],
            tile.difference[2 * y + 1][2 * x + 1]
        );
    }
    __syncthreads();
    for (int item = static_cast<int>(threadIdx.x); item < Tile::COARSE_ROWS * Tile::COARSE_COLUMNS; item += THREADS) {
        const int y = item / Tile::COARSE_COLUMNS, x = item % Tile::COARSE_COLUMNS;
        const int row = first_row + 1 + y, column = first_column + 1 + x;
        if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
        const int above = reflected(row - 1, rows) - first_row, below = reflected(row + 1, rows) - first_row;
        const int left = reflected(column - 1, columns) - first_column;
        const int right = reflected(column + 1, columns) - first_column;
        tile.coarse[y][x] = gradient_dissimilarity(
            slope(tile.half_sum, above, y + 1, below, left, x + 1, right),
            slope(tile.half_difference, above, y + 1, below, left, x + 1, right)
        );
    }
    __syncthreads();
}

// bilinear, at pixel centres, edges repeated
template <class Tile>
__device__ __forceinline__ float doubled_coarse(
    const Tile& tile, const ResidualParameters& p, Corner at, int row, int column
) {
    const int first_row = at.row / 2 - 1, first_column = at.column / 2 - 1;
    const int near_row = row / 2, near_column = column / 2;
    const int far_row = within(row % 2 ? near_row + 1 : near_row - 1, (p.rows + 1) / 2);
    const int far_column = within(column % 2 ? near_column + 1 : near_column - 1, (p.columns + 1) / 2);
    const float* near = tile.coarse[near_row - first_row];
    const float* far = tile.coarse[far_row - first_row];
    const int x = near_column - first_column, far_x = far_column - first_column;
    return 0.25f * (0.25f * far[far_x] + 0.75f * near[far_x]) + 0.75f * (0.25f * far[x] + 0.75f * near[x]);
}

// the gradient term of one pixel
template <class Tile>
__device__ __forceinline__ float gradient_term(
    const Tile& tile, const ResidualParameters& p, Corner at, int y, int x
) {
    constexpr int HALO = Tile::HALO;
    const int row = y + HALO, column = x + HALO;
    const float fine = gradient_dissimilarity(
        slope(tile.sum, row - 1, row, row + 1, column - 1, column, column + 1),
        slope(tile.difference, row - 1, row, row + 1, column - 1, column, column + 1)
    );
    return p.w_gms * (fine + doubled_coarse(tile, p, at, at.row + y, at.column + x));
}

struct WindowSums {
    float sum, sum_square, difference, difference_square;
};

__device__ __forceinline__ WindowSums plus(WindowSums a, WindowSums b) {
    return {
        a.sum + b.sum, a.sum_square + b.sum_square, a.difference + b.difference, a.difference_square + b.difference_square
    };
}

// of seven pixels of a row
__device__ __forceinline__ WindowSums row_sums(const float* sum, const float* difference) {
    WindowSums total = {sum[0], sum[0] * sum[0], difference[0], difference[0] * difference[0]};
#pragma unroll
    for (int i = 1; i <= 2 * SSIM_REACH; i++) {
        total = plus(total, {sum[i], sum[i] * sum[i], difference[i], difference[i] * difference[i]});
    }
    return total;
}

// the structure term of a run of pixels, one below the other: sums of rows are made once for all windows they are in
template <class Tile>
__device__ __forceinline__ void add_structure(Tile& tile, const ResidualParameters& p, int y, int x) {
    constexpr int HALO = Tile::HALO, SIDE = 2 * SSIM_REACH + 1, RUN = Tile::Shape::RUN;
    const int row = y + HALO - SSIM_REACH, column = x + HALO - SSIM_REACH;
    WindowSums rows[SIDE];
#pragma unroll
    for (int i = 0; i < RUN + SIDE - 1; i++) {
        rows[i % SIDE] = row_sums(tile.sum[row + i] + column, tile.difference[row + i] + column);
        if (i < SIDE - 1) continue;
        WindowSums window = rows[(i + 1) % SIDE];
#pragma unroll
        for (int j = 2; j <= SIDE; j++) window = plus(window, rows[(i + j) % SIDE]);
        const float term = structure_dissimilarity(
            window.sum, window.sum_square, window.difference, window.difference_square
        );
        // no other thread touches this place
        float& error = tile.error[y + i - SIDE + 1][x];
        error = error + p.w_ssim * term;
    }
}

template <class Output, int TERMS, int SCALE, class Shape = Large>
__device__ __forceinline__ void residual(const ResidualParameters& p) {
    using Tile = ResidualTile<TERMS, Shape>;
    SHARED(Tile, tile);
    const Corner at = corner<Shape>();
    clear_counters(p);
    load_tile<Output, SCALE>(tile, p, at);
    __syncthreads();
    if constexpr ((TERMS & GMS) != 0) make_coarse(tile, p, at);
    const int thread = static_cast<int>(threadIdx.x);
    const int x = thread % Shape::COLUMNS, y = thread / Shape::COLUMNS * Shape::RUN;
    if (at.column + x >= p.columns || at.row + y >= p.rows) return;
    if constexpr ((TERMS & SSIM) != 0) add_structure(tile, p, y, x);
    // not eight copies of what follows: they would fill the instruction cache
#pragma unroll 2
    for (int i = 0; i < Shape::RUN && at.row + y + i < p.rows; i++) {
        float error = tile.error[y + i][x];
        if constexpr ((TERMS & GMS) != 0) error = error + gradient_term(tile, p, at, y + i, x);
        write_evidence<Output, SCALE, true>(p, at.frame, at.row + y + i, at.column + x, error);
    }
}

}  // namespace
