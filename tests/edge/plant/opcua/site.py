"""A real server as a child process, with its folder of certificates, and real clients of asyncua."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from edge.plant.opcua.certificates import new_user
from edge.plant.opcua.vision_system import MODEL, OWN_NAMESPACE
from tests.edge.records.records_fakes import wait_for
from tests.system.command_line import running

NODESET = "Opc.Ua.MachineVision.NodeSet2.xml"
# npm's package of OPC UA nodesets (MIT), which holds the official file
_PACKAGE = "node-opcua-nodesets@2.182.0"
WAIT_S = 60.0
CLIENT_URI = "urn:test:client"


def fetched_nodeset(kept: Path) -> Path:
    """The official file: EDGE_INSPECT_NODESET, or fetched once with npm into `kept`; skips where neither can be."""
    given = os.environ.get("EDGE_INSPECT_NODESET")
    if given:
        return Path(given)
    if not (kept / NODESET).is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"neither EDGE_INSPECT_NODESET nor npm is there to fetch {NODESET} with")
        try:
            # without a network npm tries again for minutes
            pack = [npm, "pack", _PACKAGE, "--fetch-retries=0", "--no-update-notifier"]
            subprocess.run(pack, cwd=kept, check=True, capture_output=True, timeout=20)
            (archive,) = kept.glob("*.tgz")
            inside = f"package/nodesets/{NODESET}"
            subprocess.run(["tar", "xzf", str(archive), inside, "--strip-components=2"], cwd=kept, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{NODESET} cannot be fetched with npm: {error}")
    return kept / NODESET


def make_client_certificate(folder: Path, name: str) -> None:
    """NAME.pem and NAME-key.pem."""
    from asyncua.crypto import cert_gen
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    key = cert_gen.generate_private_key()
    names, use = [x509.UniformResourceIdentifier(CLIENT_URI)], [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = cert_gen.generate_self_signed_app_certificate(key, name, {}, names, use)
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / f"{name}-key.pem").write_bytes(cert_gen.dump_private_key_as_pem(key))


class Site:
    """A box with two lines, left and right, each with `records` and `run` in its folder."""

    def __init__(self, folder: Path, nodeset: Path) -> None:
        self.folder, self.opcua = folder, folder / "opcua"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        lines = [f"{{name: {name}, run_directory: {name}/run, records: {name}/records}}" for name in ("left", "right")]
        (folder / "config.yaml").write_text(
            f"opcua: {{port: {self.port}, nodeset: {nodeset}, folder: opcua, lines: [{', '.join(lines)}]}}\n"
            # fails, since the settings name no run directory of its own
            "mqtt: {host: 127.0.0.1, port: 1}\n"
        )
        self.passwords = {user: new_user(self.opcua, user) for user in ("mes", "scada")}
        for name in ("trusted", "stranger"):
            make_client_certificate(folder, name)
        (self.opcua / "trusted").mkdir()
        shutil.copy(folder / "trusted.pem", self.opcua / "trusted" / "cell.pem")

    @contextmanager
    def serving(self):
        """The running command, once it serves."""
        with running("publish", cwd=self.folder) as publisher:
            wait_for(lambda: "opc.tcp://" in publisher.errors or publisher.process.poll() is not None, WAIT_S)
            assert publisher.process.poll() is None, publisher.errors
            yield publisher

    async def client(self, policy=None, user="mes", password=None, certificate="trusted", mode=None, timeout_s=20):
        """Not connected. user: None: by the certificate alone. policy: None: in clear."""
        from asyncua import Client, ua

        client = Client(f"opc.tcp://127.0.0.1:{self.port}/", timeout=timeout_s, watchdog_intervall=20)
        client.application_uri = CLIENT_URI
        own, key = self.folder / f"{certificate}.pem", self.folder / f"{certificate}-key.pem"
        if policy is not None:
            mode, server = mode or ua.MessageSecurityMode.SignAndEncrypt, self.opcua / "own.pem"
            await client.set_security(policy, own, key, server_certificate=server, mode=mode)
        if user is None:
            await client.load_client_certificate(own)
            await client.load_private_key(key)
        else:
            client.set_user(user)
            client.set_password(self.passwords[user] if password is None else password)
        return client

    @asynccontextmanager
    async def connected(self, policy=SecurityPolicyBasic256Sha256, types=False, **others):
        """types: load the official structures, which values are made of."""
        async with await self.client(policy, **others) as client:
            if types:
                await client.load_data_type_definitions()
            yield client


async def system_of(client, line):
    """The node of a line."""
    own = await client.get_namespace_index(OWN_NAMESPACE)
    return await client.nodes.objects.get_child(f"{own}:{line}")


async def model_of(client) -> int:
    return await client.get_namespace_index(MODEL)


async def read(client, line, path, attribute=None):
    """(value, name of the status) of a variable of a line."""
    from asyncua import ua

    own = await client.get_namespace_index(OWN_NAMESPACE)
    found = await client.get_node(ua.NodeId(f"{line}.{path}", own)).read_attribute(
        attribute or ua.AttributeIds.Value, raise_on_bad_status=False
    )
    return found.Value.Value if found.Value is not None else None, found.StatusCode.name


class Results:
    """What a subscription was told. events: in the order of arrival."""

    def __init__(self) -> None:
        self.events = []

    def event_notification(self, event) -> None:
        self.events.append(event)

    @property
    def sequences(self) -> list[int]:
        return [contents(event.ResultContent)["sequence"] for event in self.events]

    async def watch(self, client, node, queue_size=0):
        """Subscribe to the official event of results, at a line or at the server."""
        from asyncua import ua

        subscription = await client.create_subscription(100, self)
        type_ = client.get_node(ua.NodeId(1024, await model_of(client)))
        await subscription.subscribe_events(node, [type_], queuesize=queue_size)
        return subscription

    async def have(self, sequences) -> None:
        """Until these have come; and a little longer, for what should not."""
        import asyncio

        give_up = time.monotonic() + WAIT_S
        while set(sequences) - set(self.sequences):
            assert time.monotonic() < give_up, self.sequences
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)


def contents(pairs) -> dict:
    return {pair.Key.Name: pair.Value.Value for pair in pairs}
