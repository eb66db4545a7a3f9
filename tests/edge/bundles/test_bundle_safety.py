"""A bundle from elsewhere: nothing in it is executed, leads out of its folder, or takes more memory than it may."""

import hashlib
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from edge.bundles.bundle import MANIFEST, load_bundle
from edge.bundles.format import migrated
from edge.bundles.onnx_check import OnnxFileError, check_self_contained
from edge.core.errors import BundleError
from edge.core.files import safe_file as confined_file
from edge.core.files.safe_npz import NpzError, read_npz
from tests.bundle_edits import edit_manifest
from tests.fuzz.bundle_fuzz import fuzz
from tests.paths import ROOT
from tests.small_bundle import blur_network


def name_file(path, key, file, data):
    """Let the manifest name this content."""
    entry = {"name": file, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    edit_manifest(path, lambda values: values["files"].update({key: entry}))


# --- any damage


def test_hundreds_of_spoilt_bundles_load_or_are_refused_and_nothing_else(bundle_path):
    result = fuzz(bundle_path, count=400, seed=11)
    assert result.failures == []
    assert result.outcomes["loaded"] + result.outcomes["refused"] == 400
    # what is behind the hashes was reached, and some mutations do no harm
    assert min(result.outcomes.values()) > 5
    assert result.spoilt["calibration: content, hash made to fit"] > 50


FAULTY = """
import sys, time
from pathlib import Path
from tests.fuzz import bundle_fuzz

def wrong(folder):
    raise IndexError("a loader with a fault")

bundle_fuzz.CASE_LIMIT_S = 0.1
for fault in (wrong, lambda folder: time.sleep(60)):
    bundle_fuzz.load_bundle = fault
    print(bundle_fuzz.fuzz(Path(sys.argv[1]), count=1, seed=0).failures)
"""


def test_the_fuzzing_would_see_another_error_and_a_hang(bundle_path):
    # a process of its own: an alarm is fatal where OpenVINO's tiles do not fit on pytest's stack for signals
    command = [sys.executable, "-c", FAULTY, str(bundle_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    wrong, stuck = result.stdout.splitlines()
    assert "IndexError: a loader with a fault" in wrong
    assert "no answer within 0.1 s" in stuck


# --- places


def test_a_name_that_is_no_plain_name_is_refused(bundle_path, subtests):
    for name in ["../plate/model_fp32.onnx", "/etc/passwd", "..", ".hidden", "a/b", "", "x\n"]:
        with subtests.test(name=name):
            edit_manifest(bundle_path, lambda values, name=name: values["files"]["ranges"].update(name=name))
            with pytest.raises(BundleError, match=r"files\.ranges\.name"):
                load_bundle(bundle_path)


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_followed(bundle_path, tmp_path):
    file, outside = bundle_path / "ranges.json", tmp_path / "secret"
    file.rename(outside)
    file.symlink_to(outside)
    with pytest.raises(BundleError, match="outside the folder"):
        load_bundle(bundle_path).read("ranges")
    file.unlink()
    outside.rename(bundle_path / "elsewhere.json")
    file.symlink_to("elsewhere.json")
    load_bundle(bundle_path).read("ranges")


def test_a_pipe_does_not_hang_and_a_device_is_not_read(bundle_path):
    file = bundle_path / MANIFEST
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(BundleError, match="not a plain file"):
        load_bundle(bundle_path)


# --- sizes


def test_a_file_larger_than_the_manifest_says_is_not_read(bundle_path, monkeypatch):
    with (bundle_path / "model_int8.onnx").open("ab") as file:
        file.truncate(10**12)  # sparse
    with pytest.raises(BundleError, match="1000000000000 bytes large, more than the"):
        load_bundle(bundle_path).read("model_int8")


def test_a_manifest_beyond_its_limit_is_not_read(bundle_path):
    with (bundle_path / MANIFEST).open("ab") as file:
        file.truncate(10**10)
    with pytest.raises(BundleError, match="bytes large, more than the"):
        load_bundle(bundle_path)


def test_an_array_that_would_unpack_to_more_than_it_may_have_is_not_unpacked(tmp_path):
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, mean=np.zeros(10_000_000, np.float32))
    assert file.stat().st_size < 100_000
    with pytest.raises(NpzError, match="mean unpacks to 40000128 bytes, more than the 4096"):
        read_npz(file.read_bytes(), {"mean": 4096})


def test_a_header_that_promises_what_is_not_there_takes_no_memory_and_runs_nothing(tmp_path, subtests):
    for header in [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "__import__('os').abort()",
        "(" * 900,
    ]:
        with subtests.test(header=header):
            text = header.encode() + b"\n"
            with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
                archive.writestr("mean.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 8)
            with pytest.raises(NpzError):
                read_npz((tmp_path / "a.npz").read_bytes(), {"mean": 4096})


def test_what_numpy_writes_is_read_back(tmp_path, subtests):
    for value in [np.float64(0.25), np.arange(6.0).reshape(2, 3), np.array("text"), np.array(True)]:
        with subtests.test(value=value):
            np.savez(tmp_path / "a.npz", value=value, column=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
            read = read_npz((tmp_path / "a.npz").read_bytes(), {"value": 4096, "column": 4096})
            np.testing.assert_array_equal(read["value"], value)
            np.testing.assert_array_equal(read["column"], np.arange(6.0).reshape(2, 3))


# --- meaning


def test_json_that_is_no_manifest_is_refused(bundle_path, subtests):
    for text, words in [
        ('{"a": 1, "a": 2}', "a key is given twice"),
        ('{"a": NaN}', "NaN is not a number"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ("9" * 5000, "not valid JSON"),
        ('{"format_version": true}', "bundle format True"),
    ]:
        with subtests.test(words=words):
            (bundle_path / MANIFEST).write_text(text)
            with pytest.raises(BundleError, match=words):
                load_bundle(bundle_path)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda values: values["score"]["norm"].update(z_max=1e400), "not valid JSON|score.norm.z_max"),
        (lambda values: values["preprocess"].update(rectangle=[0, 0, 0, 5]), "preprocess.rectangle"),
        (lambda values: values["preprocess"].update(polygon=[[0, 0], [1, 1]]), "preprocess.polygon"),
        (lambda values: values["preprocess"].update(polygon=[[0, 0], [1, 1], [10**12, 1]]), "preprocess.polygon"),
    ],
)
def test_numbers_that_a_later_step_would_choke_on_are_refused(bundle_path, change, where):
    edit_manifest(bundle_path, change)
    with pytest.raises(BundleError, match=where):
        load_bundle(bundle_path)


def test_a_calibration_with_a_text_for_a_threshold_is_refused(bundle_path):
    with np.load(bundle_path / "calibration_int8.npz") as archive:
        values = dict(archive)
    values["threshold"] = np.array("high")
    np.savez(bundle_path / "calibration_int8.npz", **values)
    name_file(
        bundle_path, "calibration_int8", "calibration_int8.npz", (bundle_path / "calibration_int8.npz").read_bytes()
    )
    with pytest.raises(BundleError, match=r"threshold should be \(\) of kind 'f', is \(\) <U4"):
        load_bundle(bundle_path).calibration("int8")


# --- networks


def test_a_network_whose_weights_lie_in_another_file_is_refused(bundle_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")
    model = onnx.load_model_from_string(blur_network())
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")
    data = model.SerializeToString()
    (bundle_path / "model_fp32.onnx").write_bytes(data)
    name_file(bundle_path, "model_fp32", "model_fp32.onnx", data)
    with pytest.raises(BundleError, match="values lie in another file"):
        load_bundle(bundle_path).read("model_fp32")


def test_weights_elsewhere_are_found_in_a_branch_of_a_branch():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    graph = onnx.helper.make_graph([], "inner", [], [], [tensor])
    for depth in range(2):
        node = onnx.helper.make_node("If", ["c"], ["o"], then_branch=graph, else_branch=graph)
        graph = onnx.helper.make_graph([node], f"level {depth}", [], [])
    whole = onnx.helper.make_model(graph).SerializeToString()
    check_self_contained(whole)
    tensor.external_data.add(key="location", value="weights")
    graph.node[0].attribute[0].g.node[0].attribute[0].g.initializer[0].CopyFrom(tensor)
    with pytest.raises(OnnxFileError, match="another file"):
        check_self_contained(onnx.helper.make_model(graph).SerializeToString())


def test_bytes_that_are_no_network_are_refused(subtests):
    for data in [b"", b"\x3a", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x3f", b"\x38\x00", b"\x80" * 99]:
        with subtests.test(data=data), pytest.raises(OnnxFileError):
            check_self_contained(data)


# --- formats


def test_an_older_format_is_brought_up_step_by_step_and_the_present_one_is_left_alone(tmp_path):
    steps = {1: lambda values: {**values, "second": 1}, 2: lambda values: {**values, "third": values["second"] + 1}}
    old = {"format_version": 1}
    assert migrated(tmp_path, old, 3, steps) == {"format_version": 3, "second": 1, "third": 2}
    assert old == {"format_version": 1}
    assert migrated(tmp_path, old, 1, {}) is old
    newest = {"format_version": 3}
    assert migrated(tmp_path, newest, 3, steps) is newest


def test_a_format_that_no_step_leads_from_is_refused(tmp_path):
    for version, fix in ((0, "train"), (4, "update edge-inspect")):
        with pytest.raises(BundleError, match=rf"format {version}, this edge-inspect reads format 3") as refusal:
            migrated(tmp_path, {"format_version": version}, 3, {2: dict})
        assert fix in refusal.value.fix


def test_a_file_that_grows_while_it_is_read_does_not_grow_in_memory(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x" * 10)
    before = (tmp_path / "a").stat()
    state = os.stat_result([*before[:6], 5, *before[7:]])
    monkeypatch.setattr(confined_file.os, "fstat", lambda descriptor: state)
    assert confined_file.read_safe(tmp_path, "a", 5) == b"xxxxx"
