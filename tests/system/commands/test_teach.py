"""`edge-inspect teach`, as a line engineer uses it: from a folder, at a terminal, cut off and called again."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from calibration.samples.statistics import statistics_from_bytes
from edge.bundles.bundle import load_bundle
from edge.cli import main
from tests.fakes import MjpegCamera, eventually, write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import WAIT_S, assert_refused, edge, environment, rows, verdicts

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")

# a network that trains in seconds
SMALL = ("--method", "kist", "--variant", "smoke", "--steps", 4)


def parts_in(folder, count=18):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_picture(folder / f"part{number}.png", good_part(number))
    return folder


class Terminal:
    """A command on a terminal of its own: keys go in, and everything that is shown is collected."""

    def __init__(self, *arguments, cwd):
        self._keys, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge", *map(str, arguments)],
            cwd=cwd, env=environment(TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._shown = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while chunk := os.read(self._keys, 65536):
                self._shown += chunk
        # Linux reports the other side's end as an error
        except OSError:
            return

    @property
    def shown(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode("utf-8", "replace")).replace("\r", "")

    def type(self, keys):
        os.write(self._keys, keys.encode())

    def wait_for(self, words, times=1):
        enough = lambda: self.shown.count(words) >= times  # noqa: E731
        assert eventually(lambda: enough() or self.process.poll() is not None, WAIT_S), self.shown
        assert enough(), self.shown

    def ended(self):
        code = self.process.wait(WAIT_S)
        time.sleep(0.05)
        return code


@pytest.fixture
def terminal(tmp_path):
    made = []

    def start(*arguments):
        made.append(Terminal(*arguments, cwd=tmp_path))
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(WAIT_S)


@pytest.fixture
def camera():
    """A network camera over a line where every picture shows another good part."""
    made = MjpegCamera(fps=60, show=good_part)
    yield made
    made.kill()


def good(place):
    return list((place / "teach" / "plate" / "train" / "good").iterdir())


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A place where a folder with good, damaged, doubled and strange pictures was taught; and what was said."""
    place = tmp_path_factory.mktemp("taught")
    parts = parts_in(place / "parts")
    shutil.copy(parts / "part3.png", parts / "zcopy.png")
    (parts / "cut.png").write_bytes((parts / "part0.png").read_bytes()[:600])
    write_picture(parts / "a-dim.png", (good_part(50) * 0.4).astype(np.uint8))
    # the line waits for more pictures in a folder; teaching on all that are there ends with them
    (place / "config.yaml").write_text("camera: {watch: true}\n")
    result = edge("teach", "--camera", "parts", "--product", "plate 7/2", "--out", "b", *SMALL, cwd=place)
    assert result.returncode == 0, result.stderr
    (place / "config.yaml").unlink()
    return place, result


def test_a_folder_becomes_a_bundle_that_judges(taught, tmp_path):
    place, _ = taught
    bundle = load_bundle(place / "b")
    assert bundle.manifest.product == "plate 7/2"
    assert (bundle.manifest.training.n_train, bundle.manifest.training.n_heldout) == (10, 8)
    # later samples are held against these
    assert statistics_from_bytes(bundle.read("samples")).count == 18
    line = tmp_path / "line"
    line.mkdir()
    write_picture(line / "new.png", good_part(300))
    judged = edge("--camera", line, "--bundle", place / "b", "--no-record", "--json", cwd=tmp_path)
    assert [verdict["decision"] for verdict in verdicts(judged.stdout)] == ["OK"], judged.stderr


def test_the_samples_are_kept_without_loss_in_their_order(taught):
    place, _ = taught
    kept = sorted((place / "teach" / "plate-7-2" / "train" / "good").iterdir())
    assert [path.name for path in kept] == [f"{number:06}.png" for number in range(2, 20)]
    for number, path in enumerate(kept):
        np.testing.assert_array_equal(cv2.imread(str(path)), good_part(number))


def test_every_picture_turned_away_is_told_with_its_name_and_reason(taught):
    place, result = taught
    assert "zcopy.png: duplicate: the same pixels as part3.png" in result.stderr
    assert re.search(r"cut\.png: unreadable: the PNG is cut off after 600 bytes", result.stderr)
    assert "19 samples; turned away: 1 unreadable, 1 duplicate, 1 inconsistent" in result.stderr
    assert cv2.imread(str(place / "teach" / "plate-7-2" / "rejected.png")) is not None


def test_a_sample_that_only_the_others_show_to_be_strange_is_set_aside(taught):
    place, result = taught
    assert re.search(r"000001\.png, from a-dim\.png, is suspicious: inconsistent: brightness", result.stderr)
    assert [path.name for path in (place / "teach" / "plate-7-2" / "quarantine").iterdir()] == ["000001.png"]
    assert "8 it has not seen set its limit; 1 left out" in result.stderr


def test_the_end_says_what_was_made_what_it_finds_what_would_help_and_how_to_go_on(taught):
    place, result = taught
    card = result.stderr[result.stderr.index("plate 7/2 is ") :]
    assert "learned from  10 good parts; 8 it has not seen" in card
    assert re.search(r"finds +of plain defects drawn on good parts: \d+ of 24 of 0\.5 %", card)
    assert "its limit     in force: rejects about 1 good part in 9 (at most 1 in 3); finds " in card
    assert "looser (--false-reject 22.3): rejects about 1 good part in " in card
    assert "change it     edge-inspect threshold --bundle b --false-reject ..." in card
    # nobody could be asked: what is unusual is named, and counts
    assert re.search(r"000\d+\.png, from part\d+\.png: score 0\.\d+, 0\.\d+ is usual; .*; it counts", result.stderr)
    assert (place / "teach" / "plate-7-2" / "run" / "unusual.png").is_file()
    assert "edge-inspect --camera parts --bundle b" in card
    # what an expert may ask for later is in a file instead
    for word in ("AUROC", "Pareto", "threshold", "INT8 on"):
        assert word not in card.replace("edge-inspect threshold", "")
    assert "ranges of" not in result.stderr
    assert "ranges of" in (place / "teach" / "plate-7-2" / "details.log").read_text()


def test_the_same_command_again_takes_and_trains_nothing_twice_and_starts_if_asked(taught, tmp_path):
    place = shutil.copytree(taught[0], tmp_path / "place")
    command = ("teach", "--camera", "parts", "--product", "plate 7/2", "--out", "b", *SMALL)
    again = edge(*command, "--details", "--start", cwd=place)
    assert again.returncode == 0, again.stderr
    assert "going on with 18 samples" in again.stderr
    assert len(list((place / "teach" / "plate-7-2" / "train" / "good").iterdir())) == 18
    # the figures are shown to whoever asks for them
    assert "image AUROC 0." in again.stderr and "threshold 0." in again.stderr
    assert "is finished" in (place / "teach" / "plate-7-2" / "details.log").read_text()
    # it became the inspection of the same folder
    assert len(rows(place / "records")) == 21


def test_at_a_terminal_enter_takes_a_picture_and_u_undoes_it(tmp_path, terminal, camera):
    session = terminal("teach", "--camera", camera.url, "--product", "plate", "--count", 16)
    session.wait_for("Enter  take a picture")
    for number in (1, 2, 3):
        session.type("\n")
        session.wait_for(f"{number} of 16")
    session.type("u\n")
    session.wait_for("000003.png is out again; 2 of 16")
    session.type("\n")
    session.wait_for("3 of 16", times=2)
    session.type("d\n")
    assert session.ended() == 2
    assert "3 samples of good parts, at least 16 are needed" in session.shown
    assert "hunter2" not in session.shown
    assert sorted(path.name for path in good(tmp_path)) == ["000001.png", "000002.png", "000004.png"]


def test_ctrl_c_keeps_the_samples_and_the_next_call_goes_on_with_them(tmp_path, terminal, camera):
    command = ("teach", "--camera", camera.url, "--product", "plate", "--count", 16, *SMALL[:4])
    session = terminal(*command)
    session.wait_for("Enter  take a picture")
    for number in (1, 2, 3):
        session.type("\n")
        session.wait_for(f"{number} of 16")
    os.killpg(session.process.pid, signal.SIGINT)
    assert session.ended() == 130
    assert "3 samples are kept in teach/plate" in session.shown
    assert "Traceback" not in session.shown
    later = terminal(*command, "--interval", 0.02)
    later.wait_for("going on with 3 samples")
    later.wait_for("16 of 16")
    later.wait_for("training: ready in")
    os.killpg(later.process.pid, signal.SIGINT)
    assert later.ended() == 130, later.shown
    assert len(good(tmp_path)) == 16 and "16 samples are kept" in later.shown


def test_what_cannot_be_taught_is_refused_with_the_next_step(tmp_path, monkeypatch, capfd, subtests):
    monkeypatch.chdir(tmp_path)
    parts_in(tmp_path / "few", 5)
    for name, picture in (("same", good_part(0)), ("black", np.zeros((48, 64, 3), np.uint8))):
        for number in range(20):
            write_picture(parts_in(tmp_path / name, 0) / f"{number}.png", picture)
    cases = [
        (["--camera", "http://127.0.0.1:9/x"], 2, ["no terminal", "--auto", "--interval SECONDS"]),
        (["--camera", "http://127.0.0.1:9/x", "--auto"], 3, ["127.0.0.1:9"]),
        (["--camera", "nowhere/"], 3, ["no such file, folder or camera"]),
        (["--camera", "few"], 2, ["5 samples of good parts, at least 16 are needed", "60 or more"]),
        (["--camera", "same"], 2, ["1 samples of good parts", "19 were turned away: duplicate"]),
        (["--camera", "black"], 2, ["20 of 20 pictures of good parts would be INVALID on the line", "black_level: 0"]),
        (["--camera", "few", "--count", "5"], 2, ["--count 5 is too few"]),
        (["--camera", "few", "--product", "../.."], 2, ["cannot name a folder"]),
        (["--camera", "few", "--product", "a\x1b[2Jb"], 2, ["signs that cannot be shown"]),
        (["--camera", "few", "--out", "few"], 4, ["few exists and is not a bundle"]),
        (["--camera", "few", "--samples", "few/part0.png"], 2, ["few/part0.png", "--samples"]),
    ]
    for number, (arguments, code, words) in enumerate(cases):
        with subtests.test(arguments=arguments):
            if "--product" not in arguments:
                # a product for each case: teaching goes on with the samples of its product
                arguments = [*arguments, "--product", f"plate {number}"]
            assert main(["teach", *arguments]) == code
            told = capfd.readouterr().err
            assert "\x1b" not in told
            assert re.search(r"^  fix: \S", told, re.MULTILINE), told
            assert not [word for word in words if word not in told], told


def test_two_products_mixed_are_refused_and_shown_on_a_sheet(tmp_path):
    for number in range(20):
        product = 255 - good_part(number) if number < 7 else good_part(number)
        write_picture(parts_in(tmp_path / "mixed", 0) / f"{number}.png", product)
    result = edge("teach", "--camera", "mixed", "--product", "plate", "--yes", cwd=tmp_path)
    assert_refused(result, 2, "of the samples are unlike the others", "--trust", "from 6.png, is suspicious")
    assert (tmp_path / "teach" / "plate" / "rejected.png").exists()


def test_a_disk_that_fills_up_stops_with_what_was_kept(tmp_path):
    resource = pytest.importorskip("resource", reason="no limits of processes on this system")
    parts_in(tmp_path / "parts")
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (4000, {resource.RLIM_INFINITY})); "
        "from edge.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "teach", "--camera", "parts", "--product", "plate"],
        cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * WAIT_S,
    )  # fmt: skip
    assert_refused(result, 2, "cannot be written: File too large; 0 samples are kept", "it goes on")


def test_bad_part_is_not_needed_to_teach_but_is_found_to_be_one(taught, tmp_path):
    """What four steps learn is little; a part of another brightness is seen all the same."""
    place, _ = taught
    line = tmp_path / "line"
    line.mkdir()
    write_picture(line / "bad.png", 255 - bad_part(301))
    judged = edge("--camera", line, "--bundle", place / "b", "--no-record", "--json", cwd=tmp_path)
    assert [verdict["decision"] for verdict in verdicts(judged.stdout)] == ["NG"], judged.stderr
