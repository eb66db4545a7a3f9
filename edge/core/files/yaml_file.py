"""YAML files that people write, read strictly: nothing that is another number than it looks, nothing that grows.

Like edge/core/config.py this imports neither cv2 nor numpy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge.core.errors import ConfigError

# a hundred times the documented file; PyYAML reads a megabyte in seconds
MOST_BYTES = 1_000_000
DEEPEST = 20
_LONGEST_SHOWN = 120

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9][0-9_]*")
_OTHER_THAN_IT_LOOKS = re.compile(r"[_:]")
_RESOLVE: Callable[..., str] = yaml.resolver.Resolver().resolve
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


@dataclass(frozen=True)
class YamlFile:
    """A file whose YAML is sound; root: its nodes, which know their lines, None when it is empty."""

    path: Path
    text: str
    root: yaml.Node | None
    _refusal: _Refusal

    def values(self) -> Any:
        """What the file says, as dictionaries, lists and plain values. Raises as `read_yaml` does."""
        try:
            return yaml.safe_load(self.text)
        # dates that do not exist and numbers of thousands of digits are ValueErrors
        except (yaml.YAMLError, ValueError) as error:
            raise self._refusal.of(error) from error


@dataclass(frozen=True)
class Key:
    """A key of a mapping. earlier: the line in which the mapping has the same key already; None: nowhere."""

    node: yaml.Node
    name: str
    value: yaml.Node
    earlier: int | None

    @property
    def line(self) -> int:
        return line_of(self.node)


def line_of(node: yaml.Node) -> int:
    """The line on which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


def keys_of(node: yaml.Node | None, *, fold_case: bool = False) -> Iterator[Key]:
    """The keys of a mapping in the order of the file, none for any other node; fold_case: in lower case.

    YAML would silently take the last of two keys of one name; the reader may have seen the first. A key that is not a
    plain word has the name "".
    """
    lines: dict[str, int] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        name = name.lower() if fold_case else name
        yield Key(key, name, value, lines.get(name))
        lines.setdefault(name, line_of(key))


def refuse_repeated_keys(path: Path, root: yaml.Node | None) -> None:
    """Raise ConfigError where a key is given twice in one place."""
    nodes = [root]
    for node in nodes:
        for key in keys_of(node):
            nodes.append(key.value)
            if key.earlier is not None:
                raise ConfigError(
                    f"{path}, line {key.line}: {key.name} is already given in line {key.earlier}",
                    fix="keep one of the two lines",
                )


def line_of_key(root: yaml.Node | None, path: Sequence[object]) -> int:
    """The line of the key at the end of a path of keys, or of the innermost of its parents that the file gives."""
    line, node = 1, root
    for name in path:
        key = next((key for key in keys_of(node) if key.name == str(name)), None)
        if key is None:
            break
        line, node = key.line, key.value
    return line


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`did you mean ...?` for a misspelt word, or the list of what is allowed."""
    known = list(allowed)
    found = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"did you mean `{found[0]}`?" if found else f"allowed here: {', '.join(known)}"


@dataclass(frozen=True)
class _Refusal:
    path: Path
    kind: type[ConfigError]
    example: str

    def error(self, line: int | None, what: str, fix: str) -> ConfigError:
        where = f"{self.path}" if line is None else f"{self.path}, line {line}"
        return self.kind(f"{where}: {what}", fix=fix)

    def of(self, error: Exception) -> ConfigError:
        mark = getattr(error, "problem_mark", None)
        what = shortened(str(getattr(error, "problem", None) or error))
        fix = f"compare with {self.example}; indent with spaces, two per level"
        return self.error(None if mark is None else mark.line + 1, f"not valid YAML ({what})", fix)


def read_yaml(path: Path, kind: type[ConfigError], option: str, example: str) -> YamlFile:
    """Read a file of settings or rules; raises `kind` naming file, line and what to write instead.

    option: where the path comes from, for when there is no such file. example: what a good file can be seen in.
    """
    refusal = _Refusal(path, kind, example)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise kind(f"{path}: {error.strerror}", fix=f"check {option}") from error
    except UnicodeDecodeError as error:
        raise kind(f"{path}: not UTF-8 text ({error.reason})", fix="save the file as UTF-8") from error
    if len(data) > MOST_BYTES:
        raise refusal.error(None, f"larger than {MOST_BYTES / 1e6:g} MB", f"check the path; compare with {example}")
    try:
        # the events come one by one: what would grow is refused before anything is built of it
        _refuse_what_surprises(text, refusal)
        return YamlFile(path, text, yaml.compose(text, Loader=yaml.SafeLoader), refusal)
    except yaml.YAMLError as error:
        raise refusal.of(error) from error


def shortened(text: str) -> str:
    """One line of it, of bounded length."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"


def _refuse_what_surprises(text: str, refusal: _Refusal) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        assert event.start_mark is not None, "given by the parser"
        line = event.start_mark.line + 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise refusal.error(
                    line, f"not valid YAML (nested more than {DEEPEST} deep)", f"compare with {refusal.example}"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise refusal.error(
                line, f"`{sign}{shortened(event.anchor)}` refers to another place", "write the value out"
            )
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise refusal.error(
                line, f"not valid YAML (the type `{shortened(tag)}` is not known here)", "write the plain value"
            )
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            _refuse_unclear_number(event.value, line, refusal)


def _refuse_unclear_number(written: str, line: int, refusal: _Refusal) -> None:
    """YAML 1.1 reads 01000 as 512 and 10:00 as 600, YAML 1.2 does not: what was meant is not known."""
    tag = _RESOLVE(yaml.ScalarNode, written, (True, False))
    unclear = tag == _NUMBERS[0] and not _WHOLE.fullmatch(written)
    unclear = unclear or (tag == _NUMBERS[1] and _OTHER_THAN_IT_LOOKS.search(written) is not None)
    if unclear or _LEADING_ZERO.fullmatch(written):
        shown = shortened(written)
        raise refusal.error(
            line,
            f"`{shown}` is not clear: YAML has notations of numbers with a leading 0, with : and with _",
            f'write a plain number such as 1000, or "{shown}" in quotation marks where text is meant',
        )
