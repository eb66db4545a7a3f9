"""`edge-inspect`: the composition root. It alone may import training, export, calibration and benchmarks."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.capture.opencv_environment import prepare_capture_environment
from edge.cli.command_table import COMMANDS
from edge.cli.exit_codes import INTERRUPTED
from edge.cli.parser import parse
from edge.cli.process_end import ProcessEnd
from edge.cli.standard_streams import StandardStreams, take_streams
from edge.core.config import GroupSettings, Settings
from edge.core.errors import EdgeInspectError, UsageError
from edge.core.files.password_file import warn_if_others_can_read
from edge.core.files.settings_file import OptionValue, load_settings
from edge.core.progress import silence
from edge.core.redact import redact
from edge.system.extras import missing_package, require
from edge.system.installation import check_siblings
from edge.system.service.journal import with_level, writes_to_journal
from edge.system.stop_signals import stop_signals, unwrapped_ctrl_c

# how far commands step back for an inspection that runs on the same cores
_NICENESS = 10
# option → the key of the settings that it takes the place of
_SETTINGS = {
    "line": "line.name",
    "run_directory": "line.run_directory",
    "fps": "camera.fps",
    "mm_per_px": "camera.mm_per_px",
    "watch": "camera.watch",
    "align": "align.mode",
    "bundle": "inspection.bundle",
    "reference": "inspection.reference",
    "backend": "inspection.backend",
    "precision": "inspection.precision",
    "engines": "inspection.engines",
    "uncalibrated": "inspection.uncalibrated",
    "record_dir": "record.directory",
    "only": "group.only",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; expected errors are one message and its fix on standard error.

    arguments: None for those of the process, which is then this command's own.
    """
    if arguments is not None:
        return _answer(arguments, None)
    # first, so that it is asked last
    end = ProcessEnd()
    try:
        end.code = _answer(sys.argv[1:], take_streams())
    # how the parser ends
    except SystemExit as stop:
        end.code = stop.code if isinstance(stop.code, int) else 1
        raise
    return end.code


def _answer(arguments: list[str], streams: StandardStreams | None) -> int:
    """streams: of the process, None where they are the caller's."""
    _log_to_standard_error()
    code = 0
    try:
        with _stops_like_ctrl_c(), unwrapped_ctrl_c():
            try:
                options = parse(arguments)
                if streams is not None:
                    _take_the_process(options, streams)
                code = _run(options)
            finally:
                sys.stdout.flush()
        return code
    except EdgeInspectError as error:
        # the fix is ours, and shows how an address is written
        text = f"edge-inspect: {redact(error.message)}\n  fix: {error.fix}"
        print(with_level(text, logging.ERROR) if writes_to_journal() else text, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("edge-inspect: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if streams is None or not streams.output_failed_with(error):
            raise
        # the command has said so; or the reader of a pipe took what it wanted, as `head` does
        if code or isinstance(error, BrokenPipeError):
            return code
        print(f"edge-inspect: standard output cannot be written: {error.strerror}", file=sys.stderr)
        print("  fix: make room where it is written to, or give it another place", file=sys.stderr)
        return 1
    finally:
        if streams is not None:
            streams.drop_output()


def _take_the_process(options: argparse.Namespace, streams: StandardStreams) -> None:
    inspects = options.command in ("run", "demo")
    if streams.output_closed and not (inspects and not options.json):
        raise UsageError(
            f"standard output is closed, and what `{options.command}` says would go nowhere",
            fix="give it a place, such as `> result.txt`; `> /dev/null` if nobody needs it",
        )
    if not COMMANDS[options.command].in_front and hasattr(os, "nice"):
        os.nice(_NICENESS)


@contextmanager
def _stops_like_ctrl_c() -> Iterator[None]:
    """A service manager's stop, and a terminal that closes, are a Ctrl-C to every command."""
    others = [number for number in stop_signals() if number != signal.SIGINT]
    before = {number: signal.signal(number, signal.default_int_handler) for number in others}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Redacting(logging.Formatter):
    """No address with its password in the log, whoever wrote the line. in_journal: which shows levels by itself."""

    def __init__(self, in_journal: bool) -> None:
        super().__init__("%(name)s: %(message)s" if in_journal else "%(levelname)s %(name)s: %(message)s")
        self._in_journal = in_journal

    def format(self, record: logging.LogRecord) -> str:
        text = redact(super().format(record))
        return with_level(text, record.levelno) if self._in_journal else text


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting(writes_to_journal()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _run(options: argparse.Namespace) -> int:
    check_siblings()
    settings = settings_for(options)
    logging.getLogger().setLevel(settings.logging.level.upper())
    command = COMMANDS[options.command]
    if command.needs_camera:
        _choose_camera(options, settings)
    # before anything imports cv2, which reads its time-out when it is loaded
    prepare_capture_environment(settings.camera)
    if command.extra:
        require(command.extra)
    try:
        with silence(getattr(options, "json", False)):
            return command.execute(options, settings)
    except ImportError as error:
        missing = missing_package(error)
        if missing is None:
            raise
        raise missing from error


def settings_for(options: argparse.Namespace) -> Settings:
    """The settings file, with the options of the command line in place of what it says; raises ConfigError."""
    default = Path("config.yaml")
    path = options.config or (default if default.exists() else None)
    given = [
        OptionValue(f"--{name.replace('_', '-')}", key, str(value) if isinstance(value, Path) else value)
        for name, key in _SETTINGS.items()
        if (value := getattr(options, name, None)) is not None and value is not False
    ]
    if getattr(options, "bundle", None) is not None:
        # a bundle that is named there is meant, also where the file of the line has several
        given += [OptionValue("--bundle", f"recipes.{key}", None) for key in ("file", "start")]
    if getattr(options, "no_record", False):
        given.append(OptionValue("--no-record", "record.directory", None))
    settings = load_settings(path, given)
    sources = [settings.camera.source, *(camera.source for camera in settings.group.cameras)]
    if path is not None and any(source is not None and redact(source) != source for source in sources):
        warn_if_others_can_read(path)
    return _one_of_group(options, settings)


def _one_of_group(options: argparse.Namespace, settings: Settings) -> Settings:
    """The settings of the camera that --only names; else of the whole group, where the command is not for one."""
    names, camera = settings.group.names, getattr(options, "camera", None)
    if settings.group.only is not None:
        if not names:
            raise UsageError("--only names a camera of a group, and the settings have none", fix="leave --only out")
        return settings.of_camera(settings.group.only)
    if not names:
        return settings
    if camera == "demo":
        return settings.model_copy(update={"group": GroupSettings()})
    bundle = getattr(options, "bundle", None)
    if COMMANDS[options.command].one_camera:
        if camera is None and bundle is None:
            raise UsageError(
                f"`{options.command}` is for one camera, and the settings have a group ({', '.join(names)})",
                fix=f"add --only {names[0]}, or the name of another camera",
            )
        # what is named is one camera's
        return settings.model_copy(update={"group": GroupSettings()})
    if bundle is not None:
        # it is meant for every camera
        cameras = [each.model_copy(update={"bundle": None}) for each in settings.group.cameras]
        settings = settings.model_copy(update={"group": settings.group.model_copy(update={"cameras": cameras})})
    return settings if camera is None else _group_in(Path(camera), settings)


def _group_in(folder: Path, settings: Settings) -> Settings:
    """The group with the pictures of a folder in place of its cameras: in LEFT/ those of the camera LEFT."""
    names = settings.group.names
    if not all((folder / name).is_dir() for name in names):
        raise UsageError(
            f"--camera {redact(str(folder))} is one source, and the settings have a group ({', '.join(names)})",
            fix=f"leave --camera out, add --only {names[0]}, or name a folder with the folders {' and '.join(names)}",
        )
    cameras = [each.model_copy(update={"source": str(folder / each.name)}) for each in settings.group.cameras]
    return settings.model_copy(update={"group": settings.group.model_copy(update={"cameras": cameras})})


def _choose_camera(options: argparse.Namespace, settings: Settings) -> None:
    """Commands that cannot do without a camera take that of the settings when none is named."""
    if settings.group.cameras:
        # whether the group is live or of files, each of its sources says
        options.camera = settings.group.cameras[0].source
    if options.camera is not None:
        return
    if settings.camera.source is None:
        raise UsageError(
            "nothing to look at: neither --camera nor camera.source in the settings file",
            fix="give --camera 0, --camera rtsp://USER@HOST/PATH, a folder of pictures, or demo",
        )
    options.camera = settings.camera.source
