"""Put the files of a service in place, or say what they would be."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.sections import is_address
from edge.system.service.units import STATE, ServiceFile, ServicePlan, web_files


def service_plan(settings: Settings, settings_file: Path | None, cpus: str | None) -> ServicePlan:
    """From the settings of the line. settings_file: where they come from. Raises UsageError for paths of no use."""
    if settings_file is not None and settings.camera.source is None:
        raise UsageError(
            f"camera.source is null in {settings_file}: nobody gives --camera to a service", fix="name the camera there"
        )
    inspection, line = settings.inspection, settings.line.name
    read = [inspection.bundle, inspection.signed_by, inspection.reference, inspection.engines]
    read += [settings.camera.password_file, settings.mqtt.password_file, settings.challenge.pictures]
    channel = settings.channel
    followed = channel.source is not None
    if followed:
        places = [place for place in (channel.source, channel.report) if place is not None and not is_address(place)]
        read += [*places, channel.signed_by, channel.ca_file, channel.certificate_file, channel.key_file]
    opcua = settings.opcua
    read += [opcua.nodeset, *(path for each in opcua.lines for path in (each.records, each.run_directory))]
    given = [Path(path) for path in read if path is not None]
    relative = [str(path) for path in given if not path.is_absolute()]
    if relative:
        raise UsageError(
            f"{', '.join(relative)}: a service starts in {STATE / line}, and does not find this there",
            fix="give whole paths in the settings file",
        )
    records = settings.record.directory
    writable = [Path(records)] if records is not None and Path(records).is_absolute() else []
    if followed and inspection.bundle is not None:
        # versions are put there by the follower, and what a trial found by the line
        writable.append(Path(inspection.bundle))
    # for the follower alone: a share that is not mounted must not keep the line from its start
    reported = followed and channel.report is not None and not is_address(channel.report)
    text = None if settings_file is None else settings_file.read_text(encoding="utf-8")
    published = settings.mqtt.host is not None or opcua.port is not None
    # how far users have been told stands beside the records of each line
    kept = [opcua.folder, *(each.records for each in opcua.lines)]
    served = tuple(Path(path) for path in kept if path is not None and Path(path).is_absolute())
    return ServicePlan(line, cpus, text, tuple(writable), (*given, *writable), published, served, followed,
                       (Path(str(channel.report)),) if reported else ())  # fmt: skip


def web_plan(settings: Settings, settings_file: Path | None) -> list[ServiceFile]:
    """The files of the pages' service. Raises UsageError for settings that name no lines, and for paths of no use."""
    web, example = settings.web, "lines: [{name: left, run_directory: /run/edge-inspect/left, records: ...}]"
    if settings_file is None or not web.lines:
        raise UsageError("web.lines names no line", fix=f"give --config FILE, which says `web: {{{example}}}`")
    lines = [path for line in web.lines for path in (line.run_directory, line.records, line.bundle)]
    given = [*lines, web.tokens_file, web.certificate_file, web.key_file]
    paths = [Path(path) for path in given if path is not None]
    relative = [str(path) for path in paths if not path.is_absolute()]
    if relative:
        raise UsageError(f"{', '.join(relative)}: a service does not find this", fix="give whole paths in web")
    written = [Path(path) for line in web.lines for path in (line.records, line.bundle) if path is not None]
    return web_files(settings_file.read_text(encoding="utf-8"), paths, written)


def install(files: Sequence[ServiceFile], root: Path, say: Callable[[str], None]) -> bool:
    """Write the files below root; False, with nothing written, where one of the folders cannot be written.

    say: told each file, and why nothing is written.
    """
    closed = [folder for folder in (_existing((root / _below(file)).parent) for file in files) if not _open(folder)]
    if closed:
        say(f"{closed[0]} cannot be written by this user: nothing is written")
        return False
    for file in files:
        path = root / _below(file)
        if file.keep and path.exists():
            say(f"{path}: is there, and stays as it is")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, file.text.encode(), file.mode)
        say(f"{path}: written")
    return True


def _below(file: ServiceFile) -> Path:
    return file.path.relative_to("/")


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _open(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)
