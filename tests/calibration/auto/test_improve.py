"""`improve`, end to end on networks that train in seconds: beside a running line, where none runs, and for nothing."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

import re
import shutil
import threading

from calibration.auto.auto import make_bundle
from calibration.auto.improve import ImprovementRequest, improve_bundle
from calibration.pipeline.train import TrainingRequest
from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.bundles.learning import read_learning
from edge.bundles.versions import find_version, roll_back
from edge.capture.images.image_reader import PLAIN
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.inspection.inspectors import make_inspectors
from tests.fakes import eventually, write_picture
from tests.running_line import RunningLine
from tests.small_bundle import good_part
from training.run.preparation import Recipe

# what inspects, and what is learned beside it; both have the same field
LIVE, BETTER = (Recipe(method, "smoke", 0, steps=2) for method in ("kist", "isstad"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Samples, and a bundle that they gave."""
    place = tmp_path_factory.mktemp("taught")
    (place / "parts").mkdir()
    for number in range(18):
        write_picture(place / "parts" / f"{number:02}.png", good_part(number))
    make_bundle(TrainingRequest(place / "parts", place / "bundle", LIVE, None), Settings(), PLAIN, lambda text: None)
    return place


@pytest.fixture
def bundle(taught, tmp_path):
    shutil.copytree(taught / "bundle", tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle")


def improved(taught, bundle, recipe=BETTER, **changes):
    asked = {"shadow": 0, "shadow_limit": 1.0, **changes}
    request = ImprovementRequest(
        bundle.path, taught / "parts", taught / f"run-{recipe.method}", recipe, false_reject=None, **asked
    )  # fmt: skip
    return improve_bundle(request, Settings(), PLAIN)


def test_where_no_line_runs_the_better_version_waits_for_a_person(taught, bundle, capsys):
    assert not improved(taught, bundle)
    assert load_bundle(bundle.path).sha256 == bundle.sha256
    (short,) = re.findall(r"rollback --bundle \S+ --to (\w+)", read_learning(bundle.path).text())
    assert f"version {short} (isstad smoke) is ready" in "".join(capsys.readouterr())
    waiting = find_version(bundle.path, short)
    assert (waiting.manifest.method, waiting.manifest.product) == ("isstad", bundle.manifest.product)
    assert read_history(bundle.path)[-1].action == "candidate"
    assert roll_back(bundle.path, short).manifest.method == "isstad"


def test_beside_a_line_it_is_tried_and_takes_over_between_two_frames(taught, bundle):
    line = RunningLine(bundle.path, lambda version, count: make_inspectors(version, Settings(), count))
    seen, ended = set(), threading.Event()

    def look():
        while not ended.wait(0.02):
            seen.add(line.counters.learning_state)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        assert improved(taught, bundle, shadow=12)
        live = load_bundle(bundle.path)
        assert live.manifest.method == "isstad"
        assert line.judges_with(live.sha256)
        assert eventually(lambda: "the better version" in line.counters.learning_state)
    finally:
        ended.set()
        watching.join()
        verdicts = line.end()
    assert any(state.startswith("learning a better version") for state in seen)
    assert {verdict.bundle_sha256 for verdict in verdicts} == {bundle.sha256, live.sha256}
    assert [verdict.frame_index for verdict in verdicts] == list(range(len(verdicts)))


def test_a_version_that_judges_otherwise_than_allowed_is_not_live(taught, bundle, capsys):
    line = RunningLine(bundle.path, lambda version, count: make_inspectors(version, Settings(), count))
    try:
        better = improved(taught, bundle, shadow=12, shadow_limit=0.0)
        disagreed = " 0 differently" not in "".join(capsys.readouterr())
        assert better is not disagreed
        live = load_bundle(bundle.path)
        assert live.manifest.method == ("kist" if disagreed else "isstad")
        assert line.judges_with(live.sha256)
    finally:
        line.end()


def test_the_same_network_again_is_nothing_better(taught, bundle):
    assert not improved(taught, bundle, LIVE)
    assert load_bundle(bundle.path).sha256 == bundle.sha256
    assert read_learning(bundle.path).text() == "nothing better was found: this version stays"


def test_without_a_line_to_try_it_beside_the_operator_reads_why(taught, bundle, monkeypatch):
    monkeypatch.setattr("edge.bundles.shadow_trial._TAKEN_UP_S", 0.5)
    with pytest.raises(UsageError, match="no running edge-inspect took the candidate up"):
        improved(taught, bundle, shadow=5)
    assert "no better version: no running edge-inspect" in read_learning(bundle.path).text()
    assert load_bundle(bundle.path).sha256 == bundle.sha256
