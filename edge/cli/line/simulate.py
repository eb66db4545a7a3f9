"""simulate: play the other side of a running line, to commission it before the real one is there."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from edge.cli.exit_codes import INTERRUPTED
from edge.cli.options import positive, positive_int, share, whole_number
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.system.stop_signals import stop_requests

if TYPE_CHECKING:
    from edge.plant.plc.simulation.seen import Seen

_ON_TERMINAL_EVERY_S, _IN_LOG_EVERY_S = 0.2, 5.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("side", choices=("plc",), metavar="plc", help="a PLC that asks for each part by Modbus TCP")
    box = parser.add_argument_group("where the line is")
    box.add_argument("--host", help="address of the box (default: plc.address of the settings)")
    box.add_argument("--port", type=positive_int, help="its TCP port (default: plc.port of the settings)")
    box.add_argument("--wait", type=positive, default=10.0, metavar="S", help="for it, at the start (default: 10)")
    parts = parser.add_argument_group("which parts")
    parts.add_argument("--parts", type=positive_int, metavar="N", help="how many (default: until Ctrl-C)")
    parts.add_argument("--duration", type=positive, metavar="S", help="no further part after so many seconds")
    parts.add_argument("--rate", type=positive, metavar="N", help="parts a second (default: as fast as it goes)")
    parts.add_argument("--lot", type=_lot, default="", help="their lot, at most 16 characters")
    parts.add_argument("--recipe", type=_recipe, metavar="NUMBER", help="ask for this recipe first")
    habits = parser.add_argument_group("how the PLC behaves")
    habits.add_argument("--timeout", type=positive, default=1000, metavar="MS", help="of a part (default: 1000)")
    habits.add_argument(
        "--ack-delay", type=_span, default=(0.0, 0.0), metavar="MIN-MAX",
        help="milliseconds before it takes a result, by chance between these (default: 0)",
    )  # fmt: skip
    habits.add_argument(
        "--drop", type=_share, default=0.0, metavar="SHARE",
        help="leave out the trigger or the acknowledge of this share of the parts, such as 0.02",
    )  # fmt: skip
    habits.add_argument("--double", type=_share, default=0.0, metavar="SHARE", help="trigger this share twice")
    habits.add_argument("--seed", type=whole_number, default=0, help="of all chance (default: 0)")
    habits.add_argument("--scan", type=positive, default=10, metavar="MS", help="its cycle time (default: 10)")
    share(parser, "--json")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """0 when the handshake held, 1 when not, 130 after Ctrl-C; what was seen is printed in each case."""
    from edge.plant.plc.simulation.program import Habits
    from edge.plant.plc.simulation.run import SimulatedPlc, Simulation

    port = options.port or settings.plc.port
    if port is None:
        raise UsageError("no port is known: neither --port nor plc.port in the settings", fix="give --port 1502")
    simulation = Simulation(
        options.host or settings.plc.address,
        port,
        Habits(
            timeout_s=options.timeout / 1000,
            period_s=1 / options.rate if options.rate else 0.0,
            ack_delay_s=options.ack_delay,
            drop=options.drop,
            double=options.double,
        ),
        parts=options.parts,
        duration_s=options.duration,
        lot=options.lot,
        recipe=options.recipe,
        seed=options.seed,
        scan_s=options.scan / 1000,
        wait_s=options.wait,
    )
    line = _LiveLine()
    with stop_requests() as requests:
        seen = SimulatedPlc(simulation, line.say).run(requests.stop, line.show)
    line.end()
    print(json.dumps(seen.as_json(), indent=1) if options.json else seen.table())
    return INTERRUPTED if requests.interrupted else 0 if seen.held else 1


class _LiveLine:
    """On a terminal one line that changes, elsewhere a line now and then; on standard error, beside the result."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown_s = time.monotonic()
        self._open = False

    def show(self, seen: Seen) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s < (_ON_TERMINAL_EVERY_S if self._terminal else _IN_LOG_EVERY_S):
            return
        self._shown_s = now_s
        if self._terminal:
            # the cursor goes to the line's beginning, and what stood there is erased
            print(f"\r\x1b[K{seen.line()}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            print(seen.line(), file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        self.end()
        print(f"edge-inspect: {what}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._open:
            print(file=sys.stderr)
        self._open = False


def _span(text: str) -> tuple[float, float]:
    """20-200 or 50, milliseconds → seconds."""
    least, dash, most = text.partition("-")
    try:
        low, high = float(least), float(most if dash else least)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time or a span such as 20-200") from None
    if not 0 <= low <= high <= 60_000:
        raise argparse.ArgumentTypeError(f"{text}: need 0 <= MIN <= MAX <= 60000")
    return low / 1000, high / 1000


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.02") from None
    if not 0 <= value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 0.5")
    return value


def _lot(text: str) -> str:
    from edge.plant.plc.register_map import LOT_CHARACTERS

    if len(text) > LOT_CHARACTERS or not (text.isascii() and text.isprintable()):
        raise argparse.ArgumentTypeError(f"{text!r}: need at most {LOT_CHARACTERS} letters of ASCII")
    return text


def _recipe(text: str) -> int:
    from edge.plant.plc.register_map import WORD

    value = whole_number(text)
    if not 1 <= value <= WORD:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {WORD}")
    return value
