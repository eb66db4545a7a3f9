"""golden: a bundle learns how much good parts differ from their golden pictures; runs and evaluations then compare."""

import json

import cv2
import numpy as np
import pytest

from benchmarks.quality.accuracy import evaluate_bundle
from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.bundles.versions import roll_back
from edge.capture.images.image_reader import PLAIN
from edge.cli import main
from edge.core.config import Settings
from tests.fakes import write_picture
from tests.small_bundle import good_part, make_bundle

GOLDEN = good_part(0)


def shown(seed, scratch=False):
    """The golden part as a camera shows it again: a pixel off, and noisy. scratch: a soft spot the network misses."""
    random = np.random.default_rng(seed)
    step = np.float32([[1, 0, random.integers(-1, 2)], [0, 1, random.integers(-1, 2)]])
    picture = cv2.warpAffine(GOLDEN, step, GOLDEN.shape[1::-1], borderMode=cv2.BORDER_REPLICATE).astype(float)
    if scratch:
        # as smooth as the part itself: a blurring network reproduces it
        y, x = np.mgrid[: GOLDEN.shape[0], : GOLDEN.shape[1]]
        picture += 45 * np.exp(-(((y - 12) / 6.0) ** 2) - ((x - 14) / 6.0) ** 2)[..., None]
    return np.clip(picture + random.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def bundle_path(tmp_path):
    return make_bundle(tmp_path / "plate").path


@pytest.fixture
def data(tmp_path):
    """train/good, test/good and test/scratch, and for each picture of test/ its own golden one in reference/."""
    for kind, seeds in {"train/good": range(12), "test/good": range(20, 28), "test/scratch": range(40, 46)}.items():
        for folder in (kind, f"reference/{kind}"):
            (tmp_path / "data" / folder).mkdir(parents=True)
        for seed in seeds:
            write_picture(tmp_path / "data" / kind / f"{seed}.png", shown(seed, scratch="scratch" in kind))
            if kind.startswith("test"):
                write_picture(tmp_path / "data/reference" / kind / f"{seed}.bmp", GOLDEN)
    return tmp_path / "data"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def judged(capsys, bundle_path, pictures, *options):
    capsys.readouterr()
    options = ("run", "--camera", pictures, "--bundle", bundle_path, "--no-record", "--json", *options)
    assert run(*options) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_golden_picture_becomes_part_of_the_bundle_and_finds_what_the_network_does_not(
    bundle_path, data, tmp_path, capsys
):
    before = judged(capsys, bundle_path, data / "test/scratch")
    golden = write_picture(tmp_path / "golden.png", GOLDEN)
    assert run("golden", "--bundle", bundle_path, "--data", data, "--reference", golden, "--false-reject", 10) == 0
    assert "12 good parts differ by up to" in capsys.readouterr().err
    golden.unlink()
    scratched = judged(capsys, bundle_path, data / "test/scratch")
    assert [verdict["decision"] for verdict in before].count("NG") < 6
    assert {verdict["decision"] for verdict in scratched} == {"NG"}
    assert all(abs(verdict["regions"][0]["x"] - 8) < 10 for verdict in scratched)
    passed = [verdict["decision"] for verdict in judged(capsys, bundle_path, data / "test/good")]
    assert passed.count("OK") >= 7


def test_the_change_is_a_version_that_is_shown_and_can_be_gone_back_from(bundle_path, data, tmp_path, capsys):
    before = load_bundle(bundle_path)
    golden = write_picture(tmp_path / "golden.png", GOLDEN)
    assert run("golden", "--bundle", bundle_path, "--data", data, "--reference", golden) == 0
    made = load_bundle(bundle_path)
    made.verify()
    assert read_history(bundle_path)[-1].action == "golden"
    # the network's own threshold is as it was
    assert made.calibration("fp32").to_bytes() == before.calibration("fp32").to_bytes()
    capsys.readouterr()
    assert run("bundle", "show", "--bundle", bundle_path) == 0
    assert "golden picture" in capsys.readouterr().out
    roll_back(bundle_path)
    assert load_bundle(bundle_path).manifest.golden is None


def test_a_folder_of_golden_pictures_is_given_to_the_run_and_a_picture_without_one_is_invalid(
    bundle_path, data, capsys
):
    reference = data / "reference"
    assert run("golden", "--bundle", bundle_path, "--data", data / "test/good", "--reference", reference) == 0
    assert "golden" not in load_bundle(bundle_path).manifest.files
    assert run("run", "--camera", data / "test/good", "--bundle", bundle_path, "--no-record") == 2
    assert "compares each picture with a golden one" in capsys.readouterr().err
    (reference / "test/scratch/41.bmp").unlink()
    verdicts = judged(capsys, bundle_path, data / "test/scratch", "--reference", reference)
    by_name = {verdict["source"][-6:]: verdict for verdict in verdicts}
    assert by_name["41.png"]["reason"] == "no_reference" and by_name["41.png"]["decision"] == "INVALID"
    assert "no golden picture for 41.png" in by_name["41.png"]["detail"]
    assert {verdict["decision"] for name, verdict in by_name.items() if name != "41.png"} == {"NG"}


def test_good_parts_without_golden_pictures_are_left_out_and_too_few_are_refused(bundle_path, data, capsys):
    reference = data / "reference"
    (reference / "test/good/20.bmp").unlink()
    assert run("golden", "--bundle", bundle_path, "--data", data / "test/good", "--reference", reference) == 0
    assert "7 good parts differ" in (said := capsys.readouterr().err) and "1 others have no golden picture" in said
    assert run("golden", "--bundle", bundle_path, "--data", data / "train/good", "--reference", reference) == 2
    assert "12 have none" in capsys.readouterr().err


def test_a_golden_picture_for_a_bundle_that_compares_with_none_is_refused(bundle_path, data, capsys):
    options = ("--bundle", bundle_path, "--no-record", "--reference", data / "reference")
    assert run("run", "--camera", data / "test/good", *options) == 2
    assert "edge-inspect golden" in capsys.readouterr().err


def test_evaluate_compares_with_the_reference_folder_and_leaves_out_what_the_level_was_fitted_on(
    bundle_path, data, tmp_path
):
    settings = Settings()
    _, alone = evaluate_bundle(load_bundle(bundle_path), data, settings, PLAIN, "fp32")
    for seed in range(20, 26):
        (tmp_path / "some/test/good").mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / f"some/test/good/{seed}.png", shown(seed))
    fitted_on = ("--data", tmp_path / "some/test/good", "--reference", data / "reference")
    assert run("golden", "--bundle", bundle_path, *fitted_on) == 0
    _, both = evaluate_bundle(load_bundle(bundle_path), data, settings, PLAIN, "fp32")
    assert (alone["n_good"], both["n_good"], both["n_left_out"]) == (8, 2, 6)
    assert both["image_auroc"] == 1.0 and both["recall"] == 1.0 > alone["recall"]


def test_calibrating_again_keeps_the_comparison_and_another_region_asks_for_a_new_one(
    bundle_path, data, tmp_path, capsys
):
    golden = write_picture(tmp_path / "golden.png", GOLDEN)
    assert run("golden", "--bundle", bundle_path, "--data", data, "--reference", golden) == 0
    fitted = load_bundle(bundle_path).manifest.golden
    assert run("calibrate", "--bundle", bundle_path, "--data", data) == 0
    assert load_bundle(bundle_path).manifest.golden == fitted
    assert {verdict["decision"] for verdict in judged(capsys, bundle_path, data / "test/scratch")} == {"NG"}
    config = tmp_path / "config.yaml"
    config.write_text("roi:\n  rectangle: [0, 0, 40, 40]\n")
    assert run("calibrate", "--bundle", bundle_path, "--data", data, "--config", config) == 0
    assert run("run", "--camera", data / "test/good", "--bundle", bundle_path, "--no-record") == 4
    assert "another region" in capsys.readouterr().err


def test_each_recipe_compares_with_its_own_golden_picture(bundle_path, data, tmp_path, capsys):
    golden = write_picture(tmp_path / "golden.png", GOLDEN)
    assert run("golden", "--bundle", bundle_path, "--data", data, "--reference", golden, "--false-reject", 10) == 0
    # another product: what is a scratch on the first belongs to it
    other = write_picture(tmp_path / "other.png", shown(41, scratch=True))
    (tmp_path / "recipes.yaml").write_text(
        f"1: {{name: plain, bundle: '{bundle_path}'}}\n"
        f"2: {{name: spotted, bundle: '{bundle_path}', reference: '{other}'}}\n"
    )
    for start, rejected in (("plain", "test/scratch"), ("spotted", "test/good")):
        config = tmp_path / f"{start}.yaml"
        config.write_text(f"recipes: {{file: '{tmp_path}/recipes.yaml', start: {start}}}")
        for pictures in ("test/good", "test/scratch"):
            capsys.readouterr()
            assert run("run", "--camera", data / pictures, "--config", config, "--no-record", "--json") == 0
            verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            assert {verdict["recipe"] for verdict in verdicts} == {start}
            mostly = sum(verdict["decision"] == "NG" for verdict in verdicts) > len(verdicts) / 2
            assert mostly == (pictures == rejected), (start, pictures)
