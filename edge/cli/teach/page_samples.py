"""Samples that the pages collect: one picture at a time, screened and kept as `teach` does it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import EdgeInspectError
from edge.system.extras import require

if TYPE_CHECKING:
    from calibration.samples.collection import Collection
    from edge.web.engineer.teaching import Offered


class PageSamples:
    """The samples of one product in a folder as `teach --samples` has it; from any thread.

    Between two pictures the folder is free, so that `teach` can take it; what has changed since is read anew.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root, self._settings = root, settings
        self._lock = threading.Lock()
        self._collection: Collection | None = None

    @property
    def count(self) -> int:
        """How many are kept."""
        return sum(1 for _ in (self._root / "train" / "good").glob("*.png"))

    def require_all(self) -> int:
        """How many are needed at least. Raises MissingDependency where `teach` could not learn from them."""
        require("train")
        from training.data.dataset import MINIMUM_NORMAL_SAMPLES

        return MINIMUM_NORMAL_SAMPLES

    def offer(self, picture: U8, note: Callable[[str], None]) -> Offered:
        """Keep the picture, or say why not. note: told the name of what is kept; where it fails, nothing is.

        Raises UsageError where the folder cannot be written, or `teach` has it.
        """
        from edge.web.engineer.teaching import Offered

        with self._lock, self._opened() as collection:
            if not collection.offer(picture):
                refused = collection.turned_away[-1]
                return Offered("", str(refused.reason), refused.detail)
            name = collection.kept[-1].name
            try:
                note(name)
            except EdgeInspectError:
                collection.undo()
                raise
            return Offered(name)

    def undo(self, note: Callable[[str], None]) -> str | None:
        """Take the last sample out again; None where there is none. Raises as `offer`."""
        with self._lock, self._opened() as collection:
            if not collection.kept:
                return None
            name = collection.kept[-1].name
            note(name)
            collection.undo()
            return name

    @contextmanager
    def _opened(self) -> Iterator[Collection]:
        from calibration.samples.collection import open_collection
        from calibration.samples.sample_folder import sample_folder

        with sample_folder(self._root) as folder:
            collection = self._collection
            if collection is None or collection.kept != folder.paths():
                collection = self._collection = open_collection(folder, self._settings, None)
            # its numbers go on after what another program put aside
            collection.folder = folder
            yield collection
