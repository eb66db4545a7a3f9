"""Who may connect to the server, and what for: to read, and to be told. asyncua asks these classes."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.crypto.permission_rules import PermissionRuleset, User, UserRole
from asyncua.crypto.security_policies import (
    SECURITY_POLICY_TYPE_MAP,
    SecurityPolicyFactory,
    SecurityPolicyNone,
)
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.user_managers import UserManager

from edge.core.counters import worth_a_line
from edge.core.errors import ConfigError
from edge.core.files.yaml_file import shortened
from edge.plant.opcua.certificates import Certificates

log = logging.getLogger("edge.plant.opcua")

POLICIES = [
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]
# a reader's requests; no Write, no Call, no HistoryRead, and no TransferSubscriptions, which takes those of others
_REQUESTS = (
    "ReadRequest", "BrowseRequest", "BrowseNextRequest", "TranslateBrowsePathsToNodeIdsRequest",
    "RegisterNodesRequest", "UnregisterNodesRequest", "CreateSubscriptionRequest", "ModifySubscriptionRequest",
    "DeleteSubscriptionsRequest", "CreateMonitoredItemsRequest", "ModifyMonitoredItemsRequest",
    "DeleteMonitoredItemsRequest", "SetMonitoringModeRequest", "SetPublishingModeRequest", "PublishRequest",
    "RepublishRequest", "CloseSecureChannelRequest",
)  # fmt: skip
# of one user, and of all together; a client that opens more and more must not take them from the others
MOST_SUBSCRIPTIONS_OF_USER, MOST_SUBSCRIPTIONS, MOST_ITEMS = 20, 200, 20_000
MOST_CONNECTIONS = 100


# of a subscription; results are looked for five times a second
FASTEST_MS = 50.0
# sessions that nobody has logged in to; a channel in clear can open them, too
MOST_WAITING = 50


class PacedSession(InternalSession):  # type: ignore[misc]
    """Revises the interval of subscriptions, which asyncua takes as it is: with 0, clients subscribe for ever anew."""

    async def create_subscription(self, params: ua.CreateSubscriptionParameters, *more: Any, **others: Any) -> Any:
        asked_ms = params.RequestedPublishingInterval
        # 0, negative and NaN mean the fastest (OPC 10000-4, 5.13.2)
        params.RequestedPublishingInterval = asked_ms if asked_ms > FASTEST_MS else FASTEST_MS
        return await super().create_subscription(params, *more, **others)


class SessionKeeper(InternalServer):  # type: ignore[misc]
    """Forgets the oldest of the sessions that were opened and never logged in to, which asyncua keeps for ever."""

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> InternalSession:
        waiting = [each for each in self._external_sessions.values() if not each.is_activated()]
        for session in waiting[: max(0, len(waiting) + 1 - MOST_WAITING)]:
            self.unregister_external_session(session)
        user = User(role=UserRole.Anonymous) if user is None else user
        return PacedSession(self, self.aspace, self.subscription_service, name, user=user, external=external)


def _encoding(request: str) -> ua.NodeId:
    return ua.NodeId(getattr(ua.ObjectIds, f"{request}_Encoding_DefaultBinary"))


class ReadOnly(PermissionRuleset):  # type: ignore[misc]
    """What a session may ask for."""

    def __init__(self, server: InternalServer) -> None:
        self._server = server
        self._allowed = {_encoding(request) for request in _REQUESTS}
        self._subscribe = _encoding("CreateSubscriptionRequest")
        self._monitor = _encoding("CreateMonitoredItemsRequest")
        self._refused: Counter[str] = Counter()

    def check_validity(self, user: User, action_type: ua.NodeId, body: Any) -> bool:
        # a session that was opened and never logged in to has no user of ours
        if user.role is not UserRole.User or action_type not in self._allowed:
            return False
        if action_type == self._subscribe:
            return self._may_subscribe(user.name or "")
        return action_type != self._monitor or self._items() < MOST_ITEMS

    def _may_subscribe(self, name: str) -> bool:
        if subscriptions_of(self._server).count(name) < MOST_SUBSCRIPTIONS_OF_USER:
            return True
        self._refused[name] += 1
        if worth_a_line(self._refused[name]):
            log.warning("%s asked for more than %d subscriptions: refused (%d times)", name, MOST_SUBSCRIPTIONS_OF_USER,
                        self._refused[name])  # fmt: skip
        return False

    def _items(self) -> int:
        subscriptions = self._server.subscription_service.subscriptions.values()
        return sum(len(each.monitored_item_srv._monitored_items) for each in subscriptions)


class Nothing(PermissionRuleset):  # type: ignore[misc]
    """On a channel that is not encrypted, a client may ask for the endpoints, which needs no session."""

    def check_validity(self, user: User, action_type: ua.NodeId, body: Any) -> bool:
        return False


def subscriptions_of(server: InternalServer) -> list[str]:
    """The user of each subscription."""
    users = {session.session_id: session.user.name or "" for session in server._external_sessions.values()}
    return [users.get(each.session_id, "") for each in server.subscription_service.subscriptions.values()]


class TrustedOnly(SecurityPolicyFactory):  # type: ignore[misc]
    """Opens a channel for a client whose certificate is in `trusted`, and closes the connection of every other.

    asyncua checks certificates where a session is made, and only that which the client names there. The channel is
    what the client's key has signed.
    """

    def __init__(
        self, policy: ua.SecurityPolicyType, certificates: Certificates, own: Any, key: Any, rules: ReadOnly
    ) -> None:
        kind, mode, _ = SECURITY_POLICY_TYPE_MAP[policy]
        super().__init__(kind, mode, own, key, permission_ruleset=rules)
        self._certificates, self._refused = certificates, 0

    def create(self, peer_certificate: bytes | None) -> Any:
        if self._certificates.trusted_name(peer_certificate) is None:
            self._tell(self._certificates.reject(peer_certificate) if peer_certificate else None)
            # the one error for which asyncua closes the connection
            raise ua.uaerrors.BadUserAccessDenied
        return super().create(peer_certificate)

    def _tell(self, kept: Path | None) -> None:
        self._refused += 1
        folder = self._certificates.folder
        if kept is not None:
            log.warning("a client was turned away; if it is to be let in, move its certificate %s to %s", kept,
                        folder / "trusted")  # fmt: skip
        elif worth_a_line(self._refused):
            log.warning("a client was turned away (%d times); %s has its certificate already, or is full",
                        self._refused, folder / "rejected")  # fmt: skip


def factories(certificates: Certificates, server: InternalServer) -> list[SecurityPolicyFactory]:
    """How channels are opened, for the own certificate and key that `server` has."""
    rules, own, key = ReadOnly(server), server.certificate, server.private_key
    encrypted = [TrustedOnly(policy, certificates, own, key, rules) for policy in POLICIES]
    # without this one asyncua opens an unencrypted channel in which everything is allowed
    plain = SecurityPolicyFactory(SecurityPolicyNone, ua.MessageSecurityMode.None_, permission_ruleset=Nothing())
    return [*encrypted, plain]


class Users(UserManager):  # type: ignore[misc]
    """Lets a user in by password, or by a certificate that is in `trusted`; nobody else."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._refused = 0

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: bytes | None = None,
    ) -> User | None:
        """certificate: of the user; with a name and a password, that of the channel, None on one without."""
        trusted = self._certificates.trusted_name(certificate)
        name = self._with_password(username, password) if username is not None else trusted
        if trusted is not None and name is not None:
            return User(role=UserRole.User, name=name)
        self._refused += 1
        if worth_a_line(self._refused):
            log.warning("a login as %s was refused (%d times)", shortened(username or "a certificate"), self._refused)
        return None

    def _with_password(self, user: str, password: str | None) -> str | None:
        try:
            return user if password and self._certificates.user_may_enter(user, password) else None
        except ConfigError as error:
            log.warning("nobody can log in with a password: %s", error.message)
            return None
