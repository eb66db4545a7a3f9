"""Pictures and a model that come with the program, so that it can be tried, retrained and recalibrated at once."""

from __future__ import annotations

from pathlib import Path

_ALIENS = Path(__file__).parent / "aliens"


def sample_data() -> Path:
    """The data set's folder: train/good, test/good, test/anomaly, manifest.csv, LICENSE (of the pictures)."""
    return _ALIENS


def sample_line() -> list[Path]:
    """The pictures in the order a camera over the line would show them; all from test/, none seen in training."""
    names = (_ALIENS / "line.txt").read_text(encoding="utf-8").split()
    return [_ALIENS / name for name in names]


def sample_bundle() -> Path:
    """The model bundle trained and calibrated on train/good."""
    return _ALIENS / "bundle"
