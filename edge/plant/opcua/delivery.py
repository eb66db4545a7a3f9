"""Which results each subscription has been told, and how far each user has got in the records.

A result counts as told once the client has acknowledged the message with it. A user whose client was away, or to whom a
server was away, is told from there when it subscribes again.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from asyncua import ua
from asyncua.server.internal_server import InternalServer

from edge.plant.opcua.newest_records import KeptVerdict, NewestRecords
from edge.plant.opcua.vision_system import VisionSystem
from edge.review.database import Cursor

log = logging.getLogger("edge.plant.opcua")

# results that a client has not acknowledged yet
MOST_SENT = 100
_SERVER = ua.NodeId(ua.ObjectIds.Server)


@dataclass
class _Target:
    """One watched node of a subscription. sent: (number of the message, result), which are not acknowledged."""

    user: str
    after: int
    sent: deque[tuple[int, KeptVerdict]] = field(default_factory=deque)


class Delivery:
    """Of one line. Used in the server's event loop, but for what it is told to run in a thread: `begin` and `save`."""

    def __init__(self, server: InternalServer, system: VisionSystem, records: NewestRecords) -> None:
        self._server, self._system, self._records = server, system, records
        self._targets: dict[tuple[int, ua.NodeId], _Target] = {}
        self._cursors: dict[str, Cursor] = {}
        self._changed: set[str] = set()
        self.told = 0

    def begin_anew(self) -> None:
        """Another database stands in the place of the one before."""
        self._targets.clear()
        self._cursors.clear()
        self._changed.clear()

    def strangers(self) -> set[str]:
        """Users with a subscription of whom it is not known how far they have got."""
        return {user for _, _, user in self._watching()} - set(self._cursors)

    def begin(self, user: str, cursor: Cursor) -> None:
        self._cursors[user] = cursor

    def changed(self) -> dict[str, Cursor]:
        """Cursors to be saved: those that moved since."""
        changed = {user: self._cursors[user] for user in self._changed}
        self._changed.clear()
        return changed

    async def step(self) -> None:
        """Tell every subscription what it has not been told, as far as it keeps up."""
        watching = {(subscription.data.SubscriptionId, node): (subscription, user)
                    for subscription, node, user in self._watching() if user in self._cursors}  # fmt: skip
        self._targets = {key: target for key, target in self._targets.items() if key in watching}
        for key, (subscription, user) in watching.items():
            if key not in self._targets:
                self._targets[key] = _Target(user, self._cursors[user].verdict_id)
            await self._tell(subscription, key[1], self._targets[key])

    async def _tell(self, subscription: Any, node: ua.NodeId, target: _Target) -> None:
        self._note_acknowledged(subscription, target)
        room = min(MOST_SENT, _queue_size(subscription, node)) - len(target.sent)
        kept = self._records.kept
        if room <= 0 or not kept or kept[-1].sequence <= target.after:
            return
        first = kept[0].sequence
        if 0 < target.after < first - 1:
            log.warning("%s was away for more than %d results of %s: it is told the newest", target.user,
                        len(kept), self._system.name)  # fmt: skip
        start = bisect_right(kept, target.after, key=lambda each: each.sequence)
        for each in list(islice(kept, start, start + room)):
            number = subscription._notification_seq
            await self._system.fire(each, node, subscription.data.SubscriptionId)
            # the client's filter left it out: done with what went out last, since no message with it will follow
            left_out = subscription._notification_seq == number and not subscription._triggered_events
            target.sent.append((number - left_out, each))
            target.after = each.sequence
            self.told += 1

    def _note_acknowledged(self, subscription: Any, target: _Target) -> None:
        """A message that has gone out and is not kept for repetition has been acknowledged."""
        waiting = subscription._not_acknowledged_results
        while target.sent:
            number, kept = target.sent[0]
            if number >= subscription._notification_seq or number in waiting:
                return
            target.sent.popleft()
            if kept.sequence > self._cursors[target.user].verdict_id:
                self._cursors[target.user] = kept.cursor
                self._changed.add(target.user)

    def _watching(self) -> list[tuple[Any, ua.NodeId, str]]:
        """(subscription, node, user): who listens to events of this line, or of the server."""
        users = {each.session_id: each.user.name or "" for each in self._server._external_sessions.values()}
        return [
            (subscription, node, users[subscription.session_id])
            for subscription in self._server.subscription_service.subscriptions.values()
            for node in (self._system.node, _SERVER)
            if subscription.session_id in users and node in subscription.monitored_item_srv._monitored_events
        ]


def _queue_size(subscription: Any, node: ua.NodeId) -> int:
    """Of the smallest queue: what does not fit in it is lost."""
    service = subscription.monitored_item_srv
    items = [service._monitored_items.get(each) for each in service._monitored_events[node]]
    return min((each.queue_size for each in items if each is not None), default=0)
