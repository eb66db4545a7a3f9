"""What cannot work is refused with one message that says what to do, and nothing is changed or lost."""

import hashlib
from dataclasses import replace

import pytest

from edge.bundles.bundle import load_bundle
from tests.bundle_edits import edit_manifest
from tests.fakes import write_picture
from tests.small_bundle import good_part
from tests.system.command_line import assert_refused, decisions, edge, rows, verdicts

# --- the command line


def test_a_wrong_command_line_is_explained(tmp_path, subtests):
    for arguments, words in [
        (["frobnicate"], ["unknown command 'frobnicate'", "--help"]),
        (["repotr"], ["unknown command 'repotr'", "did you mean `report`?"]),
        ([], ["--camera"]),
        (["--camera", "x", "--fames", "3"], ["`run` knows no '--fames'", "did you mean `--frames`?"]),
        (["--camera", "x", "--frame", "3"], ["`run` knows no '--frame'", "did you mean `--frames`?"]),
        (["--camera", "x", "--frames", "0"], ["argument --frames: 0 is not above zero"]),
        (["--camera", "x", "--frames", "many"], ["argument --frames: 'many' is not a whole number"]),
        (["--camera", "x", "--duration", "-1"], ["argument --duration: -1 is not above zero"]),
        (["--camera", "x", "--fps", "inf"], ["argument --fps: 'inf' is not a number"]),
        (["--camera", "x", "--backend", "tensorflow"], ["'tensorflow'", "openvino"]),
        (["calibrate", "--bundle", "b", "--data", "d", "--false-reject", "100"], ["100 is not between 0 and 100"]),
        (["replay", "three"], ["'three' is not a whole number"]),
        (["train", "--data", "d"], ["--out"]),
    ]:
        with subtests.test(arguments=arguments):
            assert_refused(edge(*arguments, cwd=tmp_path), 2, *words)


# --- settings


def test_settings_that_cannot_be_meant_are_refused_with_their_line(line, tmp_path, subtests):
    for text, words in [
        ("camera:\n  open_timeout: 9\n", ["line 2", "camera.open_timeout", "did you mean `open_timeout_ms`?"]),
        ("record:\n  keep_ok_share: often\n", ["line 2", "record.keep_ok_share", "'often'"]),
        ("inspection: {deadline_ms: 100}\n", ["deadline_ms (100) is below freshness.max_age_ms (500)"]),
        ("camera:\n  fps: 5\n  fps: 6\n", ["line 3", "fps is already given in line 2"]),
        ("camera: [\n", ["not valid YAML"]),
        ("camera:\n\tfps: 5\n", ["line 2", "not valid YAML"]),
    ]:
        with subtests.test(text=text):
            (tmp_path / "line.yaml").write_text(text)
            assert_refused(edge("--camera", line, "--config", "line.yaml", cwd=tmp_path), 2, "line.yaml", *words)


def test_a_missing_settings_file_is_not_replaced_by_defaults(line, tmp_path):
    assert_refused(edge("--camera", line, "--config", "nowhere.yaml", cwd=tmp_path), 2, "nowhere.yaml", "--config")


def test_a_region_that_the_bundle_was_not_calibrated_for_is_refused(line, bundle_path, tmp_path):
    (tmp_path / "config.yaml").write_text("roi: {rectangle: [4, 4, 32, 32]}\n")
    result = edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path)
    assert_refused(result, 4, "rectangle (4, 4, 32, 32)", "calibrated for rectangle None", "edge-inspect calibrate")
    assert not (tmp_path / "records").exists()


# --- cameras


def test_a_camera_that_is_not_there_is_code_3(bundle_path, tmp_path, subtests):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a film")
    for camera, words in [
        ("7", ["/dev/video7: no such camera", "--camera"]),
        ("/dev/video99", ["/dev/video99: no such camera"]),
        ("http://127.0.0.1:9/stream", ["127.0.0.1:9 does not answer", "Connection refused"]),
        ("nowhere.png", ["'nowhere.png': no such file, folder or camera"]),
        ("empty", ["empty: no pictures among 0 files"]),
        ("empty/*.png", ["empty/*.png: no pictures"]),
        ("notes.txt", ["notes.txt", "cannot be opened as a video"]),
        ("videotestsrc ! appsink", ["GStreamer"]),
        ("", ["the source is empty"]),
    ]:
        with subtests.test(camera=camera):
            assert_refused(edge("--camera", camera, "--bundle", bundle_path, cwd=tmp_path), 3, *words)
            assert not (tmp_path / "records").exists()


# --- bundles


def store_part(path, key, data):
    """Replace a file of the bundle and its entry in the manifest, so that every hash is right again."""
    bundle = load_bundle(path)
    (path / bundle.manifest.files[key].name).write_bytes(data)
    edit_manifest(
        path,
        lambda values: values["files"][key].update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),
    )


def refused_bundle(line, bundle_path, tmp_path, *words, backend="auto"):
    result = edge("--camera", line, "--bundle", bundle_path, "--backend", backend, cwd=tmp_path)
    assert_refused(result, 4, *words)
    assert not (tmp_path / "records").exists()


def test_a_missing_bundle_is_code_4(line, tmp_path):
    refused_bundle(line, tmp_path / "nowhere", tmp_path, "nowhere: no such bundle directory", "edge-inspect train")


def test_a_directory_that_is_no_bundle_is_code_4(line, tmp_path):
    refused_bundle(line, line, tmp_path, "manifest.json: No such file")


def test_a_cut_off_network_is_found_by_its_hash(line, bundle_path, tmp_path):
    model = bundle_path / "model_int8.onnx"
    model.write_bytes(model.read_bytes()[:-100])
    refused_bundle(line, bundle_path, tmp_path, "model_int8.onnx is damaged", "bytes")


def test_an_altered_network_is_found_by_its_hash(line, bundle_path, tmp_path):
    model = bundle_path / "model_int8.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    refused_bundle(line, bundle_path, tmp_path, "model_int8.onnx is damaged", "same size, other content")


@pytest.mark.parametrize(("backend", "name"), [("openvino", "OpenVINO"), ("onnxruntime", "ONNX Runtime")])
def test_a_network_with_right_hashes_that_the_runtime_refuses_is_code_4(line, bundle_path, tmp_path, backend, name):
    import onnx

    bundle = load_bundle(bundle_path)
    model = onnx.load_model_from_string(bundle.read("model_int8"))
    model.graph.node[0].op_type = "Unheard"
    odd = model.SerializeToString()
    moved = replace(bundle.calibration("int8"), model_sha256=hashlib.sha256(odd).hexdigest())
    store_part(bundle_path, "model_int8", odd)
    store_part(bundle_path, "calibration_int8", moved.to_bytes())
    refused_bundle(line, bundle_path, tmp_path, f"{name} refuses the network", backend=backend)


def test_a_cut_off_network_with_right_hashes_never_reaches_a_runtime(line, bundle_path, tmp_path):
    store_part(bundle_path, "model_int8", load_bundle(bundle_path).read("model_int8")[:-100])
    words = ("statistics were measured on model", "model_int8.onnx is not a network that may be run")
    refused_bundle(line, bundle_path, tmp_path, words[0])
    assert_refused(edge("bundle", "verify", "--bundle", bundle_path, cwd=tmp_path), 4, words[1])


@pytest.mark.parametrize(("version", "fix"), [(4, "update edge-inspect"), (0, "edge-inspect train")])
def test_a_bundle_of_another_format_is_code_4(line, bundle_path, tmp_path, version, fix):
    edit_manifest(bundle_path, lambda values: values.update(format_version=version))
    refused_bundle(line, bundle_path, tmp_path, f"bundle format {version}", "reads format 3", fix)


def test_statistics_of_another_engine_are_refused(line, bundle_path, tmp_path):
    def swap(values):
        values["files"]["calibration_int8"] = values["files"]["calibration_fp32"]

    edit_manifest(bundle_path, swap)
    refused_bundle(line, bundle_path, tmp_path, "statistics were measured on model", "edge-inspect calibrate")


def test_statistics_of_another_region_are_refused(line, bundle_path, tmp_path):
    edit_manifest(bundle_path, lambda values: values["preprocess"].update(rectangle=[0, 0, 32, 32]))
    refused_bundle(line, bundle_path, tmp_path, "another preprocessing", "edge-inspect calibrate")


def test_a_bundle_without_int8_runs_by_itself_and_says_how_when_int8_is_asked_for(line, bundle_path, tmp_path):
    edit_manifest(bundle_path, lambda values: values["files"].pop("model_int8"))
    result = edge("--camera", line, "--bundle", bundle_path, "--precision", "int8", cwd=tmp_path)
    assert_refused(result, 4, "the bundle has no model_int8", "--precision fp32")
    assert not (tmp_path / "records").exists()
    assert edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path).returncode == 0


# --- records


def test_a_file_in_place_of_the_record_directory_does_not_stop_the_inspection(line, bundle_path, tmp_path):
    (tmp_path / "records").write_text("in the way")
    result = edge("--camera", line, "--bundle", bundle_path, "--json", cwd=tmp_path)
    # an exit code of its own: every part was judged, and none of it is on record
    assert result.returncode == 5
    assert decisions(result.stdout) == ["OK", "OK", "NG", "OK", "OK", "NG"]
    assert "not a directory: records is a file" in result.stderr and "inspection continues" in result.stderr
    assert "records     0 verdicts and 0 pictures in records; 6 verdicts NOT RECORDED" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "records").read_text() == "in the way"


def test_a_report_of_no_records_is_refused(tmp_path):
    (tmp_path / "records").mkdir()
    assert_refused(edge("report", cwd=tmp_path), 2, "no records at records/verdicts.sqlite")
    assert not list((tmp_path / "records").iterdir())


@pytest.fixture
def recorded(line, bundle_path, tmp_path):
    """A record store with six verdicts, of which 3 and 6 have pictures."""
    assert edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path).returncode == 0
    return tmp_path / "records"


def test_what_cannot_be_replayed_says_why(recorded, bundle_path, tmp_path):
    (picture,) = rows(recorded, "image")[5]
    (recorded / picture).unlink()
    assert_refused(edge("replay", 99, cwd=tmp_path), 2, "no verdict 99", "ids 1 to 6")
    assert_refused(edge("replay", 1, cwd=tmp_path), 2, "its picture was not kept")
    assert_refused(edge("replay", 6, cwd=tmp_path), 2, "cannot be read: No such file")
    edit_manifest(bundle_path, lambda values: values.update(product="another"))
    for kept in bundle_path.glob("manifest.*.json"):
        kept.unlink()
    assert_refused(edge("replay", 3, cwd=tmp_path), 4, "was made by bundle", "--bundle")


def test_a_report_of_an_unknown_source_or_time_is_refused(recorded, tmp_path):
    assert_refused(edge("report", "--source", "elsewhere", cwd=tmp_path), 2, "`elsewhere`", "recorded sources:")
    assert_refused(edge("report", "--since", "yesterday", cwd=tmp_path), 2, "`yesterday` is not a time")


# --- data handed to commands


def test_too_few_good_parts_change_no_bundle(line, bundle_path, tmp_path):
    before = (bundle_path / "manifest.json").read_bytes()
    for number in range(2, 6):
        (line / f"part{number}.png").unlink()
    result = edge("calibrate", "--bundle", bundle_path, "--data", line, cwd=tmp_path)
    assert_refused(result, 2, "2 normals are too few")
    assert (bundle_path / "manifest.json").read_bytes() == before


def test_good_parts_smaller_than_the_region_are_refused_by_name(bundle_path, tmp_path):
    (tmp_path / "good").mkdir()
    for number in range(6):
        write_picture(tmp_path / "good" / f"{number}.png", good_part(number, *((20, 20) if number == 4 else (48, 64))))
    (tmp_path / "config.yaml").write_text("roi: {rectangle: [8, 8, 32, 32]}\n")
    result = edge("calibrate", "--bundle", bundle_path, "--data", "good", cwd=tmp_path)
    assert_refused(result, 2, "good/4.png is 20x20 px", "(8, 8, 32, 32)")


def test_evaluation_without_good_and_bad_parts_is_refused(line, bundle_path, tmp_path):
    result = edge("evaluate", "--bundle", bundle_path, "--data", line, cwd=tmp_path)
    assert_refused(result, 2, "evaluation needs test/good/", "ground_truth")


def test_a_rollback_without_an_earlier_version_is_refused(bundle_path, tmp_path):
    for file in [*bundle_path.glob("manifest.*.json"), bundle_path / "history.jsonl"]:
        file.unlink()
    assert_refused(edge("rollback", "--bundle", bundle_path, cwd=tmp_path), 4, "there is no previous version")


def test_a_smaller_frame_than_the_region_is_invalid_on_the_line(line, bundle_path, tmp_path):
    (tmp_path / "config.yaml").write_text("roi: {rectangle: [8, 8, 32, 32]}\n")
    assert edge("calibrate", "--bundle", bundle_path, "--data", line, cwd=tmp_path).returncode == 0
    write_picture(line / "part3.png", good_part(3, 20, 20))
    result = edge("--camera", line, "--bundle", bundle_path, "--json", "--no-record", cwd=tmp_path)
    assert result.returncode == 0
    assert [v["reason"] for v in verdicts(result.stdout)][3] == "wrong_size"
