"""`export --target`: a bundle prepared for what will run it, on a machine that need not be the one."""

import json
from importlib.util import find_spec

import pytest

from edge.bundles.bundle import load_bundle
from edge.bundles.versions import write_bundle
from tests.system.command_line import assert_refused, edge

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None,
    reason="tensorrt-rtx is not installed: no engine can be built (pip install 'edge-inspect[rtx]')",
)


@needs_rtx
@pytest.mark.engines
def test_an_rtx_engine_lies_beside_its_bundle_and_is_built_once(bundle_path):
    before = load_bundle(bundle_path).sha256
    command = ("export", "--bundle", ".", "--target", "tensorrt-rtx", "--precision", "fp32", "--compute-capability")
    built = edge(*command, "8.6", cwd=bundle_path)
    again = edge(*command, "86", cwd=bundle_path)
    other = edge(*command, "75", cwd=bundle_path)
    assert (built.returncode, again.returncode, other.returncode) == (0, 0, 0), built.stderr + other.stderr
    assert "fp32 engine of tensorrt-rtx" in built.stderr
    assert "built in" in built.stderr
    assert "already built, and checked" in again.stderr
    # another target replaces it, and says what was there
    assert "compute_capability 8.6 → 7.5" in other.stderr
    (engine,) = (bundle_path.parent / "plate.engines").glob("*.engine")
    assert engine.name.startswith("tensorrt-rtx-fp32-")
    assert load_bundle(bundle_path).sha256 == before


@needs_rtx
@pytest.mark.engines
def test_the_quantised_bundle_gives_an_fp16_engine_of_rtx_without_being_asked_and_int8_when_asked(
    bundle_path, tmp_path
):
    record = json.dumps({"sensitivity": {"floating": []}}).encode()
    write_bundle(bundle_path, load_bundle(bundle_path).manifest, {"quantization": ("quantization.json", record)})
    for asked, made in (((), "fp16"), (("--precision", "int8"), "int8")):
        result = edge(
            "export", "--bundle", bundle_path, "--target", "tensorrt-rtx", "--engines", "made", *asked, cwd=tmp_path
        )
        assert result.returncode == 0, result.stderr
        assert f"{made} engine of tensorrt-rtx" in result.stderr
        assert len(list((tmp_path / "made").glob(f"tensorrt-rtx-{made}-*.engine"))) == 1


@needs_rtx
@pytest.mark.engines
def test_a_bundle_without_ranges_says_what_to_run_and_a_damaged_record_is_told(bundle_path, tmp_path):
    command = ("export", "--bundle", bundle_path, "--target", "tensorrt-rtx")
    manifest = load_bundle(bundle_path).manifest
    write_bundle(bundle_path, manifest, {"quantization": ("quantization.json", b"[]")})
    rounded = edge(*command, "--precision", "int8", cwd=tmp_path)
    assert_refused(rounded, 4, "record of the quantisation cannot be read", "edge-inspect quantize")
    half = edge(*command, "--engines", "made", cwd=tmp_path)
    assert "fp16 engine of tensorrt-rtx" in half.stderr
    without = {key: entry for key, entry in manifest.files.items() if key not in ("ranges", "quantization")}
    write_bundle(bundle_path, manifest.model_copy(update={"files": without}), {})
    assert_refused(edge(*command, cwd=tmp_path), 4, "no ranges", "edge-inspect quantize")


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_a_cpu_runtime_takes_the_bundle_as_it_is(bundle_path, tmp_path, target):
    result = edge("export", "--bundle", bundle_path, "--target", target, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"{target} runs the int8 network of {bundle_path} as it is" in result.stderr


def test_what_cannot_be_exported_is_refused(bundle_path, tmp_path, subtests):
    for arguments, code, words in [
        ([], 2, ["--run-dir RUN --out BUNDLE", "--bundle BUNDLE --target TARGET"]),
        (["--run-dir", "run"], 2, ["--run-dir RUN --out BUNDLE"]),
        (["--bundle", "plate"], 2, ["what shall run the bundle?", "tensorrt-rtx"]),
        (["--bundle", "plate", "--run-dir", "run", "--out", "b"], 2, ["--run-dir RUN --out BUNDLE"]),
        (["--bundle", "plate", "--target", "cuda"], 2, ["'cuda'", "tensorrt-rtx"]),
        (["--bundle", "plate", "--target", "tensorrt-rtx", "--compute-capability", "ada"], 2, ["such as 8.6"]),
        (["--bundle", "plate", "--target", "openvino", "--precision", "fp16"], 2, ["int8 or fp32 network, not fp16"]),
    ]:
        with subtests.test(arguments=arguments):
            assert_refused(edge("export", *arguments, cwd=bundle_path.parent), code, *words)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="tensorrt is installed here")
def test_without_tensorrt_the_command_says_what_brings_it(bundle_path, tmp_path):
    command = ("export", "--bundle", bundle_path, "--target", "tensorrt", "--precision", "fp32")
    assert_refused(edge(*command, cwd=tmp_path), 2, "tensorrt cannot be imported", "JetPack")
