"""The time from a trained network to one that may run: of the real commands, or what one of them said."""

from __future__ import annotations

from benchmarks.studies import deployment
from edge.bundles.versions import write_bundle
from edge.core.manifest import Deployment
from tests.small_bundle import make_bundle


def test_times_of_the_commands_are_added_up_and_what_is_deployed_is_told(tmp_path, monkeypatch):
    called = []

    def timed(command, *arguments):
        called.append(command)
        if command == "export":
            bundle = make_bundle(arguments[-1])
            deployed = Deployment(precision="int8", backend="openvino", tried=())
            write_bundle(bundle.path, bundle.manifest.model_copy(update={"deployments": {"cpu": deployed}}), {})
        return {"wall_s": 2.0, "processor_s": 3.5}

    monkeypatch.setattr(deployment, "_timed", timed)
    values = deployment.measure(tmp_path, tmp_path / "run", parts=3)
    assert called == ["export", "quantize", "calibrate"]
    assert len(list((tmp_path / "parts").iterdir())) == 3
    assert (values["wall_s"], values["processor_s"]) == (6.0, 10.5)
    assert values["deployed"]["precision"] == "int8"


def test_what_a_command_said_is_passed_on(tmp_path, capsys):
    assert deployment.main(["--run-dir", str(tmp_path / "nothing"), "--parts", "2"]) == 2
    assert "export failed" in capsys.readouterr().err
