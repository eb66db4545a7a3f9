"""Every error a user can meet.

EdgeInspectError            exit code 1
├── ChallengeError          1   the line is not ready: its challenge is missing, failed or out of date
├── UsageError              2   the command line, or data handed to a command
│   ├── PartNotFound        2   no part where one should be; inside the loop an INVALID verdict
│   ├── NoReference         2   no golden picture to compare with; inside the loop an INVALID verdict
│   └── TrialNotRun         2   a trial that nothing was learned from: no line took it up, or it ended early
├── ConfigError             2   config.yaml
│   └── RuleError           2   an expert's rules.yaml
├── MissingDependency       2   an optional package, a backend or a GPU that is not there
│   └── HiddenDependency    2   a package that is there, where this environment does not look
├── EngineError             2   a network that TensorRT refuses, an engine that cannot be built or loaded
├── ClusterError            2   machines that work together, when they cannot be reached or give up
├── RecordError             2   the record store, when a command (not the loop) needs it
│   └── ForeignRecords      2   something in its place that is no record store
├── CameraError             3   cannot be opened, busy, gone
└── BundleError             4   missing, damaged, of another format version
    ├── CalibrationMismatch 4   statistics of another engine or another preprocessing
    └── ChannelError        4   a channel of bundles that cannot be read, or that offers what must not run
        └── ChannelWaits    4   the same, where the next look may well find it mended
ModelError                  inside the loop: becomes an INVALID verdict, never an exit
UndecodableImage          likewise, where a frame's bytes are decoded; a UsageError where a command reads a file

Each says what happened and with which values (`message`), and what to do next (`fix`).
"""

from __future__ import annotations


class EdgeInspectError(Exception):
    """An expected failure: shown as one message with its fix, never as a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}"


class ChallengeError(EdgeInspectError):
    """A line that must not start: golden parts and defects have not, or not lately, come out right."""


class UsageError(EdgeInspectError):
    """A command line, or data handed to a command, that cannot work."""

    exit_code = 2


class PartNotFound(UsageError):
    """A picture in which the part that is to be aligned is not found; the loop turns it into an INVALID verdict."""


class NoReference(UsageError):
    """A picture without a golden one that it can be compared with; the loop turns it into an INVALID verdict."""


class TrialNotRun(UsageError):
    """A trial that says nothing of its candidate: no running line took it up, or it ended early."""


class ConfigError(EdgeInspectError):
    """A configuration file that cannot be used as it is."""

    exit_code = 2


class RuleError(ConfigError):
    """An expert's rules that cannot be used as they are; every problem of the file is in the message."""


class MissingDependency(EdgeInspectError):
    """An optional package, backend or device that this machine lacks."""

    exit_code = 2


class HiddenDependency(MissingDependency):
    """A package that this machine has, outside of what this environment sees."""


class EngineError(EdgeInspectError):
    """A network that TensorRT refuses, or an engine that cannot be built, kept or loaded; carries TensorRT's words."""

    exit_code = 2


class ClusterError(EdgeInspectError):
    """Machines that work together: they cannot be reached, or gave up."""

    exit_code = 2


class RecordError(EdgeInspectError):
    """A record store that a command cannot read."""

    exit_code = 2


class ForeignRecords(RecordError):
    """Something in the place of the record database that is not one."""


class CameraError(EdgeInspectError):
    """A frame source that cannot be opened, is busy, or went away."""

    exit_code = 3


class BundleError(EdgeInspectError):
    """A model bundle that is missing, damaged or of another format."""

    exit_code = 4


class CalibrationMismatch(BundleError):
    """Statistics that were measured on another engine or another preprocessing."""


class ChannelError(BundleError):
    """A channel of bundles that cannot be read, or that offers what must not run; the live bundle stays."""


class ChannelWaits(ChannelError):
    """What keeps a box from following its channel now, and may be over at the next look: network, disk, a line."""


class UndecodableImage(ValueError):
    """Bytes or a buffer that are not a whole picture of a supported kind; the text is fit for a Fault."""


class ModelError(EdgeInspectError):
    """A network that failed on one frame; the loop turns it into an INVALID verdict."""


def install_extra(extra: str) -> str:
    """The command that brings the packages of an extra; in a checkout that of the checkout's own environment."""
    # only here: every program imports this module, and few of them lack a package
    import json
    import sys
    from importlib import metadata
    from urllib.parse import unquote, urlsplit

    try:
        origin = json.loads(metadata.distribution("edge-inspect").read_text("direct_url.json") or "{}")
        editable = origin["dir_info"]["editable"] and unquote(urlsplit(origin["url"]).path)
    # an installed wheel says nothing of this; or there is no installation, only the folder
    except (metadata.PackageNotFoundError, ValueError, LookupError, TypeError):
        editable = ""
    if not editable:
        return f"pip install 'edge-inspect[{extra}]'"
    return f"{sys.executable} -m pip install --editable '{editable}[{extra}]'"
