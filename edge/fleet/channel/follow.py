"""A box follows a channel: look, check, fetch, try beside the live version, switch, report. No line waits for it.

Everything before the last step leaves the live version as it is, and the last step is the one that every command takes
(edge/bundles/versions.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge import __version__
from edge.bundles.bundle import MANIFEST, ModelBundle, load_bundle
from edge.bundles.candidate import shadow_folder
from edge.bundles.format import manifest_from_bytes
from edge.bundles.history import Audit, read_history, took_effect
from edge.bundles.received_version import receive_version
from edge.bundles.signature import require_signature
from edge.bundles.versions import SHORT, making_version, note_refusal, switch_version
from edge.core.errors import BundleError, ChannelError, ChannelWaits, EdgeInspectError, TrialNotRun, UsageError
from edge.core.files.text_names import storable
from edge.core.manifest import Manifest
from edge.fleet.channel.box_report import BoxReport, State, TrialCounts
from edge.fleet.channel.channel_file import (
    CHANNEL,
    MAXIMUM_BYTES,
    Channel,
    SignedChannel,
    channel_from_bytes,
    ring_of,
    ring_text,
)
from edge.fleet.channel.download import fetch_files, small_file
from edge.fleet.channel.figures import Figures
from edge.fleet.channel.memory import DOWNLOADS, FOLDER, Memory, read_memory, write_memory
from edge.fleet.channel.transport import Place

log = logging.getLogger("edge.fleet.channel")

# refusals between two versions that the history keeps; a server that gives each time another bad file must not fill it
_MOST_NOTED = 8


@dataclass(frozen=True)
class Box:
    """bundle: the folder of the live version. trusted: name of the key that signs the channel, of the file signed_by;
    also_signed_by: what the line itself asks for. ring: as configured. trial_frames: 0: none is made.
    """

    name: str
    bundle: Path
    trusted: str
    signed_by: Path
    also_signed_by: Path | None = None
    ring: int | None = None
    trial_frames: int = 300
    trial_limit: float = 0.01


@dataclass(frozen=True)
class Line:
    """What a box asks of its line. newest_row: number of the newest verdict. figures: of a version (its hash), after a
    row. trial: have so many frames judged with a staged version too; raises TrialNotRun, or UsageError when a line
    refuses it.
    """

    newest_row: Callable[[], int]
    figures: Callable[[str, int], Figures]
    trial: Callable[[ModelBundle, int], TrialCounts]


@dataclass(frozen=True)
class Look:
    """What one look at the channel came to. failure: what was refused, or kept the box waiting; None: neither."""

    report: BoxReport
    failure: EdgeInspectError | None


@dataclass(frozen=True)
class _Outcome:
    state: State
    why: str = ""


class Follower:
    """Used from one thread, by one process for a bundle (`only_follower`).

    say: told what happens, a sentence each time. tell: given each report; raises ChannelWaits where it cannot be sent.
    """

    def __init__(
        self, box: Box, place: Place, line: Line, say: Callable[[str], None], tell: Callable[[BoxReport], None]
    ) -> None:
        self._box, self._place, self._line, self._say, self._tell = box, place, line, say, tell
        self._seen: SignedChannel | None = None

    def poll(self) -> Look:
        """Look once, do what is to be done, report. Raises nothing that is expected."""
        self._seen = None
        failure: EdgeInspectError | None = None
        try:
            outcome = self._follow()
        except ChannelWaits as error:
            failure, outcome = error, _Outcome("waiting", storable(error.message))
        except EdgeInspectError as error:
            # a disk or a folder that refuses says nothing against the version
            kind: State = "waiting" if isinstance(error.__cause__, OSError) else "refused"
            # a path in it may be no text
            failure, outcome = error, _Outcome(kind, storable(error.message))
            if kind == "refused":
                self._note(outcome.why)
        except OSError as error:
            failure = ChannelWaits(f"{error.filename or self._box.bundle}: {error.strerror}", fix="see to the disk")
            outcome = _Outcome("waiting", storable(failure.message))
        return Look(self._report(outcome), failure)

    def _follow(self) -> _Outcome:
        offered = self._offered()
        channel, memory = offered.channel, read_memory(self._box.bundle)
        live = self._live()
        if live is not None and live.sha256 == channel.manifest.sha256:
            # also where somebody made it live by hand
            if channel.version != memory.done or memory.refused:
                self._remember(_taken(channel))
            return _Outcome("live")
        if channel.version == memory.done and memory.refused:
            return _Outcome("refused", memory.refused)
        if channel.version == memory.done:
            return _Outcome("live", "the bundle was changed on this box since; a new version of the channel ends that")
        if channel.halted:
            return _Outcome("halted", f"version {channel.version} is halted: {channel.halted}")
        ring = ring_of(self._box.name, channel.version, self._box.ring)
        if ring > channel.ring:
            return _Outcome(
                "waiting", f"version {channel.version} is for {ring_text(channel.ring)}; this box is in ring {ring}"
            )
        if live is None:
            return self._taken_first(offered)
        with ExitStack() as held:
            with _own_trouble():
                held.enter_context(making_version(live))
            return self._taken(offered, live)

    def _offered(self) -> SignedChannel:
        """The channel's file as it is now, trusted, no older than what was seen; it is remembered before all else."""
        where = f"{self._place.where.rstrip('/')}/{CHANNEL}"
        data = self._place.read(CHANNEL, MAXIMUM_BYTES)
        offered = channel_from_bytes(data, self._box.trusted, where)
        memory = read_memory(self._box.bundle)
        seen = memory.seen(offered, where)
        if seen != memory:
            write_memory(self._box.bundle, seen)
        self._seen = offered
        return offered

    def _live(self) -> ModelBundle | None:
        with _own_trouble():
            return load_bundle(self._box.bundle) if (self._box.bundle / MANIFEST).exists() else None

    def _taken_first(self, offered: SignedChannel) -> _Outcome:
        """Where there is no bundle yet, nothing can be compared with: the signature alone decides."""
        staged = self._staged(offered.channel, None)
        with _own_trouble():
            switch_version(None, staged, self._audit(offered.channel, "the first bundle of this box"))
        self._remember(_taken(offered.channel))
        self._say(f"version {offered.channel.version} of {offered.channel.product} is live, the first on this box")
        return _Outcome("live")

    def _taken(self, offered: SignedChannel, live: ModelBundle) -> _Outcome:
        channel = offered.channel
        staged = self._staged(channel, live)
        name = f"version {channel.version} ({staged.sha256[:SHORT]})"
        trial: TrialCounts | None = None
        if _was_live(self._box.bundle, staged.sha256):
            # to go back must work, however much the two versions differ
            note = "it was live on this box before, and is not tried again"
        elif not self._box.trial_frames:
            note = "without a trial, as the settings have it"
        else:
            trial = self._trial(offered, staged, name)
            note = f"trial: {trial.compared} frames judged by both, {trial.disagreed} differently"
        now = self._live()
        if now is None or now.sha256 != live.sha256:
            raise ChannelWaits(f"{name}: the live version was changed meanwhile", fix="nothing to do: it is tried anew")
        row, before = self._line.newest_row(), self._line.figures(live.sha256, 0)
        # first, so that a stop between the two loses no figures
        self._remember({"figures_of": channel.version, "trial": trial, "before": before, "since_row": row})
        with _own_trouble():
            switch_version(live, staged, self._audit(channel, note))
        self._remember(_taken(channel))
        self._say(f"{name} is live; {note}; `edge-inspect rollback --bundle {self._box.bundle}` goes back")
        return _Outcome("live")

    def _trial(self, offered: SignedChannel, staged: ModelBundle, name: str) -> TrialCounts:
        """Raises ChannelError where the line does not agree with the version, which is remembered."""
        self._say(f"{name} is here and is tried beside the live version for {self._box.trial_frames} frames")
        self._report(_Outcome("trial", f"{self._box.trial_frames} frames"))
        trial, version = self._tried(staged), offered.channel.version
        if trial.disagreed > self._box.trial_limit * trial.compared:
            refusal = (
                f"of {trial.compared} frames of this line {trial.disagreed} were judged differently, more than the "
                f"{self._box.trial_limit:.1%} of channel.trial_limit: {trial.new_rejects} rejected by the new version "
                f"only, {trial.fewer_rejects} by the live one only"
            )
            self._remember({"done": version, "refused": refusal, "figures_of": version, "trial": trial, "before": None})
            raise ChannelError(
                f"{name} is refused: {refusal}",
                fix=f"look at {shadow_folder(self._box.bundle, staged.sha256)}; a new version is tried anew",
            )
        # a trial takes hours on a slow line: meanwhile somebody may have halted the version
        now = self._offered().channel
        if now.halted or now.version != version:
            raise ChannelWaits(f"{name}: the channel changed during the trial", fix="nothing to do: it is read anew")
        return trial

    def _staged(self, channel: Channel, live: ModelBundle | None) -> ModelBundle:
        bundle = self._box.bundle
        data = small_file(self._place, channel.manifest)
        signature = small_file(self._place, channel.signature)
        manifest = manifest_from_bytes(Path(self._place.where) / "manifest", data)
        _refuse_another_kind(manifest, channel, live)
        folder = bundle / FOLDER / DOWNLOADS
        present = {} if live is None else {entry.sha256: bundle / entry.name for entry in live.manifest.files.values()}
        files = fetch_files(self._place, list(manifest.files.values()), bundle, folder, present)
        with _own_trouble():
            staged = receive_version(
                bundle, live, data, signature, files,
                Audit("candidate", note=f"version {channel.version} of the channel {self._place.where}"),
            )  # fmt: skip
        for key in filter(None, (self._box.signed_by, self._box.also_signed_by)):
            require_signature(staged, key)
        return staged

    def _tried(self, staged: ModelBundle) -> TrialCounts:
        """Raises ChannelWaits where nothing was learned, ChannelError where the line cannot run the version."""
        name = f"version {staged.sha256[:SHORT]}"
        try:
            return self._line.trial(staged, self._box.trial_frames)
        except TrialNotRun as error:
            raise ChannelWaits(
                f"{name} is here and not tried: {error.message}",
                fix=f"run the line with --bundle {self._box.bundle}: it is tried at the next look. "
                "channel.trial_frames: 0 takes versions without a trial",
            ) from error
        except UsageError as error:
            # not for good: the reason may be one of this box, as another key in inspection.signed_by
            raise ChannelError(f"{name}: {error.message}", fix=error.fix) from error

    def _audit(self, channel: Channel, note: str) -> Audit:
        return Audit("channel", note=f"version {channel.version} of {self._place.where}, {note}")

    def _remember(self, changes: dict[str, object]) -> None:
        write_memory(self._box.bundle, read_memory(self._box.bundle).model_copy(update=changes))

    def _note(self, why: str) -> None:
        """A refusal into the history, once; only of the newest that a trusted key signed: a server could fill it."""
        try:
            live, noted = self._live(), read_memory(self._box.bundle).noted
            if self._seen is not None and live is not None and why not in noted and len(noted) < _MOST_NOTED:
                self._remember({"noted": (*noted, why)})
                note_refusal(live, Audit("channel", note=why.splitlines()[0]))
        except (BundleError, OSError) as error:
            log.warning("the history does not have it: %s", error)

    def _report(self, outcome: _Outcome) -> BoxReport:
        seen = None if self._seen is None else self._seen.channel
        bundle, memory = "", Memory()
        try:
            memory = read_memory(self._box.bundle)
            live = self._live()
            bundle = "" if live is None else live.sha256
        except (BundleError, OSError) as error:
            log.warning("%s", error)
        of_this = seen is not None and memory.figures_of == seen.version
        report = BoxReport(
            box=self._box.name,
            software=__version__,
            utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            version=None if seen is None else seen.version,
            revision=None if seen is None else seen.revision,
            state=outcome.state,
            why=outcome.why[:2000],
            bundle=bundle,
            ring=self._box.ring,
            trial=memory.trial if of_this else None,
            before=memory.before if of_this else None,
            after=self._line.figures(seen.manifest.sha256, memory.since_row)
            if of_this and seen is not None and memory.before is not None
            else None,
        )
        try:
            self._tell(report)
        except EdgeInspectError as error:
            log.warning("the report is not sent: %s", error)
        return report


@contextmanager
def _own_trouble() -> Iterator[None]:
    """What is wrong with the live version or its folder says nothing against the new one: a refusal could halt it."""
    try:
        yield
    except BundleError as error:
        raise ChannelWaits(error.message, fix=error.fix) from error


def _taken(channel: Channel) -> dict[str, object]:
    """What is remembered of a version that became live."""
    return {"done": channel.version, "refused": "", "noted": ()}


def _was_live(bundle: Path, sha256: str) -> bool:
    history = read_history(bundle)
    happened = took_effect(history, load_bundle(bundle).sha256)
    return any(sha256 in (entry.before, entry.after) for entry, it in zip(history, happened, strict=True) if it)


def _refuse_another_kind(manifest: Manifest, channel: Channel, live: ModelBundle | None) -> None:
    """A running line cannot change these, and a channel is of one product."""
    found = (manifest.product, manifest.method)
    if found != (channel.product, channel.method):
        raise ChannelError(
            f"the channel names {channel.product!r} by {channel.method}, its bundle is {found[0]!r} by {found[1]}",
            fix="publish it with `edge-inspect channel publish`",
        )
    if live is None:
        return
    old = live.manifest
    for what, was, now in (
        ("product", old.product, manifest.product),
        ("method", old.method, manifest.method),
        ("picture size, region or alignment", (old.input, old.preprocess), (manifest.input, manifest.preprocess)),
    ):
        if was != now:
            words = f": {now!r}, the live one {was!r}" if isinstance(now, str) else ""
            raise ChannelError(
                f"the bundle of the channel has another {what} than the live one{words}",
                fix="follow the channel of this product; a bundle of another kind is put in place by hand, while the "
                "line is stopped",
            )
