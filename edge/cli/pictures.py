"""How a command reads picture files: as the line does, with the settings of the line."""

from __future__ import annotations

import argparse

from edge.cli.progress import say
from edge.config import Settings
from edge.picture_reader import PictureReader


def reader_of(options: argparse.Namespace, settings: Settings) -> PictureReader:
    """The command's one reader: its steps read the same folders again, and what is wrong there is told once."""
    if getattr(options, "reader", None) is None:
        options.reader = PictureReader(settings.camera, settings.freshness, say)
    reader: PictureReader = options.reader
    return reader
