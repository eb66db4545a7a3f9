"""Tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(table: RenderableType) -> None:
    """Print what rich has drawn for this terminal, pipe or file."""
    from rich.console import Console

    console = Console()
    with console.capture() as drawn:
        console.print(table)
    # printed here, because rich ends the program with code 1 when the reader of a pipe leaves
    print(drawn.get(), end="")
