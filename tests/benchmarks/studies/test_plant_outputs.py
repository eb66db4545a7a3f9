"""The study of what outputs cost measures both states, and everything recorded reaches the broker meanwhile."""

import json
import os
import shutil

import pytest

from benchmarks.studies.plant_outputs import SETTLE, main

pytestmark = pytest.mark.mosquitto


def test_both_states_are_measured_in_turns_and_nothing_is_lost(bundle_path, tmp_path, capsys):
    if shutil.which("mosquitto", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"])) is None:
        pytest.skip("mosquitto is not installed: there is no broker to publish to")
    pytest.importorskip("paho.mqtt.client", reason="the extra `mqtt` is not installed")
    out, block = tmp_path / "out.json", SETTLE + 5
    arguments = ["--bundle", bundle_path, "--pairs", 1, "--block", block, "--cadence", "40/s", "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    values = json.loads(out.read_text())
    assert values["published"] == 2 * block
    assert values["with"]["p50_ms"] > 0 and values["without"]["p50_ms"] > 0
    assert "with / without" in capsys.readouterr().out
