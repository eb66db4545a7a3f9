"""From a PLC's trigger to the result that it can read, over the network stack of this machine, at several rates."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks.timing.measure.plc_line import plc_line
from edge.core.datatypes import U8
from edge.core.files.atomic_file import write_atomic
from edge.plant.plc.simulation.program import Habits, PartSeen
from edge.plant.plc.simulation.run import SimulatedPlc, Simulation

# a fast PLC; half of it, on average, is in every time
_SCAN_S = 0.005
_TIMEOUT_S, _WAIT_S = 5.0, 120.0


def measure_times(
    bundle: Path,
    settings: Mapping[str, Any],
    pictures: Sequence[U8],
    rates: Sequence[float],
    parts: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Times of `parts` at each rate. The next picture lies ready at each trigger: no exposure is waited for."""
    done, found = 0, []

    def note(part: PartSeen) -> None:
        nonlocal done
        done += 1
        advance(done, len(rates) * parts)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # one more for each: the last picture of a folder is never asked for
        camera = _folder_of(pictures, len(rates) * parts + 1, place)
        with plc_line(camera, bundle, place, settings) as line:
            for rate in rates:
                simulation = Simulation(
                    "127.0.0.1", line.port, Habits(timeout_s=_TIMEOUT_S, period_s=1 / rate),
                    parts=parts, scan_s=_SCAN_S, answer_s=_TIMEOUT_S, wait_s=_WAIT_S,
                )  # fmt: skip
                seen = SimulatedPlc(simulation, on_part=note).run(Event())
                if seen.never_there:
                    raise line.failed("never answered")
                found.append(
                    {
                        "rate_per_s": rate,
                        "parts": seen.parts,
                        "scan_ms": 1000 * _SCAN_S,
                        "troubles": seen.troubles,
                        "trigger_to_result_ms": seen.times_ms(),
                    }
                )
            line.end()
    return found


def _folder_of(pictures: Sequence[U8], count: int, place: Path) -> Path:
    """`count` files that show these pictures in turn; each is stored once."""
    import cv2

    folder = place / "line"
    folder.mkdir()
    for index in range(count):
        file = folder / f"{index:06d}.png"
        if index < len(pictures):
            write_atomic(file, cv2.imencode(".png", pictures[index])[1].tobytes())
        else:
            file.hardlink_to(folder / f"{index % len(pictures):06d}.png")
    return folder
