"""A field in tiles gives what the whole field gives, and a frame has one map and one score."""

import dataclasses

import numpy as np
import pytest

from edge.backends import open_backends
from edge.backends.cpu import open_network
from edge.core.errors import BundleError, EngineError, ModelError
from edge.core.latency import StageClock
from edge.core.manifest import InputSpec, NormSpec, PreprocessSpec, ScoreSpec, TileSpec
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, NormalStatistics
from tests.small_bundle import bad_part, blur_network, good_part, make_bundle, manifest

SIDE, TILE = 208, 64
TILES = PreprocessSpec(tiles=TileSpec(height=SIDE, width=SIDE, halo=16))


@pytest.fixture(params=["openvino", "onnxruntime"])
def runtime(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed: no network can run")
    pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")
    return request.param


def opened(runtime, tiled, threads=2):
    wanted = manifest(TILE, preprocess=TILES) if tiled else manifest(SIDE)
    return open_network(runtime, blur_network(TILE if tiled else SIDE), wanted, threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_are_stitched_to_what_the_whole_field_gives(runtime, threads):
    # what a convolution of this network sees lies two pixels away: within the halo, so that no seam may show
    tiled, whole = opened(runtime, True, threads), opened(runtime, False)
    field = np.random.default_rng(0).uniform(-1, 1, (3, SIDE, SIDE)).astype(np.float32)

    for picture in (field, field[:, ::-1]):
        tiled.image[:], whole.image[:] = picture, picture
        stitched, at_once = tiled.run().recon, whole.run().recon

        assert stitched.shape == at_once.shape == (3, SIDE, SIDE)
        np.testing.assert_allclose(stitched, at_once, atol=1e-6)
    tiled.close()
    whole.close()


def test_a_frame_in_tiles_is_scored_once_as_the_whole_frame_is(runtime, tmp_path):
    whole = make_bundle(tmp_path / "whole", model=blur_network(SIDE), input=InputSpec(height=SIDE, width=SIDE))
    tiles = make_bundle(
        tmp_path / "tiles", model=blur_network(TILE), input=InputSpec(height=TILE, width=TILE), preprocess=TILES
    )
    known = whole.calibration("fp32")
    # the same statistics: what differs is how the network is shown the frame
    ours = dataclasses.replace(
        known, model_sha256=tiles.model_sha256("fp32"), preprocess_sha256=tiles.preprocess.sha256
    )
    from edge.backends import calibrated_backends

    (one,) = calibrated_backends(runtime, whole.read("model_fp32"), whole.manifest, whole.preprocess, known, 1)
    (other,) = calibrated_backends(runtime, tiles.read("model_fp32"), tiles.manifest, tiles.preprocess, ours, 2)
    frame = bad_part(7, 400, 600)

    at_once, stitched = one.score(frame, StageClock(0)), other.score(frame, StageClock(0))

    assert stitched.values.shape == (SIDE, SIDE)
    np.testing.assert_allclose(stitched.values, at_once.values, atol=1e-4)
    assert stitched.score == pytest.approx(at_once.score, abs=1e-3)


def test_several_inspectors_of_a_tiled_bundle_say_the_same(runtime, tmp_path):
    bundle = make_bundle(
        tmp_path / "tiles", model=blur_network(TILE), input=InputSpec(height=TILE, width=TILE), preprocess=TILES
    )

    scores = []
    for backend in open_backends(bundle, runtime, "int8", 2, 2):
        scores += [backend.score(part, StageClock(0)).score for part in (good_part(3), bad_part(3))]
        backend.close()

    assert scores[:2] == scores[2:]
    assert scores[0] <= bundle.calibration("int8").threshold < scores[1]


def test_a_runtime_that_fails_on_a_tile_can_go_on_with_the_next_frame():
    pytest.importorskip("openvino", reason="openvino is not installed: no network can run")
    from edge.backends.cpu_openvino import OpenVinoTiles
    from edge.preprocessing.tiling import tiling_of

    wanted = manifest(TILE, preprocess=TILES)
    runner, tiling = OpenVinoTiles(blur_network(TILE), wanted, 2), tiling_of(wanted)
    image = np.zeros((3, SIDE, SIDE), np.float32)

    def fails(tile, outputs):
        raise RuntimeError("a device was lost")

    with pytest.raises(ModelError, match="a device was lost"):
        runner.run(image, tiling, fails)
    taken = []
    runner.run(image, tiling, lambda tile, outputs: taken.append(tile.place))

    assert taken == [tile.place for tile in tiling]


def test_statistics_of_other_places_than_the_networks_are_refused():
    path = CpuScorePath(
        ScoreSpec(norm=NormSpec(distances="by_place")),
        (64, 64),
        NormalStatistics(0, 1, np.zeros((8, 8)), np.ones((8, 8))),
    )

    with pytest.raises(BundleError, match=r"statistics of \(8, 8\) places, the network gives \(4, 8\)"):
        path.score_error(None, NetworkOutputs(emb_dist=np.zeros((4, 8), np.float32)))


def test_a_tiled_bundle_has_another_hash_and_an_untiled_one_its_old(tmp_path):
    plain, tiled = (manifest(TILE, preprocess=each) for each in (PreprocessSpec(), TILES))
    from edge.bundles.bundle import ModelBundle

    hashes = [ModelBundle(tmp_path, each, "").preprocess.sha256 for each in (plain, tiled)]

    # of a field of 64x64 px, as bundles from before tiles have it
    assert hashes[0] == "63d6c0d65739f293d854ea317fbec8bbfd7c2cdcfde75569e8874862b6e72143"
    assert hashes[1] != hashes[0]


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ({"height": 48, "width": 208}, "do not fit a field"),
        ({"height": 200, "width": 208}, "no multiple of 16"),
        ({"height": 208, "width": 208, "halo": 32}, "leaves nothing"),
        ({"height": 208, "width": 208, "halo": 8}, "halo"),
        ({"height": 16384, "width": 8192}, "more than 67,108,864 pixels"),
    ],
)
def test_tiles_that_cannot_be_are_refused(tiles, message):
    with pytest.raises(ValueError, match=message):
        manifest(TILE, preprocess={"tiles": tiles})


def test_an_engine_is_not_built_for_tiles(tmp_path):
    from edge.backends.gpu.gpu_tensorrt import open_engines
    from edge.bundles.bundle import ModelBundle

    with pytest.raises(EngineError, match="in tiles, which tensorrt does not do"):
        open_engines("tensorrt", ModelBundle(tmp_path, manifest(TILE, preprocess=TILES), ""), None)


def test_what_lies_outside_a_polygon_is_not_scored(runtime, tmp_path):
    left = PreprocessSpec(tiles=TILES.tiles, polygon=((0, 0), (300, 0), (300, 400), (0, 400)))
    bundle = make_bundle(
        tmp_path / "tiles", model=blur_network(TILE), input=InputSpec(height=TILE, width=TILE), preprocess=left
    )
    (backend,) = open_backends(bundle, runtime, "fp32", 2, 1)

    # the scratch lies from a quarter of the frame to three quarters of it
    values = backend.score(bad_part(7, 400, 600), StageClock(0)).values
    backend.close()

    assert values[:, : SIDE // 2].max() > 0.1
    assert values[:, SIDE // 2 + 4 :].max() == 0
