"""The problems of a rules file: all of them in one error, each with its line and the text of the author."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import RuleError
from training.rules.expression import Span

# beyond these, the first ones are at fault more often than not
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """One thing to mend: where, what, and what is allowed. quote, span: the author's text and the word at fault."""

    line: int
    where: str
    message: str
    fix: str
    quote: str = ""
    span: Span | None = None

    def text(self) -> str:
        """`line 7, rules.crack: ...`, and below it the quoted text with the place marked."""
        head = f"line {self.line}{f', {self.where}' if self.where else ''}: {self.message}"
        if not self.quote:
            return head
        marks = []
        if self.span is not None:
            start, end = self.span
            marks = [" " * (4 + start) + "^" * max(1, end - start)]
        return "\n".join([head, f"    {self.quote}", *marks])


def rule_error(path: Path, problems: Iterable[Problem]) -> RuleError:
    """One error that lists every problem, in the order of the file."""
    ordered = sorted(problems, key=lambda problem: (problem.line, problem.span or (0, 0)))
    if len(ordered) == 1:
        return RuleError(f"{path}, {ordered[0].text()}", fix=ordered[0].fix)
    shown = [f"  {problem.text()}\n    -> {problem.fix}" for problem in ordered[:_MOST_SHOWN]]
    left = len(ordered) - len(shown)
    more = [f"  and {left} more"] if left > 0 else []
    return RuleError(
        "\n".join([f"{path}: {len(ordered)} problems", *shown, *more]),
        fix="mend these lines; docs/models/rules.md explains every word",
    )
