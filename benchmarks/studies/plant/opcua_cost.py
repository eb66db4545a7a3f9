"""What OPC UA costs a box: processor time and memory of `edge-inspect publish` while a line gives verdicts.

A whole line inspects the shipped pictures at a steady rate and records them. `publish` serves it, without clients and
with some, each of which subscribes to the results and is this program's. Its processor time is read from the kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.program import BUNDLE, Values, option, program
from edge.core.errors import UsageError
from edge.core.progress import say

_USER, _CERTIFICATE = "study", "study"
_WAIT_S, _SETTLE_S = 120.0, 2.0


def measure(bundle: Path, nodeset: Path, rate: float, clients: list[int], seconds: float) -> dict[str, Any]:
    """Each number of clients for so many seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        password = _prepare(folder, nodeset)
        line = _start(folder, "run", "--camera", "demo", "--bundle", str(bundle), "--fps", str(rate))
        publisher = _start(folder, "publish")
        try:
            begun_s = time.monotonic()
            _wait_for(lambda: "opc.tcp://" in (folder / "publish.log").read_text(), publisher)
            started_s, started_cpu_s = time.monotonic() - begun_s, _cpu_s(publisher.pid)
            _wait_for(lambda: (folder / "records" / "verdicts.sqlite").exists(), line)
            states = [asyncio.run(_state(folder, password, count, seconds, publisher.pid)) for count in clients]
        finally:
            for process in (publisher, line):
                process.terminate()
                process.wait(_WAIT_S)
    return {
        "verdicts_per_second": rate,
        "seconds": seconds,
        "start_s": round(started_s, 2),
        "start_cpu_s": round(started_cpu_s, 2),
        "states": states,
    }


def _prepare(folder: Path, nodeset: Path) -> str:
    """The settings, a client with its certificate, and its password."""
    from asyncua.crypto import cert_gen
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from edge.plant.opcua.certificates import new_user

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config.yaml").write_text(
        f"line: {{name: left, run_directory: run}}\nview: {{live: off}}\n"
        f"opcua: {{port: {port}, nodeset: {nodeset.resolve()}, folder: opcua}}\n"
    )
    (folder / "opcua" / "trusted").mkdir(parents=True)
    key, uri = cert_gen.generate_private_key(), [x509.UniformResourceIdentifier("urn:study")]
    use = [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = cert_gen.generate_self_signed_app_certificate(key, _CERTIFICATE, {}, uri, use)
    for place in (folder, folder / "opcua" / "trusted"):
        (place / f"{_CERTIFICATE}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / f"{_CERTIFICATE}-key.pem").write_bytes(cert_gen.dump_private_key_as_pem(key))
    return new_user(folder / "opcua", _USER)


def _start(folder: Path, command: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / f"{command}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "edge", command, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=log
        )


def _wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _WAIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > give_up:
            raise UsageError(f"{process.args!r} does not come up", fix="run it by hand to see what it says")
        time.sleep(0.1)


class _Results:
    told = 0

    def event_notification(self, event: Any) -> None:
        self.told += 1


async def _state(folder: Path, password: str, count: int, seconds: float, pid: int) -> dict[str, Any]:
    """Of so many clients, of which each has a connection and a subscription."""
    say(f"{count} clients")
    async with AsyncExitStack() as stack:
        results = [await _subscribed(stack, folder, password) for _ in range(count)]
        await asyncio.sleep(_SETTLE_S)
        told, cpu_s, begun_s = sum(each.told for each in results), _cpu_s(pid), time.monotonic()
        await asyncio.sleep(seconds)
        passed_s = time.monotonic() - begun_s
        return {
            "clients": count,
            "cpu_percent_of_a_core": round(100 * (_cpu_s(pid) - cpu_s) / passed_s, 2),
            "memory_mb": round(_memory_mb(pid), 1),
            "results_per_second": round((sum(each.told for each in results) - told) / passed_s, 1),
        }


async def _subscribed(stack: AsyncExitStack, folder: Path, password: str) -> _Results:
    import yaml
    from asyncua import Client, ua
    from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

    from edge.plant.opcua.vision_system import MODEL, OWN_NAMESPACE

    port = yaml.safe_load((folder / "config.yaml").read_text())["opcua"]["port"]
    client, results = Client(f"opc.tcp://127.0.0.1:{port}/", timeout=30, watchdog_intervall=30), _Results()
    client.application_uri = "urn:study"
    own = folder / f"{_CERTIFICATE}.pem"
    key = folder / f"{_CERTIFICATE}-key.pem"
    await client.set_security(
        SecurityPolicyBasic256Sha256, own, key, server_certificate=folder / "opcua" / "own.pem"
    )  # fmt: skip
    client.set_user(_USER)
    client.set_password(password)
    await stack.enter_async_context(client)
    vision, ours = await client.get_namespace_index(MODEL), await client.get_namespace_index(OWN_NAMESPACE)
    subscription = await client.create_subscription(200, results)
    await subscription.subscribe_events(ua.NodeId("left", ours), [client.get_node(ua.NodeId(1024, vision))])
    return results


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def text(values: dict[str, Any]) -> str:
    """One line for each state."""
    return "\n".join(
        f"{state['clients']} clients: {state['cpu_percent_of_a_core']} % of a core, {state['memory_mb']} MB, "
        f"{state['results_per_second']} results/s"
        for state in values["states"]
    )


@program(
    BUNDLE,
    option("--nodeset", type=Path, required=True, help="the official file Opc.Ua.MachineVision.NodeSet2.xml"),
    option("--rate", type=float, default=10.0, help="verdicts a second (default: 10)"),
    option("--clients", type=int, nargs="+", default=[0, 1, 20], help="numbers of clients (default: 0 1 20)"),
    option("--seconds", type=float, default=30.0, help="length of each state (default: 30)"),
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Measure the states one after the other."""
    if not Path("/proc/self/stat").exists():
        raise UsageError("this machine has no /proc: processor time cannot be read", fix="measure on Linux")
    return measure(options.bundle, options.nodeset, options.rate, options.clients, options.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
