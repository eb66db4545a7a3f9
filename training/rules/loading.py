"""rules.yaml → RuleBook, strictly: every problem of the file at once, each with its line, its words and a way out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import yaml

from edge.core.errors import RuleError
from edge.core.files.yaml_file import keys_of, line_of, nearest, read_yaml
from training.rules.checks import problems_of
from training.rules.expression import Logic
from training.rules.features import FEATURES, Scaling
from training.rules.membership import FuzzySet, SetTextError, set_from_text
from training.rules.problems import Problem, rule_error
from training.rules.rule_text import KEYWORDS, Rule, RuleTextError, rule_from_text
from training.rules.rulebook import PictureRules, RuleBook

Word = TypeVar("Word", bound=str)

_SECTIONS = ("product", "logic", "roi", "picture", "features", "sets", "rules")
_SCALINGS = "`normal`, `range LOW HIGH` or `log LOW HIGH`"
_CONJUNCTIONS: tuple[Literal["min", "product"], ...] = ("min", "product")
_UNREADABLE = FuzzySet("auto", side="low")
_DISJUNCTIONS: tuple[Literal["max", "sum"], ...] = ("max", "sum")


def load_rules(path: Path) -> RuleBook:
    """Read an expert's rules; an empty file is an empty book. Raises RuleError with every problem of the file."""
    root = read_yaml(path, RuleError, "the path of the rules file", "`edge-inspect rules show generic`").root
    if root is None or _is_null(root):
        return RuleBook()
    reader = _Reader()
    book = reader.book(root)
    reader.problems.extend(problems_of(book))
    if reader.problems:
        raise rule_error(path, reader.problems)
    return book


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


class _Reader:
    """Walks the file's nodes, which know their lines; what cannot be used becomes a problem and is left out."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, node: yaml.Node, where: str, message: str, fix: str) -> None:
        self.problems.append(Problem(line_of(node), where, message, fix))

    def book(self, root: yaml.Node) -> RuleBook:
        sections = self.entries(root, "", _SECTIONS)
        sets = self.sets(sections["sets"]) if "sets" in sections else {}
        return RuleBook(
            product=self.text(sections["product"], "product") if "product" in sections else "",
            logic=self.logic(sections["logic"]) if "logic" in sections else Logic(),
            roi=self.roi(sections["roi"]) if "roi" in sections else None,
            picture=self.picture(sections["picture"]) if "picture" in sections else PictureRules(),
            scalings=self.scalings(sections["features"]) if "features" in sections else {},
            sets=sets,
            rules=tuple(self.rules(sections["rules"])) if "rules" in sections else (),
        )

    def entries(self, node: yaml.Node, where: str, allowed: tuple[str, ...] | None) -> dict[str, yaml.Node]:
        """The keys of a mapping, lower case; unknown and repeated ones become problems."""
        if _is_null(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            example = f"{allowed[0]}: ..." if allowed else "name: ..."
            self.problem(node, where, "expected names with a colon", f"write lines such as `{example}` below it")
            return {}
        found: dict[str, yaml.Node] = {}
        for key in keys_of(node, fold_case=True):
            place = f"{where}.{key.name}".lstrip(".")
            if not isinstance(key.node, yaml.ScalarNode):
                self.problem(key.node, where, "a name must be a word", "write `name: ...`")
            elif key.earlier is not None:
                self.problem(key.node, place, f"already given in line {key.earlier}", "keep one of them")
            elif allowed is not None and key.name not in allowed:
                what = "unknown feature" if allowed == tuple(FEATURES) else "unknown key"
                self.problem(key.node, place, what, nearest(key.name, allowed))
            else:
                found[key.name] = key.value
        return found

    def text(self, node: yaml.Node, where: str) -> str:
        if isinstance(node, yaml.ScalarNode) and not _is_null(node):
            return str(node.value)
        self.problem(node, where, "expected text", "write it behind the colon, in one line")
        return ""

    def number(self, node: yaml.Node, where: str) -> float | None:
        """A finite number written as one; a quoted one is text."""
        value = math.nan
        if isinstance(node, yaml.ScalarNode) and node.style not in ("'", '"'):
            try:
                value = float(node.value)
            except ValueError:
                value = math.nan
        if math.isfinite(value):
            return value
        got = repr(node.value) if isinstance(node, yaml.ScalarNode) else "something else"
        self.problem(node, where, f"expected a number, got {got}", "write a plain number such as 0.05")
        return None

    def numbers(self, node: yaml.Node, where: str, count: int, example: str) -> list[float]:
        """Exactly so many numbers, or an empty list and a problem."""
        if not isinstance(node, yaml.SequenceNode) or len(node.value) != count:
            self.problem(node, where, f"expected {count} numbers in brackets", f"write it as `{example}`")
            return []
        values = [self.number(item, where) for item in node.value]
        return [value for value in values if value is not None] if None not in values else []

    def logic(self, node: yaml.Node) -> Logic:
        keys = self.entries(node, "logic", ("and", "or"))
        return Logic(
            self.choice(keys["and"], "logic.and", _CONJUNCTIONS) if "and" in keys else "min",
            self.choice(keys["or"], "logic.or", _DISJUNCTIONS) if "or" in keys else "max",
        )

    def choice(self, node: yaml.Node, where: str, allowed: tuple[Word, ...]) -> Word:
        word = self.text(node, where).lower()
        for each in allowed:
            if each == word:
                return each
        if word:
            self.problem(node, where, f"`{word}` is not known", nearest(word, allowed))
        return allowed[0]

    def roi(self, node: yaml.Node) -> tuple[tuple[float, float], ...] | None:
        example = "[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]"
        if _is_null(node):
            return None
        if not isinstance(node, yaml.SequenceNode) or len(node.value) < 3:
            self.problem(node, "roi", "expected three or more corners [x, y]", f"write it as `{example}`")
            return None
        corners = []
        for item in node.value:
            pair = self.numbers(item, "roi", 2, "[0.1, 0.9]")
            if pair and not (0 <= pair[0] <= 1 and 0 <= pair[1] <= 1):
                self.problem(
                    item,
                    "roi",
                    f"the corner [{pair[0]:g}, {pair[1]:g}] lies outside the picture",
                    "corners are shares of width and height, from 0 to 1",
                )
            elif pair:
                corners.append((pair[0], pair[1]))
        if len(corners) == len(node.value) and _enclosed(corners) < 1e-6:
            self.problem(node, "roi", "the polygon encloses nothing", "give corners in order around the part")
        return tuple(corners)

    def picture(self, node: yaml.Node) -> PictureRules:
        keys = self.entries(node, "picture", ("area", "count", "inside_roi"))
        area = self.bounds(keys["area"], "picture.area", "[0.001, 0.2]") if "area" in keys else None
        count = self.bounds(keys["count"], "picture.count", "[1, 5]") if "count" in keys else None
        if area and not (area[0] >= 0 and 0 < area[1] <= 1):
            self.problem(
                keys["area"], "picture.area", f"[{area[0]:g}, {area[1]:g}] are no shares", "write shares from 0 to 1"
            )
        if count and not (count[0] >= 0 and count[1] >= 1 and all(value == int(value) for value in count)):
            self.problem(
                keys["count"], "picture.count", f"[{count[0]:g}, {count[1]:g}] are no numbers of defects",
                "write whole numbers, the second at least 1",
            )  # fmt: skip
        inside = self.number(keys["inside_roi"], "picture.inside_roi") if "inside_roi" in keys else None
        if inside is not None and not 0 <= inside <= 1:
            self.problem(keys["inside_roi"], "picture.inside_roi", f"{inside:g} is no share", "write 0 to 1")
        whole = (int(count[0]), int(count[1])) if count else None
        return PictureRules(area, whole) if inside is None else PictureRules(area, whole, inside)

    def bounds(self, node: yaml.Node, where: str, example: str) -> tuple[float, float] | None:
        values = self.numbers(node, where, 2, example)
        if not values:
            return None
        low, high = values
        if low > high:
            self.problem(
                node,
                where,
                f"the lower bound {low:g} is above the upper bound {high:g}",
                f"write `[{high:g}, {low:g}]`",
            )
            return None
        return low, high

    def scalings(self, node: yaml.Node) -> dict[str, Scaling]:
        found = {}
        for name, value in self.entries(node, "features", tuple(FEATURES)).items():
            scaling = self.scaling(value, f"features.{name}", FEATURES[name].scaling)
            if scaling is not None:
                found[name] = scaling
        return found

    def scaling(self, node: yaml.Node, where: str, default: Scaling) -> Scaling | None:
        text = self.text(node, where)
        if not text:
            return None
        kind, *numbers = text.lower().replace(",", " ").split()
        if kind == "normal" and not numbers:
            return Scaling("normal", default.low, default.high)
        try:
            low, high = (float(number) for number in numbers)
        except ValueError:
            low = high = math.nan
        if (kind == "range" or kind == "log") and math.isfinite(low) and math.isfinite(high):
            if low >= high or (kind == "log" and low <= 0):
                need = "0 < LOW < HIGH" if kind == "log" else "LOW < HIGH"
                self.problem(node, where, f"`{text}` needs {need}", f"write {_SCALINGS}")
                return None
            return Scaling("log" if kind == "log" else "range", low, high)
        self.problem(node, where, f"`{text}` is no scale", f"write {_SCALINGS}")
        return None

    def sets(self, node: yaml.Node) -> dict[str, dict[str, FuzzySet]]:
        found: dict[str, dict[str, FuzzySet]] = {}
        for feature, words in self.entries(node, "sets", tuple(FEATURES)).items():
            found[feature] = {}
            for word, value in self.entries(words, f"sets.{feature}", None).items():
                # a set that cannot be read still counts as a word: rules that speak of it are not to blame
                found[feature][word] = self.fuzzy_set(value, feature, word) or _UNREADABLE
        return found

    def fuzzy_set(self, node: yaml.Node, feature: str, word: str) -> FuzzySet | None:
        where = f"sets.{feature}.{word}"
        if not word.isidentifier() or word in KEYWORDS:
            self.problem(node, where, f"`{word}` cannot name a set", "use a word of letters, digits and _")
            return None
        text = self.text(node, where)
        if not text:
            return None
        try:
            made = set_from_text(text)
        except SetTextError as error:
            self.problem(node, where, error.message, error.fix)
            return None
        circular = FEATURES[feature].circular
        if circular and not made.absolute:
            self.problem(
                node, where, f"`{text}`: {feature} goes round in a circle and has no low or high side",
                "write plain numbers",
            )  # fmt: skip
        elif made.is_empty(circular):
            self.problem(
                node, where, f"`{text}` is empty: no value from 0 to 1 belongs to it",
                "features are scaled to 0 to 1; move the numbers there",
            )  # fmt: skip
        return made

    def rules(self, node: yaml.Node) -> Iterator[Rule]:
        for name, value in self.entries(node, "rules", None).items():
            where = f"rules.{name}"
            text = " ".join(self.text(value, where).split())
            if not text:
                continue
            try:
                yield rule_from_text(name, text, line_of(value))
            except RuleTextError as error:
                self.problems.append(Problem(line_of(value), where, error.message, error.fix, text, error.span))


def _enclosed(corners: list[tuple[float, float]]) -> float:
    """Area of a polygon given in order (shoelace formula)."""
    following = corners[1:] + corners[:1]
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(corners, following, strict=True))) / 2
