"""`bundle show | verify | sign | keygen`, and a line that runs signed bundles only."""

import json

import pytest

from tests.system.command_line import assert_refused, edge


def test_show_tells_what_a_person_wants_to_know(bundle_path, tmp_path):
    result = edge("bundle", "show", "--bundle", bundle_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line[0] != " ")
    assert lines["product"] == "plate"
    assert lines["method"] == "kist, variant test, outputs recon"
    assert lines["picture"] == "32x32 px, map 32x32"
    promise = result.stdout.partition("int8 ")[2]
    assert "threshold 0." in promise and "24 held-out good parts" in promise
    assert lines["model_int8"].endswith("model_int8.onnx: whole")
    assert lines["bundle"].startswith("format 3, sha256 ")
    assert "none of this version" in lines["signature"]


def test_show_tells_what_the_gate_let_through_and_what_it_refused(bundle_path, tmp_path):
    manifest = bundle_path / "manifest.json"
    tried = [
        {"precision": "int8", "model_sha256": None, "exceeded": ["AUPRO falls by 0.0200, 0.0100 allowed"]},
        {"precision": "fp32", "model_sha256": "0" * 64},
    ]
    deployments = {"cpu": {"precision": "fp32", "backend": "openvino", "tried": tried}}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "deployments": deployments}))
    result = edge("bundle", "show", "--bundle", bundle_path, cwd=tmp_path)
    assert "runs on cpu" in result.stdout
    assert "fp32 with openvino, after the gate refused int8 (AUPRO falls by 0.0200, 0.0100 allowed)" in result.stdout
    for step, milliseconds in zip(tried, (5.25, 4.5), strict=True):
        step |= {"exceeded": [], "milliseconds": milliseconds}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "deployments": deployments}))
    result = edge("bundle", "show", "--bundle", bundle_path, cwd=tmp_path)
    assert "fp32 with openvino; timed where it was calibrated: int8 5.25 ms, fp32 4.50 ms" in result.stdout


def test_show_tells_of_damage_and_hides_what_would_steer_the_terminal(bundle_path, tmp_path):
    manifest = bundle_path / "manifest.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "product": "\x1b[2Jplate"}))
    (bundle_path / "calibration_int8.npz").write_bytes(b"")
    result = edge("bundle", "show", "--bundle", bundle_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    assert "NOT USABLE" in result.stdout and "damaged" in result.stdout


def test_a_line_that_wants_signatures_runs_what_its_key_signed_and_nothing_else(bundle_path, line, tmp_path):
    pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")
    assert edge("bundle", "keygen", "--key", "maker.pem", cwd=tmp_path).returncode == 0
    (tmp_path / "config.yaml").write_text("inspection: {signed_by: maker.pem.pub}\n")
    inspect = ("--camera", line, "--bundle", bundle_path, "--once", "--no-record")
    assert_refused(edge(*inspect, cwd=tmp_path), 4, "not signed in its present version", "bundle sign")
    assert edge("bundle", "sign", "--bundle", bundle_path, "--key", "maker.pem", cwd=tmp_path).returncode == 0
    assert edge(*inspect, cwd=tmp_path).returncode == 0
    checked = edge("bundle", "verify", "--bundle", bundle_path, "--public-key", "maker.pem.pub", cwd=tmp_path)
    assert "which you trust" in checked.stdout, checked.stderr


def test_what_is_left_out_is_asked_for(tmp_path, subtests):
    for arguments, words in [
        (["show"], ["--bundle BUNDLE"]),
        (["sign", "--bundle", "b"], ["--bundle BUNDLE --key PRIVATE_KEY"]),
        (["keygen"], ["--key KEY"]),
        (["eat"], ["'eat'"]),
    ]:
        with subtests.test(arguments=arguments):
            assert_refused(edge("bundle", *arguments, cwd=tmp_path), 2, *words)


def test_verify_names_what_is_damaged(bundle_path, tmp_path):
    whole = edge("bundle", "verify", "--bundle", bundle_path, cwd=tmp_path)
    assert "files as the manifest says, not signed" in whole.stdout
    (bundle_path / "ranges.json").write_bytes(b"{}")
    assert_refused(edge("bundle", "verify", "--bundle", bundle_path, cwd=tmp_path), 4, "ranges.json is damaged")
