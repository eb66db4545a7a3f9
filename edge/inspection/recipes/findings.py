"""For `doctor`: whether a line can change to each of its recipes."""

from __future__ import annotations

from edge.core.config import Settings
from edge.core.errors import EdgeInspectError
from edge.inspection.inspectors import line_recipes, live_bundle
from edge.system.findings import Finding, State


def recipe_findings(settings: Settings) -> list[Finding]:
    """Nothing where there are no recipes. Raises ConfigError for a file that cannot be read."""
    book = line_recipes(settings)
    if book is None:
        return []
    found = []
    for recipe in book.recipes:
        try:
            live_bundle(recipe.applied_to(settings)).verify()
        except EdgeInspectError as error:
            where = f"{recipe.name} ({book.path}, line {book.line(recipe)})"
            # the line runs without it
            found.append(Finding("recipe", State.WARN, f"{where}: {error.message}", error.fix))
    count = len(book.recipes)
    return found or [Finding("recipes", State.OK, f"{count} in {book.path}; a line would begin with {book.start.name}")]
