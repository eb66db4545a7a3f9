"""Large fields, for those who fit and compare: tiles that are looked at, and defects laid into whole fields."""

import numpy as np
import pytest

from calibration.samples.tiles import PatchedFields, PatchedMasks, Patches, cut_tiles, field_of_tile
from edge.core.manifest import NormSpec, ScoreSpec
from edge.kernels.cpu import NetworkOutputs
from edge.kernels.statistics import normal_statistics
from edge.preprocessing.tiling import Tiling

TILING = Tiling((160, 224), (64, 96), 16)
FIELDS = np.random.default_rng(0).integers(0, 255, (5, 160, 224, 3), np.uint8)


def test_as_many_tiles_are_taken_of_each_field_and_elsewhere_in_the_next():
    cut = cut_tiles(FIELDS, TILING, 20)

    assert np.bincount(cut.part_of).tolist() == [4] * 5
    places = [{tile.place for tile, part in zip(cut.tiles, cut.part_of, strict=True) if part == n} for n in range(5)]
    assert all(len(each) == 4 for each in places)
    assert places[0] != places[1]
    # together they see nearly all of a field
    assert len(set().union(*places)) > 0.6 * len(TILING)
    for field, tile, part in zip(cut.fields, cut.tiles, cut.part_of, strict=True):
        assert np.array_equal(field, field_of_tile(FIELDS[part], tile, TILING))


def test_never_more_tiles_than_there_are_and_never_none():
    assert len(cut_tiles(FIELDS[:1], TILING, 1000).fields) == len(TILING)
    assert len(cut_tiles(FIELDS, TILING, 1).fields) == 5
    assert len(cut_tiles(FIELDS[:0], TILING, 10).fields) == 0


def test_a_patch_lies_where_its_tile_lies_and_the_rest_is_as_it_was():
    tile = list(TILING)[-1]
    patch, mask = np.full((1, 64, 96, 3), 7, np.uint8), np.zeros((1, 64, 96), bool)
    mask[0, 3, 5] = True
    patches = Patches(patch, mask, np.array([2]), [tile])

    fields, masks = PatchedFields(FIELDS, patches, TILING), PatchedMasks(len(FIELDS), patches, TILING)

    assert fields.shape == (6, 160, 224, 3)
    assert all(np.array_equal(ours, good) for ours, good in zip(fields, FIELDS, strict=False))
    altered = fields[5]
    assert (altered[96:, 128:] == 7).all()
    assert np.array_equal(altered[:96], FIELDS[2][:96])
    assert not masks[0].any()
    assert np.argwhere(masks[5]).tolist() == [[96 + 3, 128 + 5]]
    with pytest.raises(IndexError):
        fields[6]


def test_distances_have_statistics_of_each_place_where_parts_lie_the_same_way():
    random = np.random.default_rng(1)
    # one corner of a fixed part is always far from all that is known
    usual = np.zeros((12, 16), np.float32)
    usual[:6, :8] = 5
    outputs = [
        NetworkOutputs(emb_dist=usual + random.normal(0, 0.1, usual.shape).astype(np.float32)) for _ in range(64)
    ]
    errors = np.zeros((64, 24, 32), np.float32)

    by_place = normal_statistics(ScoreSpec(norm=NormSpec(distances="by_place")), errors, outputs)
    pooled = normal_statistics(ScoreSpec(), errors, outputs)

    assert by_place.emb_mean.shape == by_place.emb_inv_std.shape == usual.shape
    # what is usual there is no evidence, and what would be usual elsewhere is much
    assert abs((5 - by_place.emb_mean[1, 1]) * by_place.emb_inv_std[1, 1]) < 1
    assert (5 - by_place.emb_mean[-2, -2]) * by_place.emb_inv_std[-2, -2] > 20
    # of all places together it says next to nothing
    assert np.ndim(pooled.emb_mean) == 0
    assert (5 - pooled.emb_mean) * pooled.emb_inv_std < 3
