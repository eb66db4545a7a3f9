"""config.yaml → settings, strictly: an unknown key is an error with its line and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from edge.core.config import Settings
from edge.core.errors import ConfigError
from edge.core.files.yaml_file import line_of_key, nearest, read_yaml, refuse_repeated_keys, shortened

_KEYS_FIX = "compare with the documented config.yaml, which lists every key"


@dataclass(frozen=True)
class OptionValue:
    """What an option of the command line says about one key of the settings. key: such as `record.directory`."""

    option: str
    key: str
    value: Any


def load_settings(path: Path | None, options: Sequence[OptionValue] = ()) -> Settings:
    """Read a configuration file, with options of the command line in place of what it says.

    path: None for the defaults. Raises ConfigError naming the line, the value and the nearest valid key; where an
    option breaks a rule that the file keeps, it names the option.
    """
    root, values = (None, {}) if path is None else _read(path)
    try:
        return Settings.model_validate(_with_options(values, options))
    except ValidationError as error:
        own = _error_of(values)
        if own is not None and path is not None:
            raise _explained(path, root, own) from error
        # those without which the others are accepted, else all of them
        one_by_one = [
            each.option for each in options if _error_of(_with_options(values, set(options) - {each})) is None
        ]
        names = one_by_one or [each.option for each in options]
        fix = f"leave {' or '.join(names)} out, or change {path or 'the settings'}"
        raise ConfigError(f"{' and '.join(names)}: {reason_of(error)}", fix=fix) from error


def _read(path: Path) -> tuple[yaml.Node | None, dict[str, Any]]:
    file = read_yaml(path, ConfigError, "the path given to --config", "the documented config.yaml")
    values = file.values()
    if values is not None and not isinstance(values, dict):
        found = type(values).__name__
        raise ConfigError(f"{path}: expected sections such as `camera:`, got {found}", fix=_KEYS_FIX)
    refuse_repeated_keys(path, file.root)
    return file.root, values or {}


def _with_options(values: dict[str, Any], options: Iterable[OptionValue]) -> dict[str, Any]:
    merged = dict(values)
    for option in options:
        section, key = option.key.split(".")
        # what is no section is refused as it stands in the file
        if isinstance(given := merged.get(section, {}), dict):
            merged[section] = {**given, key: option.value}
    return merged


def _error_of(values: dict[str, Any]) -> ValidationError | None:
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        return error
    return None


def reason_of(error: ValidationError, position: int = 0) -> str:
    """One problem of a file's values in words; with the value, unless the words have it."""
    first = error.errors()[position]
    got = "" if first["type"] == "value_error" else f", got {shortened(repr(first['input']))}"
    return first["msg"].removeprefix("Value error, ") + got


def _explained(path: Path, root: yaml.Node | None, error: ValidationError) -> ConfigError:
    """One message for the first problem; the others are counted, since they often follow from it."""
    problems = error.errors()
    first = problems[0]
    keys = tuple(first["loc"])
    where = f"{path}, line {line_of_key(root, keys)}: {'.'.join(str(key) for key in keys) or 'settings'}"
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return ConfigError(f"{where}: unknown key{more}", fix=nearest(str(keys[-1]), _valid_keys(keys[:-1])))
    if first["type"] == "model_type":
        keys_here = ", ".join(_valid_keys(keys))
        return ConfigError(
            f"{where}: expected keys below it, got {shortened(repr(first['input']))}{more}",
            fix=f"give keys below it, or leave it out; allowed here: {keys_here}",
        )
    fix = "change one of the values named" if first["type"] == "value_error" else _KEYS_FIX
    return ConfigError(f"{where}: {reason_of(error)}{more}", fix=fix)


def _valid_keys(section: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for key in section:
        if isinstance(key, int):
            # an entry of a list, whose kind the key before has given
            continue
        annotation = model.model_fields[str(key)].annotation
        if get_origin(annotation) is list:
            (annotation,) = get_args(annotation)
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation
    return list(model.model_fields)
