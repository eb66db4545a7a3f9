"""status.json of a real run: of now while it runs, and not believed after a kill."""

import re
import signal

from edge.plant.status_file import is_live, read_status
from tests.edge.records.records_fakes import wait_for
from tests.system.command_line import WAIT_S, running


def test_the_status_names_the_verdicts_and_is_not_live_after_a_kill(camera, bundle_path, tmp_path):
    folder = tmp_path / "run" / "left"
    arguments = ("--camera", camera.url, "--bundle", bundle_path, "--json", "--line", "left")
    with running(*arguments, "--run-directory", folder, cwd=tmp_path) as run:
        run.wait_for_count(3)
        wait_for(lambda: (read_status(folder) or {"newest": []})["newest"] != [], WAIT_S)
        status = read_status(folder)
        assert is_live(status)
        assert status["info"]["name"] == "left" and "hunter2" not in str(status)
        assert re.fullmatch(r"1-\d{6}", status["newest"][-1]["number"])
        run.signal(signal.SIGKILL)
        run.ended()
    wait_for(lambda: not is_live(read_status(folder)))
    assert read_status(folder)["running"]
