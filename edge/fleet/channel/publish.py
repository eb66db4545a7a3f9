"""Publish a version of a bundle in a folder, widen its ring, or halt it. channel.json is replaced last, and at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

from edge.bundles.bundle import MANIFEST, ModelBundle, load_bundle, sha256_of, write_atomically
from edge.bundles.format import MAXIMUM_MANIFEST_BYTES
from edge.bundles.signature import manifest_signature, private_key_id
from edge.core.errors import BundleError, ChannelError, UsageError
from edge.core.files.file_lock import file_lock
from edge.core.files.safe_file import read_safe
from edge.core.files.text_names import storable
from edge.core.manifest import FileEntry
from edge.fleet.channel.box_report import read_reports
from edge.fleet.channel.channel_file import (
    CHANNEL,
    FILES,
    MAXIMUM_BYTES,
    REPORTS,
    Channel,
    ChannelFile,
    channel_bytes,
    channel_from_bytes,
)
from edge.fleet.channel.figures import PARTS
from edge.fleet.channel.judgement import judge

_LOCK = "publish.lock"
# hex digits of its hash in the name of a file
_DIGITS = 8


@dataclass(frozen=True)
class Published:
    """new_bytes: of files that the folder did not have yet, of all_bytes."""

    channel: Channel
    new_bytes: int
    all_bytes: int


def publish(bundle: Path, folder: Path, key: Path, *, ring: int = 1, version: int | None = None) -> Published:
    """Put a bundle into the channel as its next version, for the boxes of this ring.

    version: where the folder was lost, a number above the one that boxes have seen; None: the next one. Raises
    BundleError, ChannelError, UsageError.
    """
    opened = load_bundle(bundle)
    with _alone(folder):
        before = _present(folder, key)
        number = _next_version(before, version)
        _refuse_another_product(before, opened, folder)
        entries = {name: _entry(entry) for name, entry in opened.manifest.files.items()}
        manifest = _manifest_bytes(opened, entries)
        signature = manifest_signature(sha256_of(manifest), key)
        # one at a time: all files of a bundle together may be larger than the memory
        contents = chain(map(opened.read, opened.manifest.files), (manifest, signature))
        new_bytes = all_bytes = 0
        for data in contents:
            all_bytes += len(data)
            new_bytes += _store(folder / FILES, data)
        channel = Channel(
            version=number,
            revision=0,
            product=opened.manifest.product,
            method=opened.manifest.method,
            manifest=_reference(manifest),
            signature=_reference(signature),
            ring=ring,
            published_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        _write(folder, channel, key)
        return Published(channel, new_bytes, all_bytes)


@dataclass(frozen=True)
class Step:
    """What `advance` did, and why. channel: as it is now."""

    action: str
    why: str
    channel: Channel


def advance(
    folder: Path,
    key: Path,
    *,
    ring: int | None = None,
    halt: str | None = None,
    reports: Path | None = None,
    parts: int = PARTS,
) -> Step:
    """Widen the ring or halt, as the reports say; or as a person does, by `ring` or `halt`. Else nothing is changed.

    reports: their folder; None: the one in the channel's. parts: see `judge`. Raises ChannelError, UsageError.
    """
    if halt is not None and not halt.strip():
        # an empty variable of a script: who wants to halt must not widen
        raise UsageError("--halt says nothing", fix='say why, such as --halt "too many rejects in hall 3"')
    if reports is not None and not reports.is_dir():
        raise UsageError(f"--reports {reports}: no such folder", fix="give the folder that the boxes report to")
    with _alone(folder):
        channel = _present(folder, key)
        if channel is None:
            raise UsageError(f"{folder / CHANNEL}: nothing is published there", fix="edge-inspect channel publish")
        if channel.halted:
            return Step("halted", f"version {channel.version} was halted: {channel.halted}", channel)
        if ring is not None and ring <= channel.ring:
            raise UsageError(
                f"version {channel.version} is at ring {channel.ring} already; boxes that have it keep it",
                fix="to stop it give --halt WHY; to go back publish the older bundle",
            )
        if halt is not None:
            return Step("halt", halt, _written(folder, key, channel, halted=storable(halt)[:2000]))
        if ring is not None:
            return Step("widen", "as asked for", _written(folder, key, channel, ring=ring))
        found = judge(channel, read_reports(folder / REPORTS if reports is None else reports), parts)
        if found.action == "halt":
            channel = _written(folder, key, channel, halted=found.why[:2000])
        elif found.action == "widen":
            channel = _written(folder, key, channel, ring=channel.ring + 1)
        return Step(found.action, found.why, channel)


def _written(folder: Path, key: Path, channel: Channel, **changes: object) -> Channel:
    changed = Channel.model_validate({**channel.model_dump(), "revision": channel.revision + 1, **changes})
    _write(folder, changed, key)
    return changed


def _write(folder: Path, channel: Channel, key: Path) -> None:
    write_atomically(folder / CHANNEL, channel_bytes(channel, key))


def _present(folder: Path, key: Path) -> Channel | None:
    """What is published now; None where nothing is. Raises ChannelError where it is another key's, or damaged."""
    try:
        data = read_safe(folder, CHANNEL, MAXIMUM_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ChannelError(f"{folder / CHANNEL}: {error.strerror}", fix="see that it may be read") from error
    try:
        return channel_from_bytes(data, private_key_id(key), str(folder / CHANNEL)).channel
    except ChannelError as error:
        raise ChannelError(
            error.message,
            fix="use the key of this channel. If the file is lost, move it away, and publish with --version above the "
            "number that the boxes' reports name",
        ) from error


def _next_version(before: Channel | None, wanted: int | None) -> int:
    last = 0 if before is None else before.version
    if wanted is not None and wanted <= last:
        raise UsageError(
            f"--version {wanted}: the channel is at version {last}", fix=f"give {last + 1}, or leave it out"
        )
    return last + 1 if wanted is None else wanted


def _refuse_another_product(before: Channel | None, opened: ModelBundle, folder: Path) -> None:
    now = (opened.manifest.product, opened.manifest.method)
    if before is not None and (before.product, before.method) != now:
        raise UsageError(
            f"{folder} is the channel of {before.product!r} by {before.method}; this bundle is {now[0]!r} by {now[1]}",
            fix="publish it in a folder of its own",
        )


def _entry(entry: FileEntry) -> FileEntry:
    """Under a name that holds its hash: on a box the file must not meet another one of the same name."""
    digits = entry.sha256[:_DIGITS]
    file = Path(entry.name)
    if file.stem.endswith(f"-{digits}"):
        return entry
    return entry.model_copy(update={"name": f"{file.stem}-{digits}{file.suffix}"})


def _manifest_bytes(opened: ModelBundle, entries: dict[str, FileEntry]) -> bytes:
    """The bundle's own manifest where no name changes, so that it is the same version."""
    if entries == opened.manifest.files:
        data = read_safe(opened.path, MANIFEST, MAXIMUM_MANIFEST_BYTES)
        if sha256_of(data) == opened.sha256:
            return data
    return opened.manifest.model_copy(update={"files": entries}).model_dump_json(indent=1).encode()


def _reference(data: bytes) -> ChannelFile:
    return ChannelFile(sha256=sha256_of(data), bytes=len(data))


def _store(folder: Path, data: bytes) -> int:
    """How many bytes were written: none where the file is there already, and whole."""
    sha256 = sha256_of(data)
    file = folder / sha256
    # one that cannot be read is replaced
    with suppress(OSError):
        if sha256_of(file.read_bytes()) == sha256:
            return 0
    write_atomically(file, data)
    return len(data)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two that publish at once would give two files the same number."""

    def refuse() -> None:
        raise ChannelError(f"{folder}: another process publishes there", fix="wait until it has ended")

    with ExitStack() as held:
        try:
            (folder / FILES).mkdir(parents=True, exist_ok=True)
            held.enter_context(file_lock(folder / _LOCK, refuse))
        except OSError as error:
            raise BundleError(
                f"{error.filename or folder}: {error.strerror}", fix="choose a folder that this user may write"
            ) from error
        yield
