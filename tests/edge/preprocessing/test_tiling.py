"""Where tiles lie: they cover a field once, keep their halo, and never reach beyond it."""

import itertools

import numpy as np
import pytest

from edge.preprocessing.tiling import Stitched, Tiling, spans

SIDES = [(64, 32, 16), (2048, 256, 16), (1536, 256, 32), (272, 256, 16), (320, 320, 16), (16384, 512, 64), (80, 64, 16)]


@pytest.mark.parametrize(("length", "tile", "halo"), [side for side in SIDES if side[1] > 2 * side[2]])
def test_spans_share_out_a_side_and_keep_a_halo_at_each_seam(length, tile, halo):
    found = spans(length, tile, halo)

    assert found[0].first == 0
    assert found[-1].end == length
    assert all(before.end == after.first for before, after in itertools.pairwise(found))
    assert all(span.start >= 0 and span.start + tile <= length and span.first < span.end for span in found)
    # at an inner seam either tile sees so much further
    assert all(span.first - span.start >= halo for span in found[1:])
    assert all(span.start + tile - span.end >= halo for span in found[:-1])


def test_an_uneven_side_takes_no_more_tiles_than_it_needs():
    # 224 px of each of the first tiles count, and the last one adds 240
    assert [len(spans(length, 256, 16)) for length in (256, 272, 480, 496, 704, 720)] == [1, 2, 2, 3, 3, 4]


def test_what_is_cut_in_tiles_is_stitched_to_itself():
    tiling = Tiling((160, 208), (64, 96), 16)
    field = np.random.default_rng(0).random((2, 160, 208), np.float32)
    coarse = field[:, ::8, ::8]
    whole, places = Stitched(tiling, 2, (64, 96)), Stitched(tiling, 2, (8, 12))
    whole.values[:], places.values[:] = np.nan, np.nan

    for tile in tiling:
        top, left = tile.down.start, tile.across.start
        whole.put(tile, field[:, top : top + 64, left : left + 96])
        places.put(tile, coarse[:, top // 8 : top // 8 + 8, left // 8 : left // 8 + 12])

    assert tiling.grid == (4, 3)
    assert len(tiling) == 12
    assert np.array_equal(whole.values, field)
    assert np.array_equal(places.values, coarse)


@pytest.mark.parametrize("shape", [(64, 48), (2, 3), (5, 7), (0, 0)])
def test_outputs_that_fit_no_whole_factor_are_refused(shape):
    with pytest.raises(ValueError, match="for a tile of 96x64 px"):
        Stitched(Tiling((160, 208), (64, 96), 16), 1, shape)
