from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from edge.cli.parser import parse
from edge.core.config import Settings
from edge.core.errors import ConfigError, UsageError
from edge.core.files.settings_file import load_settings
from tests.paths import ROOT

DOCUMENTED = ROOT / "config.yaml"


def _load(tmp_path: Path, text: str | bytes) -> Settings:
    path = tmp_path / "line.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(path)


def _refused(tmp_path: Path, text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    assert caught.value.exit_code == 2
    assert caught.value.fix
    return caught.value


def _leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += _leaves(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _written(values, prefix=""):
    keys = []
    for name, value in values.items():
        keys += _written(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return keys


def test_config_yaml_is_the_defaults():
    assert load_settings(DOCUMENTED) == Settings()


def test_config_yaml_lists_every_key_once_in_the_order_of_the_settings():
    values = yaml.safe_load(DOCUMENTED.read_text(encoding="utf-8"))
    assert _written(values) == _leaves(Settings)


def test_a_section_inside_a_section_is_as_strict(tmp_path):
    error = _refused(tmp_path, "camera:\n  genicam:\n    exposure: 10\n")
    assert "line 3: camera.genicam.exposure: unknown key" in error.message and "exposure_us" in error.fix
    error = _refused(tmp_path, "camera:\n  genicam:\n    gain_db: 1\n    gain_db: 2\n")
    assert "line 4: gain_db is already given in line 3" in error.message


def test_an_empty_file_and_a_missing_key_mean_the_defaults(tmp_path):
    assert _load(tmp_path, "") == Settings()
    assert _load(tmp_path, "# nothing\n") == Settings()
    changed = _load(tmp_path, "view:\n  refresh_per_second: 1\n")
    assert changed.view.refresh_per_second == 1
    assert changed.camera == Settings().camera


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest(tmp_path):
    error = _refused(tmp_path, "camera:\n  fps: 10\n  read_timout_ms: 100\n")
    assert "line 3: camera.read_timout_ms: unknown key" in error.message
    assert error.fix == "did you mean `read_timeout_ms`?"


def test_an_unknown_section_is_refused_with_the_nearest(tmp_path):
    error = _refused(tmp_path, "camera:\n  fps: 10\nrecords:\n  directory: here\n")
    assert "line 3: records: unknown key" in error.message
    assert error.fix == "did you mean `record`?"


def test_an_unknown_key_like_no_other_lists_what_is_valid(tmp_path):
    error = _refused(tmp_path, "view:\n  zzzzzz: 1\n")
    assert error.fix == "allowed here: live, refresh_per_second"


def test_a_wrong_value_is_refused_with_line_key_and_value(tmp_path, subtests):
    for text, where, value in [
        ("camera:\n  open_timeout_ms: soon\n", "line 2: camera.open_timeout_ms", "'soon'"),
        ("camera:\n  open_timeout_ms: '5000'\n", "line 2: camera.open_timeout_ms", "'5000'"),
        ("camera:\n  open_timeout_ms: 0\n", "line 2: camera.open_timeout_ms", "0"),
        ("metrics:\n  address: ''\n", "line 2: metrics.address", "''"),
        ("metrics:\n  port: 65536\n", "line 2: metrics.port", "65536"),
        ("line:\n  name: a/b\n", "line 2: line.name", "'a/b'"),
        ("camera:\n  open_timeout_ms: 1.5\n", "line 2: camera.open_timeout_ms", "1.5"),
        ("camera:\n  sensor_bits: 9\n", "line 2: camera.sensor_bits", "9"),
        ("freshness:\n  black_share: 1.5\n", "line 2: freshness.black_share", "1.5"),
        ("freshness:\n  black_share: .nan\n", "line 2: freshness.black_share", "nan"),
        ("camera:\n  fps: .inf\n", "line 2: camera.fps", "inf"),
        ("inspection:\n  backend: tensorflow\n", "line 2: inspection.backend", "'tensorflow'"),
        ("inspection:\n  threads: true\n", "line 2: inspection.threads", "True"),
        ("record:\n  commit_every_ms: 5000\n", "line 2: record.commit_every_ms", "5000"),
        ("record:\n  directory: 7\n", "line 2: record.directory", "7"),
        ("camera: 5\n", "line 1: camera", "5"),
        ("camera:\n", "line 1: camera", "None"),
    ]:
        with subtests.test(where=where, value=value):
            error = _refused(tmp_path, text)
            assert where in error.message
            assert f"got {value}" in error.message


def test_an_impossible_combination_is_refused_with_both_values(tmp_path, subtests):
    for text, says in [
        ("camera:\n  reopen_first_ms: 9000\n", "reopen_first_ms (9000) is above reopen_max_ms (5000)"),
        ("camera:\n  width_px: 640\n", "width_px and height_px go together"),
        ("freshness:\n  expected_height_px: 480\n", "expected_width_px and expected_height_px go together"),
        ("mqtt:\n  password_file: secret\n", "password_file needs user"),
        ("opcua:\n  port: 4840\n  folder: opcua\n", "port needs nodeset"),
        (
            "opcua:\n  lines: [" + 2 * "{name: a, run_directory: r, records: s}, " + "]\n",
            "two lines have the same name",
        ),
        ("mqtt:\n  tls: true\n  key_file: k.pem\n", "certificate_file and key_file go together"),
        ("mqtt:\n  ca_file: ca.pem\n", "need tls: true"),
        ("plc:\n  port: 1502\n  address: 0.0.0.0\n", "allow must name the PLC's address"),
        ("plc:\n  port: 1502\n  address: box.plant\n", "allow must name the PLC's address"),
        ("plc:\n  allow: [plc-7]\n", "allow: 'plc-7' does not appear to be an IPv4 or IPv6 network"),
        ("plc:\n  allow: [10.0.0.1/8]\n", "has host bits set; write 192.168.0.10, or a network"),
        ("outputs:\n  chip: /dev/gpiochip0\n", "chip and ok_line go together"),
        ("outputs:\n  ng_line: 3\n", "need chip and ok_line"),
        ("outputs:\n  chip: /dev/gpiochip0\n  ok_line: 3\n  ng_line: 3\n", "must be different lines, got [3, 3]"),
        ("freshness:\n  black_level: 250\n", "black_level (250) must be below saturated_level (250)"),
        ("roi:\n  rectangle: [0, 0, 10]\n", "rectangle needs [x, y, width, height], got 3 numbers"),
        ("roi:\n  rectangle: [0, 0, 0, 5]\n", "width and height > 0"),
        ("roi:\n  rectangle: [-1, 0, 5, 5]\n", "x and y must be >= 0"),
        ("roi:\n  polygon: [[0, 0], [1, 1]]\n", "polygon needs three or more [x, y] corners"),
        ("roi:\n  polygon: [[0, 0], [1, 1], [2]]\n", "polygon needs three or more [x, y] corners"),
        ("inspection:\n  deadline_ms: 100\n", "inspection.deadline_ms (100) is below freshness.max_age_ms (500)"),
    ]:
        with subtests.test(says=says):
            error = _refused(tmp_path, text)
            assert says in error.message
            assert "Value error" not in error.message


def test_further_problems_are_counted(tmp_path):
    error = _refused(tmp_path, "camera:\n  fps: no number\n  open_timeout_ms: -1\n  nonsense: 1\n")
    assert "(2 more after this one)" in error.message


def test_what_is_not_yaml_is_refused_with_its_line(tmp_path):
    for text in ["camera: [1, 2\n", "camera:\n\tfps: 1\n", "a: b: c\n", "{{{\n", "camera: !!python/x 1\n"]:
        error = _refused(tmp_path, text)
        assert "line " in error.message, text
        assert "not valid YAML" in error.message, text


def test_what_has_no_sections_is_refused(tmp_path):
    for text in ["- a\n- b\n", "just words\n", "42\n"]:
        assert "expected sections" in _refused(tmp_path, text).message, text


def test_two_documents_in_one_file_are_refused(tmp_path):
    _refused(tmp_path, "view:\n  refresh_per_second: 1\n---\nview:\n  refresh_per_second: 2\n")


def test_a_key_written_twice_is_refused(tmp_path):
    error = _refused(tmp_path, "camera:\n  fps: 10\n  fps: 20\n")
    assert "line 3: fps is already given in line 2" in error.message
    error = _refused(tmp_path, "view:\n  live: off\ncamera:\n  fps: 10\nview:\n  live: on\n")
    assert "line 5: view is already given in line 1" in error.message


def test_a_number_as_key_is_refused(tmp_path):
    _refused(tmp_path, "camera:\n  1: 2\n")
    _refused(tmp_path, "1:\n  fps: 2\n")


def test_what_is_not_utf8_is_refused(tmp_path):
    assert "not UTF-8" in _refused(tmp_path, b"camera:\n  fps: \xff\xfe\n").message


def test_a_missing_file_and_a_directory_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file"):
        load_settings(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="directory"):
        load_settings(tmp_path)


def test_settings_cannot_be_changed_later():
    with pytest.raises(ValueError, match="frozen"):
        Settings().camera.fps = 5.0  # type: ignore[misc]


# notations that surprise


def test_a_number_that_yaml_reads_as_another_than_it_looks_is_refused_with_its_line(tmp_path):
    for written in ["01000", "010", "-010", "08", "-08", "0_1", "10:00", "1:30.5", "1_000", "0x1F", "0b101", "1_0.5"]:
        error = _refused(tmp_path, f"inspection:\n  threads: null\n  deadline_ms: {written}\n")
        assert f"line 3: `{written}` is not clear" in error.message, written
        assert "1000" in error.fix, written


def test_plain_numbers_are_read(tmp_path, subtests):
    for written in ["0", "7", "+7", "0.5", "00.5", ".5", "1000000"]:
        with subtests.test(written=written):
            # strict settings take no float for a whole number, and a whole number for a float
            key = "gate: {missed_share" if float(written) <= 1 else "record: {queue_frames"
            _load(tmp_path, f"{key}: {written}}}\n")


def test_text_in_quotation_marks_may_look_like_such_a_number(tmp_path):
    assert _load(tmp_path, 'record: {directory: "01000"}\n').record.directory == "01000"


def test_what_grows_or_is_no_setting_is_refused_in_one_short_line(tmp_path, subtests):
    for text, said in [
        ("camera: " + "[" * 5000 + "]" * 5000, "line 1: not valid YAML (nested more than"),
        ("camera: " + "{a: " * 5000 + "}" * 5000, "line 1: not valid YAML (nested more than"),
        ("a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n", "line 1: `&a` refers to another place"),
        ("camera: &a\n  fps: *a\n", "line 1: `&a` refers to another place"),
        ("camera: !!python/object/apply:os.system [ls]\n", "line 1: not valid YAML (the type"),
        ("#" * 1_100_000, "larger than 1 MB"),
        ("camera:\n  fps: 2026-13-45\n", "not valid YAML"),
        ("camera:\n  fps: " + "9" * 5000, "not valid YAML"),
        ("camera:\n  fps: 5 \0", "not valid YAML"),
        ("camera:\n  fps: '" + "5" * 9000 + "'", "line 2: camera.fps"),
    ]:
        with subtests.test(said=said):
            error = _refused(tmp_path, text)
            assert said in error.message
            assert len(error.message) < 400 + len(str(tmp_path))
            assert "\n" not in error.message


def test_a_section_whose_keys_are_all_commented_out_says_so(tmp_path):
    error = _refused(tmp_path, "camera:\n  # fps: 5\n")
    assert "line 1: camera: expected keys below it, got None" in error.message
    assert "read_timeout_ms" in error.fix


# home


def test_a_tilde_is_the_home_of_the_user_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = """
camera: {source: ~/parts, password_file: ~/password}
inspection: {bundle: ~/bundle, signed_by: ~/key.pub, engines: ~/engines}
record: {directory: ~/records}
challenge: {pictures: ~/golden}
"""
    settings = _load(tmp_path, text)
    camera, inspection = settings.camera, settings.inspection
    found = [camera.source, camera.password_file, inspection.bundle, inspection.signed_by, inspection.engines]
    found += [settings.record.directory, settings.challenge.pictures]
    names = ["parts", "password", "bundle", "key.pub", "engines", "records", "golden"]
    assert found == [str(tmp_path / name) for name in names]


def test_a_camera_is_named_by_its_number_too(tmp_path):
    assert _load(tmp_path, "camera: {source: 0}\n").camera.source == "0"
    assert _load(tmp_path, "camera: {source: demo}\n").camera.source == "demo"
    assert "camera.source" in _refused(tmp_path, "camera: {source: yes}\n").message


def test_the_home_of_another_user_is_found_and_of_nobody_refused(tmp_path):
    assert _load(tmp_path, "record: {directory: ~root/records}\n").record.directory == str(
        Path("~root").expanduser() / "records"
    )
    error = _refused(tmp_path, "record:\n  directory: ~nobody-of-this-name/records\n")
    assert "line 2: record.directory" in error.message


def test_a_tilde_in_the_command_line_is_expanded_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = parse(["--camera", "demo", "--record-dir=~/records", "--bundle=~/b"])
    assert (options.record_dir, options.bundle) == (tmp_path / "records", tmp_path / "b")
    with pytest.raises(UsageError, match="nobody-of-this-name"):
        parse(["--camera", "demo", "--record-dir=~nobody-of-this-name/x"])


def test_keys_of_earlier_versions_still_work(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("challenge:\n  seeded_defects: 3\n  seeded_area_percent: 1.5\n")
    challenge = load_settings(file).challenge
    assert (challenge.synthetic_defects, challenge.synthetic_area_percent) == (3, 1.5)


def test_every_nth_ok_picture_of_earlier_versions_is_as_many_at_random(tmp_path, caplog):
    assert _load(tmp_path, "record: {keep_ok_every: 50}\n").record.keep_ok_share == 0.02
    assert "keep_ok_every: 50 is replaced by keep_ok_share: 0.02" in caplog.text
    assert _load(tmp_path, "record: {keep_ok_every: 0}\n").record.keep_ok_share == 0
    for text, said in [
        ("record: {keep_ok_every: 2, keep_ok_share: 0.1}\n", "keep_ok_every is replaced by keep_ok_share"),
        ("record: {keep_ok_every: often}\n", "keep_ok_every is no whole number ('often')"),
    ]:
        assert said in _refused(tmp_path, text).message
