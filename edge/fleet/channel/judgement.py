"""Whether a version goes on to more boxes, waits or is halted, from what the boxes that have it report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edge.fleet.channel.box_report import BoxReport
from edge.fleet.channel.channel_file import RINGS, Channel, ring_of, ring_text
from edge.fleet.channel.figures import PARTS, left_interval
from edge.metrics import rate_interval

# a box in fifty may have another trouble at the same time: a lens that is dirty, a lot that is bad
ALLOWED_SHARE = 0.02
# of a ring; some boxes are switched off
_SETTLED_SHARE = 0.9
_NAMED = 5

Action = Literal["halt", "widen", "wait"]


@dataclass(frozen=True)
class Judgement:
    """What to do with a channel, and why, in words."""

    action: Action
    why: str


@dataclass(frozen=True)
class _Taken:
    """A box that has the version, or refused it. bad: why it speaks against it. settled: it has seen enough parts."""

    box: str
    bad: str
    settled: bool


def judge(channel: Channel, reports: Iterable[BoxReport], parts: int = PARTS) -> Judgement:
    """parts: that a box must have judged with the new version before its ring counts as served; at most PARTS.

    Halt: the 95 % interval of the share of boxes that got worse, of those that have the version, lies above
    ALLOWED_SHARE. Widen: nearly all boxes of the ring have judged enough parts, and no more than ALLOWED_SHARE of them
    got worse. A box got worse when it refused the version, or when the interval of its rejects, its overkill (as far as
    people looked at rejects) or its INVALID parts lies above that of the version before, box by box.
    """
    known = list(reports)
    members = [each for each in known if ring_of(each.box, channel.version, each.ring) <= channel.ring]
    # a box whose ring was changed since may have it already
    taken = [found for each in known if (found := _taken(channel, each, parts)) is not None]
    bad = [each for each in taken if each.bad]
    named = "; ".join(f"{each.box}: {each.bad}" for each in bad[:_NAMED])
    named += f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    if bad and rate_interval(len(bad), len(taken)).low > ALLOWED_SHARE:
        return Judgement("halt", f"{len(bad)} of {len(taken)} boxes with version {channel.version} got worse: {named}")
    where = ring_text(channel.ring)
    if channel.ring == len(RINGS):
        words = f"{len(taken)} of {len(members)} boxes have version {channel.version}"
        return Judgement("wait", f"{words}" + (f"; got worse: {named}" if bad else ""))
    if not members:
        return Judgement("wait", f"no box of {where} has reported; configure channel.ring: 1 on some, or give --ring")
    settled = {each.box for each in taken if each.settled} & {each.box for each in members}
    if len(settled) < _SETTLED_SHARE * len(members):
        words = f"{len(settled)} of {len(members)} boxes of {where} have judged {parts} parts with it"
        return Judgement("wait", f"{words}" + (f"; got worse: {named}" if bad else ""))
    if len(bad) > ALLOWED_SHARE * len(taken):
        return Judgement("wait", f"too few to halt, too many to go on: {len(bad)} of {len(taken)} got worse: {named}")
    return Judgement("widen", f"{len(settled)} of {len(members)} boxes of {where} go on as well as before")


def _taken(channel: Channel, report: BoxReport, parts: int) -> _Taken | None:
    """None for a box that has nothing to say of this version: without it, or without figures from before."""
    if report.version != channel.version:
        return None
    if report.state == "refused":
        return _Taken(report.box, f"refused it: {report.why}"[:300], True)
    if report.state != "live" or report.before is None or report.after is None or not report.before.parts:
        return None
    bad = ", ".join(left_interval(report.before, report.after))
    return _Taken(report.box, bad, report.after.parts >= min(parts, PARTS))
