"""What a box remembers of its channel, in the bundle's folder: the newest file that it saw, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.bundles.bundle import MANIFEST, write_atomically
from edge.core.errors import BundleError, ChannelError
from edge.core.files.file_lock import file_lock
from edge.core.files.safe_file import read_safe
from edge.fleet.channel.box_report import TrialCounts
from edge.fleet.channel.channel_file import SignedChannel
from edge.fleet.channel.figures import Figures

# in the bundle's folder
FOLDER = "channel"
_STATE, _LOCK, DOWNLOADS = "state.json", "follow.lock", "downloads"
_MAXIMUM_BYTES = 65536


class Memory(BaseModel):
    """version, revision, sha256: of the newest channel file that was seen. done: the version that was taken, or refused
    for good. refused: why. trial, before, since_row: of the version `figures_of`; the last two are of the records when
    it was taken. noted: refusals that the history has already, since a version was taken.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = 0
    revision: int = 0
    sha256: str = ""
    done: int = 0
    refused: str = ""
    figures_of: int = 0
    trial: TrialCounts | None = None
    before: Figures | None = None
    since_row: int = 0
    noted: tuple[str, ...] = ()

    def seen(self, offered: SignedChannel, where: str) -> Memory:
        """With this file remembered; raises ChannelError for one that is older, or another one of the same number."""
        number, before = offered.channel.number, (self.version, self.revision)
        if number < before:
            raise ChannelError(
                f"{where}: version {_words(number)} is older than version {_words(before)}, which this box has seen",
                fix="an old file is served again: see to the server. To go back, publish the older bundle as a new "
                "version. If the channel was made anew, publish with --version above the number seen",
            )
        if number == before and self.sha256 != offered.sha256:
            raise ChannelError(
                f"{where}: another file of version {_words(number)} than this box has seen: two were signed",
                fix="publish from one folder only; a new version ends this",
            )
        return self.model_copy(update={"version": number[0], "revision": number[1], "sha256": offered.sha256})


def _words(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


def read_memory(bundle: Path) -> Memory:
    """Raises ChannelError where it is damaged: without it an old version would be taken for a new one."""
    try:
        return Memory.model_validate_json(read_safe(bundle / FOLDER, _STATE, _MAXIMUM_BYTES))
    except FileNotFoundError:
        return Memory()
    except (OSError, ValidationError) as error:
        raise ChannelError(
            f"{bundle / FOLDER / _STATE} cannot be read: {str(error).splitlines()[0]}",
            fix="see to the disk. Delete it if the channel's present version is known to be the newest",
        ) from error


def write_memory(bundle: Path, memory: Memory) -> None:
    """On disk when this returns. Raises BundleError and OSError."""
    (bundle / FOLDER).mkdir(parents=True, exist_ok=True)
    write_atomically(bundle / FOLDER / _STATE, memory.model_dump_json(indent=1).encode())


@contextmanager
def only_follower(bundle: Path) -> Iterator[None]:
    """Hold the bundle against another follower, on this machine; makes its folder. Raises ChannelError."""
    if bundle.is_dir() and not (bundle / MANIFEST).exists() and {file.name for file in bundle.iterdir()} - {FOLDER}:
        raise BundleError(f"{bundle} exists and is not a bundle", fix="give --bundle a bundle, or a new folder")

    def refuse() -> None:
        raise ChannelError(f"{bundle}: another process follows a channel for this bundle", fix="stop it first")

    with ExitStack() as held:
        try:
            (bundle / FOLDER).mkdir(parents=True, exist_ok=True)
            held.enter_context(file_lock(bundle / FOLDER / _LOCK, refuse))
        except OSError as error:
            raise BundleError(
                f"{error.filename or bundle}: {error.strerror}", fix="let this user write the bundle's directory"
            ) from error
        yield
