"""A person at the terminal: lines typed while something else goes on, and answers to questions."""

from __future__ import annotations

import queue
import sys
import threading

from edge.core.errors import UsageError
from edge.core.progress import say


def at_terminal() -> bool:
    """Whether somebody can read what is said and type an answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


class Keyboard:
    """Lines from the terminal. Without one, `line` never has any and `ask` refuses."""

    def __init__(self) -> None:
        self.present = at_terminal()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        if self.present:
            # reading cannot be interrupted; the thread ends with the program
            threading.Thread(target=self._read, name="keyboard", daemon=True).start()

    def line(self) -> str | None:
        """The next line typed, without blanks around it, or None when there is none yet; "q" once input has ended."""
        try:
            typed = self._lines.get_nowait()
        except queue.Empty:
            return None
        return self._known(typed)

    def ask(self, question: str, otherwise: str) -> bool:
        """Yes, which is what Enter means, or no; waits for it. Raises UsageError naming the option that would do."""
        if not self.present:
            raise UsageError(f"{question} There is no terminal to ask on", fix=otherwise)
        print(f"{question} [Y/n] ", end="", file=sys.stderr, flush=True)
        while True:
            # a time-out lets Ctrl-C through on every system
            try:
                answer = self._known(self._lines.get(timeout=0.2)).lower()
            except queue.Empty:
                continue
            if answer in ("", "y", "yes"):
                return True
            if answer in ("n", "no", "q"):
                return False
            print("  y or n? ", end="", file=sys.stderr, flush=True)

    def _known(self, typed: str | None) -> str:
        if typed is None:
            # every later look must see the end, too
            self._lines.put(None)
            return "q"
        return typed.strip()

    def _read(self) -> None:
        for typed in sys.stdin:
            self._lines.put(typed)
        self._lines.put(None)


def show_keys() -> None:
    say("  Enter  take a picture      a  take by itself, each time a new part lies still")
    say("  u      undo the last one   d  done, go on with what there is      q  stop, keep what there is")
