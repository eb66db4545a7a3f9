"""What `teach` starts when it has a bundle: commands that the program knows."""

import argparse

from calibration.samples.sample_folder import sample_folder
from edge.bundles.bundle import load_bundle
from edge.cli import main
from edge.cli.teach.start import improve_options


def test_what_is_learned_beside_the_line_is_told_the_settings_file(bundle_path, tmp_path, capsys):
    (tmp_path / "line.yaml").touch()
    options = argparse.Namespace(config=tmp_path / "line.yaml", minutes=1.0, seed=0, layout=None)
    with sample_folder(tmp_path / "samples") as folder:
        words = [str(word) for word in improve_options(load_bundle(bundle_path), folder, options)]
    assert main(words) == 2
    said = capsys.readouterr().err
    # it was understood: only the good parts are missing
    assert "knows no" not in said and "good" in said
