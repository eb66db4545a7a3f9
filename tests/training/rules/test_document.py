"""docs/models/rules.md against the program: its examples load, and its table is the catalogue of features."""

import re

from tests.paths import ROOT
from training.labelling import load_rules
from training.rules.features import FEATURES

TEXT = (ROOT / "docs" / "models" / "rules.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_every_example_loads(tmp_path, subtests):
    assert EXAMPLES
    for example in EXAMPLES:
        with subtests.test(example=example):
            (tmp_path / "rules.yaml").write_text(example)
            load_rules(tmp_path / "rules.yaml")


def test_the_table_lists_every_feature_with_its_meaning_scale_and_words():
    for feature in FEATURES.values():
        own = [f"`{word}`" for word in feature.words if word not in ("low", "medium", "high")]
        row = f"| `{feature.name}` | {feature.meaning} | {feature.scaling} | {', '.join(own) or '–'} |"
        assert row in TEXT
