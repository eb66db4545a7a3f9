"""A camera that goes away in the middle of a run and comes back, seen through `--json`."""

import re

from tests.system.command_line import rows, running

SETTINGS = """
camera: {open_timeout_ms: 2000, read_timeout_ms: 300, reopen_first_ms: 20, reopen_max_ms: 100}
freshness: {max_age_ms: 5000}
inspection: {deadline_ms: 10000}
"""


def inspected(verdict):
    return verdict["decision"] != "INVALID"


def test_an_unplugged_camera_is_invalid_until_it_is_back(camera, bundle_path, tmp_path):
    (tmp_path / "config.yaml").write_text(SETTINGS)
    with running("--camera", camera.url, "--bundle", bundle_path, "--json", cwd=tmp_path) as run:
        run.wait_for(lambda told: sum(map(inspected, told)) >= 3)
        camera.kill()
        run.wait_for(lambda told: [v["reason"] for v in told[-2:]] == ["no_frame", "no_frame"])
        lost = len(run.verdicts)
        camera.start()
        run.wait_for(lambda told: len(told) > lost + 3 and all(map(inspected, told[-3:])))
        run.signal()
        assert run.ended() == 130
    told = run.verdicts
    assert [v["frame_index"] for v in told] == list(range(len(told)))
    assert {v["reason"] for v in told if not inspected(v)} == {"no_frame"}
    assert all(v["score"] is None for v in told if not inspected(v))
    assert rows(tmp_path / "records", "frame_index, reason") == [(v["frame_index"], v["reason"]) for v in told]
    assert re.search(r"[1-9]\d* reconnects", run.errors)
    assert "hunter2" not in run.errors + str(told)
