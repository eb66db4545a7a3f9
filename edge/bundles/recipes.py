"""recipes.yaml: which bundle judges which product, and what else differs from product to product.

Read strictly, as config.yaml is. It imports neither cv2 nor numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from edge.core.config import RoiSettings, Settings, TriggerSettings
from edge.core.errors import ConfigError, UsageError
from edge.core.files.settings_file import reason_of
from edge.core.files.yaml_file import (
    YamlFile,
    keys_of,
    line_of,
    line_of_key,
    nearest,
    read_yaml,
    refuse_repeated_keys,
    shortened,
)
from edge.core.sections import Name, PathText, Section

# what a PLC's register of 16 bits can name; 0 is no recipe there
LAST_INDEX = 65535
EXAMPLE = "the recipes.yaml of docs/line/recipes.md"
_OPTION = "recipes.file in the settings"
# how a line waits for its parts is the line's, and the same for all products
_NOT_OF_A_RECIPE = ("mode", "queue")


class Recipe(Section):
    """One product. roi: the region that its bundle must be calibrated for. trigger: keys of the settings' `trigger`
    that differ. threshold: in place of the bundle's. review: False marks no part for review, whatever the bundle says.
    """

    index: Annotated[int, Field(ge=1, le=LAST_INDEX)]
    name: Name
    bundle: Annotated[PathText, Field(min_length=1)]
    roi: RoiSettings = RoiSettings()
    trigger: dict[str, Any] = Field(default_factory=dict)
    reference: PathText | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    review: bool = True
    challenge_pictures: PathText | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """The settings of a line that judges this product. Raises ValidationError where its trigger cannot be."""
        trigger = TriggerSettings.model_validate({**settings.trigger.model_dump(), **self.trigger})
        pictures = self.challenge_pictures or settings.challenge.pictures
        return settings.model_copy(
            update={
                "inspection": settings.inspection.model_copy(
                    update={"bundle": self.bundle, "reference": self.reference}
                ),
                "roi": self.roi,
                # each bundle aligns as it was calibrated
                "align": settings.align.model_copy(update={"mode": None}),
                "trigger": trigger,
                "challenge": settings.challenge.model_copy(update={"pictures": pictures}),
            }
        )


@dataclass(frozen=True)
class RecipeBook:
    """The recipes of a line, by their numbers in rising order; start: the one that it begins with, lines: where each
    stands in the file.
    """

    path: Path
    recipes: tuple[Recipe, ...]
    start: Recipe
    lines: dict[str, int]

    def find(self, name_or_index: str | int) -> Recipe:
        """The recipe of this name or number; digits alone are a number unless a recipe is called so.

        Raises UsageError with the nearest name.
        """
        text = str(name_or_index)
        if isinstance(name_or_index, str):
            for recipe in self.recipes:
                if recipe.name == text:
                    return recipe
        for recipe in self.recipes:
            if str(recipe.index) == text:
                return recipe
        known = ", ".join(f"{recipe.index} {recipe.name}" for recipe in self.recipes)
        if text.isdecimal():
            raise UsageError(f"{self.path} has no recipe {text}", fix=f"its recipes are: {known}")
        names = [recipe.name for recipe in self.recipes]
        raise UsageError(f"{self.path} has no recipe {shortened(text)!r}", fix=nearest(text, names))

    def line(self, recipe: Recipe) -> int:
        """Where it stands in the file."""
        return self.lines[recipe.name]


def recipe_book(settings: Settings) -> RecipeBook | None:
    """The recipes that the settings name; None where they name none. Raises ConfigError."""
    file = settings.recipes.file
    if file is None:
        return None
    if settings.inspection.bundle is not None:
        raise ConfigError(
            f"recipes.file ({file}) and inspection.bundle ({settings.inspection.bundle}) both say what judges",
            fix="leave inspection.bundle out, or set recipes.file to null",
        )
    return read_recipes(Path(file), settings)


def read_recipes(path: Path, settings: Settings) -> RecipeBook:
    """Read and check the file; raises ConfigError naming the line, the value and the nearest valid key.

    Bundles are not opened here: one that is broken must not keep the others from running.
    """
    file = read_yaml(path, ConfigError, _OPTION, EXAMPLE)
    refuse_repeated_keys(path, file.root)
    values = file.values()
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{path}: expected recipes, each below its number", fix=f"compare with {EXAMPLE}")
    recipes = []
    for key in keys_of(file.root):
        given = values.get(int(key.name), _NO_NUMBER) if key.name.isdecimal() else _NO_NUMBER
        if given is _NO_NUMBER or not 1 <= int(key.name) <= LAST_INDEX:
            raise _refused(path, key.line, f"`{shortened(key.name)}` is no number of a recipe", _NUMBERS_FIX)
        recipes.append(_recipe(file, key.name, given, settings))
    _refuse_alike(file, recipes)
    recipes.sort(key=lambda recipe: recipe.index)
    lines = {recipe.name: line_of_key(file.root, (recipe.index,)) for recipe in recipes}
    return RecipeBook(path, tuple(recipes), _start(path, recipes, settings), lines)


_NO_NUMBER = object()
_NUMBERS_FIX = f"give each recipe a whole number from 1 to {LAST_INDEX}, with its keys below it"


def _recipe(file: YamlFile, index: str, given: Any, settings: Settings) -> Recipe:
    if not isinstance(given, dict):
        line = line_of_key(file.root, (index,))
        raise _refused(file.path, line, f"recipe {index}: expected keys below it, got {shortened(repr(given))}", _KEYS)
    if "index" in given:
        line = line_of_key(file.root, (index, "index"))
        raise _refused(file.path, line, f"recipe {index}: its number stands above its keys", "leave `index` out")
    _refuse_repeated_inside(file, index)
    try:
        recipe = Recipe.model_validate({"index": int(index), **given})
    except ValidationError as error:
        raise _explained(file, (index,), error, [name for name in Recipe.model_fields if name != "index"]) from error
    allowed = [name for name in TriggerSettings.model_fields if name not in _NOT_OF_A_RECIPE]
    for name in recipe.trigger:
        if name not in allowed:
            line = line_of_key(file.root, (index, "trigger", name))
            raise _refused(file.path, line, f"{index}.trigger.{name}: not of a recipe", nearest(str(name), allowed))
    try:
        recipe.applied_to(settings)
    except ValidationError as error:
        raise _explained(file, (index, "trigger"), error, allowed) from error
    return recipe


_KEYS = f"give name and bundle; compare with {EXAMPLE}"


def _explained(file: YamlFile, above: tuple[str, ...], error: ValidationError, allowed: Sequence[str]) -> ConfigError:
    # a key that is missing may be there, misspelt
    problems = error.errors()
    position = min(range(len(problems)), key=lambda number: problems[number]["type"] == "missing")
    first = problems[position]
    keys = (*above, *first["loc"])
    what = ".".join(map(str, keys))
    line = line_of_key(file.root, keys)
    if first["type"] == "extra_forbidden":
        names = allowed if len(first["loc"]) == 1 else list(RoiSettings.model_fields)
        return _refused(file.path, line, f"{what}: unknown key", nearest(str(keys[-1]), names))
    if first["type"] == "missing":
        return _refused(file.path, line, f"recipe {above[0]} has no {keys[-1]}", _KEYS)
    fix = f"compare with {EXAMPLE}"
    if first["loc"][:1] == ("name",):
        fix = "letters, digits, `_`, `-` and `.`, at most 64, the first a letter or digit: topics of MQTT have it"
    return _refused(file.path, line, f"{what}: {reason_of(error, position)}", fix)


def _refuse_repeated_inside(file: YamlFile, index: str) -> None:
    """What the upper two levels are checked for, also below a recipe's roi and trigger."""
    recipe = next(key.value for key in keys_of(file.root) if key.name == index)
    for section in keys_of(recipe):
        for key in keys_of(section.value):
            if key.earlier is not None:
                what = f"{key.name} is already given in line {key.earlier}"
                raise _refused(file.path, line_of(key.node), what, "keep one of the two lines")


def _refuse_alike(file: YamlFile, recipes: Sequence[Recipe]) -> None:
    """Two of one name. Case does not tell two products apart: a person who types a name may not see the difference."""
    seen: dict[str, Recipe] = {}
    for recipe in recipes:
        earlier = seen.setdefault(recipe.name.lower(), recipe)
        named = next((each for each in recipes if str(each.index) == recipe.name and each is not recipe), None)
        if named is not None:
            # who asks for this number by hand would get the other product
            line = line_of_key(file.root, (recipe.index, "name"))
            what = f"recipe {recipe.index} is called {recipe.name!r}, which is the number of recipe {named.name}"
            raise _refused(file.path, line, what, "give it a name that is no recipe's number")
        if earlier is not recipe:
            line = line_of_key(file.root, (recipe.index, "name"))
            before = line_of_key(file.root, (earlier.index, "name"))
            what = f"{recipe.name} is the name of recipe {earlier.index} already, in line {before}"
            raise _refused(file.path, line, what, "give each recipe a name of its own")


def _start(path: Path, recipes: Sequence[Recipe], settings: Settings) -> Recipe:
    wanted = settings.recipes.start
    if wanted is None:
        return recipes[0]
    found = next((recipe for recipe in recipes if recipe.name == wanted), None)
    if found is None:
        raise ConfigError(
            f"recipes.start: {path} has no recipe {wanted!r}", fix=nearest(wanted, [each.name for each in recipes])
        )
    return found


def _refused(path: Path, line: int, what: str, fix: str) -> ConfigError:
    return ConfigError(f"{path}, line {line}: {what}", fix=fix)
