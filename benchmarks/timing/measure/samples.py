"""Numbers of a run, kept in a file while it runs: an hour of them in memory would pass for a leak of the product."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

F64 = np.ndarray[Any, np.dtype[np.float64]]


class Samples:
    """Rows of numbers under named columns; one thread adds, `columns` reads all of them back."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._row = struct.Struct(f"={len(self.names)}d")
        # closed with the object, and without a name: nothing is left behind
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self.count = 0

    def add(self, *values: float) -> None:
        self._file.write(self._row.pack(*values))
        self.count += 1

    def columns(self) -> dict[str, F64]:
        """Name → every value, in the order they came."""
        self._file.flush()
        self._file.seek(0)
        table = np.frombuffer(self._file.read(), np.float64).reshape(-1, len(self.names))
        return {name: table[:, index] for index, name in enumerate(self.names)}

    def close(self) -> None:
        self._file.close()
