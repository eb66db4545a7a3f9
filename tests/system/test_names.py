"""Names that are no text, as file systems allow them, from the command line to the records and back."""

import os

from tests.system.command_line import edge, rows


def test_folders_whose_names_cannot_be_decoded_are_inspected_and_recorded_into(line, bundle_path, tmp_path):
    parts, records, bundle = (os.fsdecode(name) for name in (b"gut\xe9", b"rec\xe9", b"bundle\xe9"))
    (tmp_path / parts).symlink_to(line)
    (tmp_path / bundle).symlink_to(bundle_path)
    result = edge("--camera", parts, "--record-dir", records, "--bundle", bundle, cwd=tmp_path)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    assert len(rows(tmp_path / records)) == 6
    report = edge("report", "--record-dir", records, cwd=tmp_path)
    assert report.returncode == 0
    assert "gut\\udce9" in report.stdout
