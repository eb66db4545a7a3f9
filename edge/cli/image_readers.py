"""How a command reads picture files: as the line does, with the settings of the line."""

from __future__ import annotations

import argparse

from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.progress import say


def reader_of(options: argparse.Namespace, settings: Settings) -> ImageReader:
    """The command's one reader: its steps read the same folders again, and what is wrong there is told once."""
    if getattr(options, "reader", None) is None:
        options.reader = ImageReader(settings.camera, settings.freshness, say)
    reader: ImageReader = options.reader
    return reader
