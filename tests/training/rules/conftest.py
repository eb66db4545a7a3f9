import pytest

from training.labelling import load_rules


@pytest.fixture
def rules(tmp_path):
    """Load rules from their text."""

    def load(text):
        path = tmp_path / "rules.yaml"
        path.write_text(text)
        return load_rules(path)

    return load
