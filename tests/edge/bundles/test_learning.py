"""What is learned beside a line, as its operator reads it."""

import subprocess
import sys

import pytest

from edge.bundles.learning import LEARNING, Learning, note_learning, read_learning
from edge.core.errors import BundleError


def test_the_line_reads_what_the_learning_process_noted(tmp_path):
    assert read_learning(tmp_path) is None
    note_learning(tmp_path, "learning", "learning a better version, about 8 min")
    assert read_learning(tmp_path).text() == "learning a better version, about 8 min"
    note_learning(tmp_path, "over", "nothing better was found: this version stays")
    assert read_learning(tmp_path).text() == "nothing better was found: this version stays"


def test_a_process_that_has_gone_learns_nothing_more(tmp_path):
    noted = "from edge.bundles.learning import note_learning; from pathlib import Path; import sys; "
    noted += "note_learning(Path(sys.argv[1]), sys.argv[2], 'learning a better version')"
    for state, shown in [
        ("learning", "learning was stopped; edge-inspect improve goes on"),
        ("over", "learning a better version"),
    ]:
        subprocess.run([sys.executable, "-c", noted, str(tmp_path), state], check=True)
        assert read_learning(tmp_path).text() == shown
    elsewhere = read_learning(tmp_path).model_copy(update={"state": "learning", "host": "another-box"})
    assert elsewhere.text() == "learning a better version"


def test_a_file_that_is_none_of_ours_is_refused(tmp_path):
    for data in (b"", b"{}", b'{"state": "dreaming", "what": "", "host": "a", "pid": 1}'):
        (tmp_path / LEARNING).write_bytes(data)
        with pytest.raises(BundleError, match="cannot be read"):
            read_learning(tmp_path)
    assert Learning(state="over", what="a", host="b", pid=1).text() == "a"
