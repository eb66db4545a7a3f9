from pathlib import Path

import pytest

from benchmarks.studies.fleet.boxes import Box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """It has recorded nothing yet."""
    return Box("hall-3", "left", tmp_path / "records", tmp_path / "tables")
