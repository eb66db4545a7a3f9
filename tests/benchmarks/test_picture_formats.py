"""The table of lossless formats, on small pictures."""

import json

from benchmarks.studies import picture_formats


def test_every_format_is_timed_and_held_to_be_lossless(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(picture_formats, "SIZE", (96, 54))
    out = tmp_path / "picture-formats.json"
    assert picture_formats.main(["--pictures", "1", "--rounds", "1", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["formats"]
    assert {row["picture"] for row in rows} == {"sensor", "jpeg"}
    assert "png, ours (ISA-L)" in {row["format"] for row in rows}
    assert all(row["ms"] > 0 and row["megabytes"] > 0 for row in rows)
    assert "webp, lossless" in capsys.readouterr().out
