"""recipe list, recipe use NAME: what a line can judge, and the change of a running line to another product."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.options import share
from edge.cli.standard_streams import printable
from edge.core.config import Settings
from edge.core.errors import EdgeInspectError, UsageError

if TYPE_CHECKING:
    from edge.bundles.recipes import Recipe, RecipeBook


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=("list", "use"), help="the recipes, and which of them can be used; change a running line"
    )
    parser.add_argument("recipe", nargs="?", metavar="NAME", help="use: the name or the number of the recipe")
    share(parser, "--run-directory", "--json")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """list: 1 when a recipe cannot be used. use: 1 when the line refuses it."""
    if (options.recipe is None) == (options.action == "use"):
        lacks = "`recipe use` lacks the recipe" if options.recipe is None else "`recipe list` takes no recipe"
        raise UsageError(lacks, fix="give `edge-inspect recipe use NAME` or `edge-inspect recipe list`")
    return _use(options, settings) if options.action == "use" else _list(options, settings)


def _use(options: argparse.Namespace, settings: Settings) -> int:
    from edge.plant.recipe_request import ask_for_recipe

    if settings.line.run_directory is None:
        raise UsageError(
            "line.run_directory is null: nothing leads to the running line",
            fix="give the same line.run_directory (--run-directory) to the line and here",
        )
    answer = ask_for_recipe(Path(settings.line.run_directory), options.recipe, "command")
    if options.json:
        print(json.dumps({"recipe": answer.recipe, "changed": answer.changed, "text": answer.text, "ms": answer.ms}))
    else:
        print(printable(f"recipe {answer.recipe}: {'' if answer.changed else 'REFUSED, '}{answer.text}"))
        if answer.advice:
            print(printable(f"  fix: {answer.advice}"))
    return 0 if answer.changed else 1


def _list(options: argparse.Namespace, settings: Settings) -> int:
    from edge.inspection.inspectors import line_recipes

    book = line_recipes(settings)
    if book is None:
        raise UsageError("recipes.file is null: there are no recipes", fix="name it in the settings file")
    now = _of_the_line(settings)
    entries = [_entry(recipe, book, settings, now) for recipe in book.recipes]
    if options.json:
        print(json.dumps(entries, indent=1))
    else:
        for each in entries:
            mark = "judges" if each["judges"] else "start" if each["start"] else ""
            state = each["problem"] or f"{each['product']}, version {each['version'][:12]}"
            print(printable(f"{each['index']:>5}  {each['name']:<20} {mark:<7} {each['bundle']}: {state}"))
        if now.get("error"):
            print(printable(f"the last change failed: {now['error']}"))
    return 1 if any(each["problem"] for each in entries) else 0


def _entry(recipe: Recipe, book: RecipeBook, settings: Settings, now: dict[str, Any]) -> dict[str, Any]:
    from edge.inspection.inspectors import live_bundle

    product = version = problem = None
    try:
        bundle = live_bundle(recipe.applied_to(settings))
        product, version = bundle.manifest.product, bundle.sha256
        # every file, since a line would meet a damaged one only when it changes to it
        bundle.verify()
    except EdgeInspectError as error:
        problem = f"{book.path}, line {book.line(recipe)}: {error.message}"
    return {
        "index": recipe.index,
        "name": recipe.name,
        "bundle": recipe.bundle,
        "product": product,
        "version": version,
        "start": recipe is book.start,
        "judges": recipe.name == now.get("name"),
        "problem": problem,
    }


def _of_the_line(settings: Settings) -> dict[str, Any]:
    """What a running line says of its recipe; empty where none runs."""
    from edge.plant.status_file import is_live, read_status

    directory = settings.line.run_directory
    status = None if directory is None else read_status(Path(directory))
    return status.get("recipe", {}) if status is not None and is_live(status) else {}
