"""Recipes that are asked for over MQTT: the line is asked as the command asks it, and its answer is published."""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

from edge.core.errors import UsageError
from edge.core.files.yaml_file import shortened
from edge.plant.recipe_request import RecipeAnswer, ask_for_recipe

log = logging.getLogger("edge.plant.mqtt")

# a name of a recipe has at most 64 letters
_LONGEST_BYTES = 64
# of more that come while the line is busy with one, the newest are left out
_MOST_WAITING = 8
_MQTT = "mqtt"


class RecipeCommand:
    """Takes the content of `cmd/recipe`, asks the line in a thread of its own, and keeps the answers until `answers`.

    directory: the line's run directory. A call returns at once, from any thread.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._asked: queue.Queue[str] = queue.Queue(_MOST_WAITING)
        self._answered: queue.SimpleQueue[RecipeAnswer] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="recipe command", daemon=True).start()

    def __call__(self, payload: bytes) -> None:
        """payload: the name or the number of a recipe, as text."""
        text = payload.decode("utf-8", "replace").strip()
        if not text or len(payload) > _LONGEST_BYTES:
            self._refuse(text, "expected the name or the number of a recipe, as text")
            return
        try:
            self._asked.put_nowait(text)
        except queue.Full:
            self._refuse(text, f"{_MOST_WAITING} requests wait already")

    def answers(self) -> list[RecipeAnswer]:
        """Those that came since."""
        found = []
        while not self._answered.empty():
            found.append(self._answered.get())
        return found

    def _work(self) -> None:
        while True:
            text = self._asked.get()
            try:
                self._answered.put(ask_for_recipe(self._directory, text, _MQTT))
            except UsageError as error:
                self._refuse(text, error.message)

    def _refuse(self, text: str, why: str) -> None:
        log.warning("recipe %s was asked for over MQTT: %s", shortened(text), why)
        self._answered.put(RecipeAnswer("", False, shortened(text), why, 0.0))
