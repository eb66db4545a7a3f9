"""OPC UA in `edge-inspect publish`: a thread of its own, so that MQTT waits for nothing here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.core.config import Settings
from edge.core.errors import ConfigError
from edge.core.files.file_lock import file_lock
from edge.core.files.private_files import make_file, make_folder
from edge.plant.opcua.certificates import Certificates, read_users
from edge.plant.opcua.server import OpcUaServer, ServedLine, serve

# what has not ended by then ends with the program
_END_S = 0.6
_LOCK_NAME = "server.lock"
_NODESET_WORDS, _NODESET_HEAD_BYTES = b"http://opcfoundation.org/UA/MachineVision", 65536
WHERE_FROM = "docs/line/opcua.md says where Opc.Ua.MachineVision.NodeSet2.xml is to be had"


@contextmanager
def opcua_server(
    settings: Settings, stop: threading.Event, say: Callable[[str], None], fail: Callable[[Exception], None]
) -> Iterator[OpcUaServer]:
    """Serve inside, until `stop` is set. fail: told, in the server's thread, why it serves no more.

    Raises ConfigError at once for files of the settings that cannot be used.
    """
    opcua, lines = settings.opcua, _lines(settings)
    folder = Path(str(opcua.folder))
    _check_nodeset(Path(str(opcua.nodeset)))
    # before anything is made in the folder: two that begin at once would mix their certificate and key
    with _alone(folder):
        certificates = Certificates(folder, opcua.address)
        # a file that is damaged is told now, and not to the first client
        users = read_users(folder)
        if not certificates.anybody_trusted:
            say(f"OPC UA: {folder / 'trusted'} holds no certificate of a client, so nobody can connect yet")
        elif not users:
            say(f"OPC UA: {folder} names no users: clients log in with their certificate")
        server = OpcUaServer(opcua, certificates, lines, say)
        with _thread(server, stop, fail):
            yield server


@contextmanager
def _thread(server: OpcUaServer, stop: threading.Event, fail: Callable[[Exception], None]) -> Iterator[None]:
    def work() -> None:
        try:
            serve(server, stop)
        # told in the thread that ends the program
        except Exception as error:  # noqa: BLE001
            fail(error)

    thread = threading.Thread(target=work, name="opc ua", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_END_S)


def _lines(settings: Settings) -> list[ServedLine]:
    """Those of opcua.lines; without any, the line of the settings itself."""
    named = settings.opcua.lines
    if named:
        return [ServedLine(line.name, Path(line.records), Path(line.run_directory)) for line in named]
    records, run_directory = settings.record.directory, settings.line.run_directory
    if records is None or run_directory is None:
        missing = "record.directory" if records is None else "line.run_directory"
        raise ConfigError(
            f"{missing} is null: what OPC UA tells of a line comes from its records and its run directory",
            fix=f"give {missing}, or name the lines in opcua.lines",
        )
    return [ServedLine(settings.line.name, Path(records), Path(run_directory))]


def _check_nodeset(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(_NODESET_HEAD_BYTES)
    except OSError as error:
        raise ConfigError(f"opcua.nodeset: {path}: {error.strerror}", fix=WHERE_FROM) from error
    if _NODESET_WORDS not in head or b"UANodeSet" not in head:
        raise ConfigError(f"opcua.nodeset: {path} is not the nodeset of machine vision", fix=WHERE_FROM)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two servers with one folder would be one server for their clients, and share the users' places in the records."""

    def refuse() -> None:
        raise ConfigError(f"another process serves OPC UA with {folder} already", fix="stop it first")

    try:
        make_folder(folder)
        make_file(folder / _LOCK_NAME)
    except OSError as error:
        fix = "name a folder in opcua.folder that this user may write"
        raise ConfigError(f"opcua.folder: {folder}: {error.strerror}", fix=fix) from error
    with file_lock(folder / _LOCK_NAME, refuse):
        yield
