"""`edge-inspect compare`: trains what is missing, uses what is there, and recommends."""

import json

import pytest

from edge.bundles.bundle import load_bundle
from edge.cli import main
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part

pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
pytest.importorskip("matplotlib", reason="matplotlib is not installed: no curves can be drawn")

COMMAND = ("compare", "--data", "data", "--out", "made", "--methods", "kist", "--variant", "smoke", "--steps", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data/, twenty good parts and a few test pictures."""
    place = tmp_path_factory.mktemp("comparison")
    for kind, part, first, count in (
        ("train/good", good_part, 0, 20),
        ("test/good", good_part, 500, 3),
        ("test/scratch", bad_part, 500, 3),
    ):
        (place / "data" / kind).mkdir(parents=True)
        for number in range(count):
            write_picture(place / "data" / kind / f"{number}.png", part(first + number))
    return place


@pytest.fixture
def run(place, monkeypatch, capsys):
    """Runs the command there: exit code, standard output, standard error."""
    monkeypatch.chdir(place)

    def command(*arguments):
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return command


def test_every_method_is_measured_beside_the_baselines_and_trained_only_once(run, place):
    code, output, errors = run(*COMMAND)
    assert code == 0
    assert "training kist smoke" in errors
    result = json.loads((place / "made" / "compare.json").read_text())
    assert [detector["name"] for detector in result["detectors"]][:3] == ["kist", "variation model", "eigen-images"]
    kist = result["detectors"][0]
    assert {"image_auroc", "fpr_at_95", "score_ms_p50"} <= kist["mean"].keys()
    assert 0 <= kist["artificial_auroc"][0] <= 1
    assert result["recommendation"]["text"] in output
    assert "data:image/png" in (place / "made" / "compare.html").read_text()

    sha256 = load_bundle(place / "made" / "bundles" / "kist-smoke-seed0-steps2").sha256
    code, output, errors = run(*COMMAND, "--json")
    assert code == 0
    assert "kist-smoke-seed0-steps2: made before, used again" in errors
    assert "training kist" not in errors
    assert load_bundle(place / "made" / "bundles" / "kist-smoke-seed0-steps2").sha256 == sha256
    aurocs = [[d["mean"]["image_auroc"] for d in each["detectors"]] for each in (result, json.loads(output))]
    assert aurocs[0] == aurocs[1]

    # a bundle for another budget is not quietly taken for this one
    code, _, errors = run(*COMMAND, "--false-reject", "2")
    assert (code, "was made from other good parts, or for another false-reject budget" in errors) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--methods", "guess"), "unknown method 'guess'"),
        (("--methods", "all", "--variant", "vast"), "no method has the variant 'vast'"),
        (("--seeds", "1,1"), "give different numbers"),
        (("--data", "nowhere"), "evaluation needs test/good/"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(run, place, arguments, words):
    code, output, errors = run(*COMMAND[:3], "--out", "refused", *arguments)
    assert (code, output) == (2, "")
    assert words in errors
    assert not (place / "refused").exists()
