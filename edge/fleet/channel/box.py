"""The work of `edge-inspect channel follow`: a box of the settings follows its channel, until it is stopped."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from edge.bundles.bundle import ModelBundle
from edge.bundles.candidate import ShadowReport
from edge.bundles.shadow_trial import run_trial
from edge.bundles.signature import key_id
from edge.core.config import Settings
from edge.core.errors import ConfigError
from edge.fleet.channel.box_report import BoxReport, TrialCounts
from edge.fleet.channel.figures import figures_of, newest_row
from edge.fleet.channel.follow import Box, Follower, Line, Look
from edge.fleet.channel.memory import only_follower
from edge.fleet.channel.transport import Place, place_of

# a report that says nothing new is sent this often, so that a box that is gone is seen
_REPORT_EVERY_S = 3600.0
# looks of boxes that got power at the same time drift apart
_JITTER = 0.1
# what fails again and again is tried less and less often: the time in between doubles, up to this
_SLOWEST_S = 3600.0


def follow(settings: Settings, say: Callable[[str], None], *, once: bool) -> Look:
    """Look at the channel, once or for ever; what the last look came to. say: told what happens.

    Raises ConfigError for settings that do not go together, BundleError where the bundle's folder cannot be used.
    """
    channel = settings.channel
    if channel.source is None:
        raise ConfigError("channel.source is null: there is no channel to follow", fix="name it, or give its address")
    box = _box(settings)
    place = place_of(channel.source, channel)
    target = None if channel.report is None else place_of(channel.report, channel)
    with only_follower(box.bundle):
        follower = Follower(box, place, _line(settings), say, Reporter(target))
        failures, last = 0, ""
        while True:
            look = follower.poll()
            if once:
                return look
            words = f"{look.report.state}: {look.failure or look.report.why}".removesuffix(": ")
            if words != last:
                say(words)
            last, failures = words, 0 if look.failure is None else failures + 1
            time.sleep(next_look_s(channel.poll_s, failures) * random.uniform(1 - _JITTER, 1 + _JITTER))


def next_look_s(poll_s: float, failures: int) -> float:
    """Seconds to the next look, after so many looks in a row that failed."""
    return max(poll_s, min(poll_s * 2.0 ** min(failures - 1, 16), _SLOWEST_S))


class Reporter:
    """Sends what is new, and now and then what is not. now_s: a clock that only goes on."""

    def __init__(self, place: Place | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._place, self._now_s = place, now_s
        self._sent, self._sent_s = "", 0.0

    def __call__(self, report: BoxReport) -> None:
        text = report.model_copy(update={"utc": ""}).model_dump_json()
        if self._place is None or (text == self._sent and self._now_s() < self._sent_s + _REPORT_EVERY_S):
            return
        self._place.write(f"{report.box}.json", report.model_dump_json(indent=1).encode())
        self._sent, self._sent_s = text, self._now_s()


def _box(settings: Settings) -> Box:
    channel, inspection = settings.channel, settings.inspection
    key = channel.signed_by or inspection.signed_by
    if key is None:
        raise ConfigError(
            "channel.signed_by is null: nothing says whose versions this box takes",
            fix="give the public key of who publishes (`edge-inspect bundle keygen` makes a pair)",
        )
    if inspection.bundle is None:
        raise ConfigError("which bundle follows the channel?", fix="give --bundle, the one that the line runs with")
    return Box(
        name=channel.box or _host_name(),
        bundle=Path(inspection.bundle),
        trusted=key_id(Path(key)),
        signed_by=Path(key),
        also_signed_by=None if inspection.signed_by is None else Path(inspection.signed_by),
        ring=channel.ring,
        trial_frames=channel.trial_frames,
        trial_limit=channel.trial_limit,
    )


def _host_name() -> str:
    """As far as it can be the name of a file."""
    name = "".join(
        sign if sign.isascii() and (sign.isalnum() or sign in "_.-") else "-" for sign in socket.gethostname()
    )
    return name.lstrip("_.-")[:64] or "box"


def _line(settings: Settings) -> Line:
    records = None if settings.record.directory is None else Path(settings.record.directory)

    def trial(staged: ModelBundle, frames: int) -> TrialCounts:
        return _counts(run_trial(staged, frames, settings.channel.trial_silence_s))

    return Line(
        newest_row=lambda: newest_row(records),
        figures=lambda sha256, after: figures_of(records, sha256, after),
        trial=trial,
    )


def _counts(reports: list[ShadowReport]) -> TrialCounts:
    return TrialCounts(
        compared=sum(report.compared for report in reports),
        new_rejects=sum(report.new_rejects for report in reports),
        fewer_rejects=sum(report.fewer_rejects for report in reports),
    )
