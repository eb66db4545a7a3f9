"""The work of `edge-inspect publish`: one line's records to one broker, until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from edge.core.config import Settings
from edge.core.errors import ConfigError
from edge.plant.mqtt.broker import PahoBroker, Will
from edge.plant.mqtt.commands import PartCommand
from edge.plant.mqtt.messages import OFFLINE
from edge.plant.mqtt.publisher import PublishedLine, Publisher
from edge.plant.mqtt.recipe_command import RecipeCommand
from edge.review.database import ReviewDatabase
from edge.review.sole_reader import sole_reader

LOCK_NAME = "publish.lock"


def publish(
    settings: Settings, stop: threading.Event, say: Callable[[str], None], *, from_beginning: bool = False
) -> int:
    """Publish until `stop` is set; how many verdicts were sent. say: told where to.

    from_beginning: see Publisher. Raises ConfigError, RecordError.
    """
    line = _line(settings)
    with sole_reader(line.records, LOCK_NAME, "publishes"), ReviewDatabase(line.records) as review:
        will = Will(line.topic("status"), OFFLINE)
        commands: dict[str, Callable[[bytes], None]] = {}
        lost: Callable[[], None] = _nothing
        if settings.mqtt.accept_part:
            part = PartCommand(line.run_directory)
            commands[line.topic("cmd/part")], lost = part, part.forget
        # nobody heard what was said before
        lost()
        recipe = RecipeCommand(line.run_directory) if settings.mqtt.accept_recipe else None
        if recipe is not None:
            commands[line.topic("cmd/recipe")] = recipe
        broker = PahoBroker(settings.mqtt, f"edge-inspect-{line.site}-{line.name}", will, commands, lost)
        try:
            publisher = Publisher(line, broker, review, from_beginning=from_beginning, recipe=recipe)
            say(f"publishing {line.records} as {line.topic('#')} to {broker.where}")
            publisher.run(stop)
        finally:
            broker.close()
            lost()
    return publisher.verdicts


def _nothing() -> None: ...


def _line(settings: Settings) -> PublishedLine:
    if settings.mqtt.host is None:
        raise ConfigError("mqtt.host is null: there is no broker to publish to", fix="name it in the settings file")
    if settings.record.directory is None:
        raise ConfigError(
            "record.directory is null: what is published comes from the records", fix="give record.directory"
        )
    if settings.line.run_directory is None:
        raise ConfigError(
            "line.run_directory is null: nothing says whether the line is alive",
            fix="give the same line.run_directory (--run-directory) to the line and here",
        )
    return PublishedLine(
        settings.mqtt.site, settings.line.name, Path(settings.record.directory), Path(settings.line.run_directory)
    )
