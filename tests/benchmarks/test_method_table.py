"""The accuracy page says what the result files say, and nothing else."""

import json

from benchmarks.quality.method_table import main, method_page


def network(data_set, model, auroc, std=0.0, seeds=1, precision="int8"):
    summary = {"image_auroc": {"mean": auroc, "std": std}, "pixel_auroc": None}
    return {
        "data_set": data_set,
        "model": model,
        "over_seeds": {precision: summary},
        "seeds": [{"steps": 100, "gmac": 2.0, precision: {"score_ms_p50": 9.51}}] * seeds,
    }


def results(folder):
    without = {"image_auroc": 0.93, "image_ap": 0.5, "pixel_auroc": None, "pixel_ap": None, "aupro_30": None}
    files = {
        "accuracy-plates-a.json": network("plates", "slsg tiny", 0.91, 0.0123, seeds=3),
        "accuracy-plates-b.json": network("plates", "kist tiny", 0.95),
        "baselines-plates.json": {"baselines": {"eigen-images": without | {"fpr_at_95": 0.25}}},
    }
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values))
    return folder


def test_models_stand_best_first_with_their_spread_and_then_what_needs_no_network(tmp_path):
    lines = method_page(results(tmp_path)).splitlines()
    rows = [line for line in lines if line.startswith("|") and not line.startswith(("| model", "| ---"))]
    assert rows == [
        "| kist tiny | 1 | 100 | 0.950 | – | – | – | – | – | 2 | 9.5 | – |",
        "| slsg tiny | 3 | 100 | 0.910 ± 0.012 | – | – | – | – | – | 2 | 9.5 | – |",
        "| *eigen-images* | – | – | 0.930 | 0.500 | – | – | – | 0.250 | – | – | – |",
    ]
    assert any("`baselines-plates.json`" in line for line in lines)


def test_what_others_reach_stands_in_the_same_ranking_with_its_file(tmp_path):
    folder = results(tmp_path)
    other = network("plates", "anomalib PaDiM", 0.93, precision="fp32")
    (folder / "third-party-accuracy-plates-padim.json").write_text(json.dumps(other))
    lines = method_page(folder).splitlines()
    rows = [line.split(" | ")[0] for line in lines if line.startswith("|")][2:]
    assert rows == ["| kist tiny", "| anomalib PaDiM", "| slsg tiny", "| *eigen-images*"]
    assert any("`third-party-accuracy-plates-padim.json`" in line for line in lines)


def test_the_page_is_written_where_asked(tmp_path, capsys):
    assert main(["--results", str(results(tmp_path)), "--out", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == capsys.readouterr().out.removesuffix("\n")
