"""What runs now, in the terminal. Notes numbers on every frame; draws a few times a second in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from edge.core.counters import RunCounters
from edge.core.datatypes import STAGES, Decision, Frame, Verdict
from edge.core.local_time import local_text
from edge.core.picture_names import verdict_number
from edge.monitoring.run_statistics import RunStatistics

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

log = logging.getLogger("edge.monitoring")

_STYLES = {
    Decision.OK: "bold white on green",
    Decision.NG: "bold white on red",
    Decision.INVALID: "bold black on yellow",
}
_LINE_EVERY_S = 5.0
_LABEL_WIDTH = 9


@dataclass(frozen=True)
class ViewTitle:
    """What does not change during a run; `bundle` is its directory's name, `backend` with its precision."""

    source: str
    bundle: str
    backend: str


class LiveView:
    """A sink that shows the run on a terminal, redrawn `refresh_per_second` times a second at most.

    The view fills the statistics; the summary may share them. console: a rich console, by default on standard error.
    """

    def __init__(
        self,
        title: ViewTitle,
        counters: RunCounters,
        statistics: RunStatistics,
        refresh_per_second: float,
        console: Console | None = None,
    ) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._title = title
        self._counters = counters
        self._statistics = statistics
        self._failed = False
        self._live = Live(
            get_renderable=self._render_safely,
            console=console or RichConsole(stderr=True),
            refresh_per_second=refresh_per_second,
            # what other parts print to standard output belongs to them, it may be JSON for a program
            redirect_stdout=False,
            transient=False,
        )
        self._live.start()

    def write(self, frame: Frame, verdict: Verdict) -> None:
        self._statistics.write(frame, verdict)

    def close(self) -> None:
        self._live.stop()

    def _render_safely(self) -> RenderableType:
        """The drawing thread must not end: what it drew last would stand there as if it were still true."""
        try:
            return self.render()
        except Exception as error:
            if not self._failed:
                self._failed = True
                log.exception("the view cannot be drawn, inspection continues; please report it")
            return _text(f"the view cannot be drawn: {type(error).__name__}: {error}", "bold red")

    def render(self) -> RenderableType:
        """The picture of now, made from numbers only; called by the drawing thread."""
        from rich.panel import Panel
        from rich.table import Table

        counters, statistics = self._counters, self._statistics
        lost = f"{counters.dropped} dropped   {counters.reconnects} reconnects   {counters.stalls} stalls"
        facts = Table.grid(padding=(0, 1))
        facts.add_column(style="dim", width=_LABEL_WIDTH)
        facts.add_column(overflow="fold")
        for name, value in (
            ("source", _text(self._title.source)),
            ("bundle", _text(f"{self._title.bundle} on {self._title.backend}   {counters.bundle_state}".strip())),
            ("camera", _text(counters.camera_text, _camera_style(counters.camera_state))),
            (counters.counted, _text(f"{counters.frames}   {statistics.frames_per_second():.1f} per second")),
            *((("recipe", _text(_recipe(counters))),) if counters.recipe_name else ()),
            *((("trigger", _text(_trigger(counters))),) if counters.trigger_state else ()),
            ("verdicts", _counts(counters)),
            ("lost", _text(lost)),
            ("records", _records(counters)),
            ("drift", _text(counters.drift_state, "dim")),
        ):
            facts.add_row(name, value)
        if counters.learning_state:
            facts.add_row("learning", _text(counters.learning_state))
        if counters.ready_state:
            style = "" if counters.ready_state == "ready" else "bold red"
            facts.add_row("challenge", _text(counters.ready_state, style))
        for alarm in counters.alarms.standing():
            facts.add_row(_text("ALARM", "bold red"), _text(alarm.text(), "bold red"))
        body = Table.grid(expand=True, padding=(0, 2))
        body.add_column(ratio=1)
        body.add_column(justify="right", no_wrap=True)
        body.add_row(facts, self._latency())
        whole = Table.grid(expand=True)
        whole.add_row(self._last_verdict())
        whole.add_row(body)
        return Panel(whole, title="edge-inspect", title_align="left", border_style="dim", padding=(0, 1))

    def _last_verdict(self) -> RenderableType:
        from rich.table import Table

        last = self._statistics.last
        if last is None:
            return _text("waiting for the first frame\n", "dim")
        plate = _text(f"\n{last.decision!s:^13}\n", _STYLES[last.decision])
        row = Table.grid(padding=(0, 2))
        row.add_column(width=13)
        row.add_column(overflow="ellipsis")
        # the detail of an inspected part says it all; a refused one is named first, and one for review
        reason = str(last.reason).replace("_", " ") + "\n" if last.decision is Decision.INVALID else ""
        reason = "for review\n" if last.review else reason
        words = f"{reason}{last.detail}\n{_which(last, self._statistics, self._counters)}   {last.times.total:.1f} ms"
        row.add_row(plate, _text(words if reason else "\n" + words, "bold"))
        grid = Table.grid()
        grid.add_row(row)
        grid.add_row("")
        return grid

    def _latency(self) -> RenderableType:
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim")
        table.add_column(justify="right", min_width=7)
        table.add_column(justify="right", min_width=7)
        table.add_row("ms", _text("p50", "dim"), _text("p99", "dim"))
        for stage in STAGES:
            p50, p99 = self._statistics.latency[stage].percentiles((50, 99))
            style = "bold" if stage == "total" else ""
            table.add_row(stage, _text(f"{p50:.1f}", style), _text(f"{p99:.1f}", style))
        return table


class PlainView:
    """The same on one line every few seconds, where no terminal can be redrawn: a log file, a service journal."""

    def __init__(
        self,
        counters: RunCounters,
        statistics: RunStatistics,
        stream: TextIO,
        every_s: float = _LINE_EVERY_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._statistics = statistics
        self._stream = stream
        self._every_s = every_s
        self._now = now
        # a thread, so that lines keep coming when frames do not
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="plain-view", daemon=True)
        self._thread.start()

    def write(self, frame: Frame, verdict: Verdict) -> None:
        self._statistics.write(frame, verdict)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(1.0)

    def line(self) -> str:
        """The state of the run in one line."""
        counters, statistics = self._counters, self._statistics
        p50, p99 = statistics.latency["total"].percentiles((50, 99))
        review = f" ({counters.review} for review)" if counters.review else ""
        last = "no frame yet"
        if statistics.last is not None:
            newest = statistics.last
            last = f"last {newest.decision} {newest.detail}, {_which(newest, statistics, counters)}"
        learning = f" | {counters.learning_state}" if counters.learning_state else ""
        alarms = "".join(f" | ALARM {alarm.what}" for alarm in counters.alarms.standing())
        return (
            f"{counters.frames} {counters.counted}, {statistics.frames_per_second():.1f}/s: {counters.ok} OK{review}, "
            f"{counters.ng} NG, {counters.invalid} INVALID, {counters.dropped} dropped | "
            f"camera {counters.camera_text} | total p50 {p50:.1f} ms, p99 {p99:.1f} ms | "
            f"records {counters.record_state} | {last}{learning}{alarms}"
        )

    def _work(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                line = self.line()
            # the next line may be made again
            except Exception as error:  # noqa: BLE001
                line = f"the state of the run cannot be shown: {type(error).__name__}: {error}"
            try:
                print(line, file=self._stream, flush=True)
            except (OSError, ValueError):
                # the reader has gone; the inspection goes on
                return


def _which(last: Verdict, statistics: RunStatistics, counters: RunCounters) -> str:
    """Number, part and local time of the last verdict."""
    run, part = counters.record_run, statistics.last_part
    named = f"frame {last.frame_index}" if run is None else verdict_number(run, last.frame_index)
    words = [named, *(() if part is None else part.words)]
    return "   ".join(words if statistics.last_utc is None else [*words, local_text(statistics.last_utc)])


def _text(text: str, style: str = "") -> Text:
    """Text as it is: names of files and cameras may hold square brackets, which rich would take for styles."""
    from rich.text import Text

    return Text(text, style)


def _counts(counters: RunCounters) -> Text:
    from rich.text import Text

    return Text.assemble(
        (f"{counters.ok} OK", "green"), (f" ({counters.review} for review)" if counters.review else "", "yellow"),
        "   ", (f"{counters.ng} NG", "bold red" if counters.ng else "dim"), "   ",
        (f"{counters.invalid} INVALID", "yellow" if counters.invalid else "dim"),
    )  # fmt: skip


def _trigger(counters: RunCounters) -> str:
    if counters.triggers is not None:
        missed = f"   {counters.missed_triggers} missed" if counters.missed_triggers else ""
        return f"{counters.trigger_state}   {counters.between_parts} pictures between triggers{missed}"
    short = f"   {counters.short_stops} stops too short" if counters.short_stops else ""
    return f"{counters.trigger_state}   {counters.between_parts} pictures between parts{short}"


def _records(counters: RunCounters) -> Text:
    fine = counters.record_state in ("recording", "opening", "off", "closed")
    if not fine:
        lost = f"; {counters.records_lost} verdicts lost" if counters.records_lost else ""
        return _text(counters.record_state + lost, "bold red")
    skipped = f", {counters.images_skipped} skipped" if counters.images_skipped else ""
    return _text(f"{counters.record_state}   {counters.recorded}, {counters.images_stored} pictures{skipped}")


def _camera_style(state: str) -> str:
    return "" if state in ("opening", "running", "ended", "closed") else "bold yellow"


def _recipe(counters: RunCounters) -> str:
    state = f"   the last change FAILED: {counters.recipe_error}" if counters.recipe_error else ""
    state = "   changing" if counters.recipe_changing else state
    return f"{counters.recipe_index} {counters.recipe_name}{state}"
