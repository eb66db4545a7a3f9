"""The versions of a bundle: a new one is written beside the others, switched to in one step, and can be gone back from.

manifest.json is the one commit point. New files are written beside the old ones under new names; then the new version's
manifest as manifest.<hash>.json; then a line of the history (edge/bundles/history.py); then manifest.json is replaced,
which switches. A power cut at any point leaves the old version or the new one, whole. The KEPT_VERSIONS versions that
were live last stay; older ones are deleted, with the files that only they name.

To change a bundle from a command, load it, make the changed files, and commit them with what the history shall say:

    bundle = load_bundle(path)
    parts = {"calibration_int8": ("calibration_int8.npz", changed.to_bytes())}
    commit_version(bundle, bundle.manifest, parts, Audit("threshold", note="budget 0.1 %"))

A running edge-inspect picks the new version up between two frames. What changed (thresholds, networks, the precision
that runs) is found by comparing both versions, so the note need not repeat it.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge.bundles.bundle import (
    CPU,
    MANIFEST,
    ModelBundle,
    bundle_of_manifest,
    calibration_key,
    calibrations,
    load_bundle,
    sha256_of,
    write_atomically,
)
from edge.bundles.candidate import shadow_folder
from edge.bundles.history import Audit, append_entry, read_history, took_effect
from edge.core.errors import BundleError, EdgeInspectError
from edge.core.files.file_lock import file_lock
from edge.core.files.safe_file import Stamp, stamp
from edge.core.manifest import FileEntry, Manifest

log = logging.getLogger("edge.bundles.versions")

# besides the live one
KEPT_VERSIONS = 8
_LOCK = "versions.lock"
_MAKING_LOCK = "making.lock"
# hex digits of a version's hash in file names and messages
SHORT = 16
_FEWEST_DIGITS = 4

Parts = Mapping[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Version:
    """A version that lies in the bundle's directory. file: its manifest. last_utc: when it was last live.

    change: number of the history's last entry that names it, from 0; -1 where none does.
    """

    bundle: ModelBundle
    file: Path
    live: bool
    change: int
    last_utc: str


def write_bundle(path: Path, manifest: Manifest, parts: Parts, audit: Audit | None = None) -> ModelBundle:
    """Commit `parts` (key → file name, content) and the manifest, whose `files` they update; make the bundle if needed.

    Raises BundleError when `path` holds something else.
    """
    prepare_directory(path)
    with alone(path):
        return _switch(_staged(path, manifest, parts), audit or Audit("write"))


def commit_version(
    base: ModelBundle,
    manifest: Manifest,
    parts: Parts,
    audit: Audit,
    before_switch: Callable[[ModelBundle], object] = lambda staged: None,
) -> ModelBundle:
    """Commit a version that was made from `base`; raises BundleError when another one has become live meanwhile.

    before_switch: called when the version lies there whole, to sign it before anything may run it.
    """
    with alone(base.path):
        refuse_overtaken(base.path, base)
        staged = _staged(base.path, manifest, parts)
        before_switch(staged)
        return _switch(staged, audit)


def stage_version(base: ModelBundle, manifest: Manifest, parts: Parts, audit: Audit) -> ModelBundle:
    """Write a version beside the live one without switching to it; `switch_version` does that later.

    Its line of the history counts as a change that has not happened.
    """
    with alone(base.path):
        refuse_overtaken(base.path, base)
        staged = _staged(base.path, manifest, parts)
        append_entry(base.path, audit.entry(base.sha256, staged.sha256, differences(base, staged)))
        return staged


def switch_version(base: ModelBundle | None, staged: ModelBundle, audit: Audit) -> ModelBundle:
    """Make a staged version live; raises BundleError when `base` is not the live one any more, or files are damaged.

    base: None where nothing was live yet.
    """
    with alone(staged.path):
        refuse_overtaken(staged.path, base)
        staged.verify()
        return _switch(staged, audit)


def note_refusal(base: ModelBundle, audit: Audit) -> None:
    """Keep in the history that a change was tried and refused; audit.note and audit.gate say why."""
    with alone(base.path):
        # another command may have changed the bundle meanwhile, and its entry must stay the one that took effect
        live = _live_sha256(base.path) or base.sha256
        append_entry(base.path, audit.entry(live, live, ()).model_copy(update={"refused": True}))


class StillLive:
    """Whether a version is the live one, asked often while another is made from it."""

    def __init__(self, base: ModelBundle) -> None:
        self._base = base
        self._seen: Stamp = None

    def check(self) -> None:
        """Raise BundleError as soon as another command has made another version live."""
        seen = stamp(self._base.path / MANIFEST)
        if seen is None or seen != self._seen:
            refuse_overtaken(self._base.path, self._base)
        self._seen = seen


@contextlib.contextmanager
def making_version(base: ModelBundle) -> Iterator[StillLive]:
    """For commands that work for minutes on a new version: one at a time, and what a short one changes is noticed.

    `threshold` and `rollback` are not held up: the line may need them. Raises BundleError.
    """

    def refuse() -> None:
        raise BundleError(
            f"{base.path}: another command is making a new version of this bundle",
            fix="wait until it has ended, or stop it: of the two only the first could become live",
        )

    with contextlib.ExitStack() as held:
        try:
            held.enter_context(file_lock(base.path / _MAKING_LOCK, refuse))
        except OSError as error:
            fix = "use a copy in a directory this user may write"
            raise BundleError(f"{base.path}: {error.strerror}", fix=fix) from error
        yield StillLive(base)


def roll_back(path: Path, to: str | None = None, audit: Audit | None = None) -> ModelBundle:
    """Make the version live that was so before the present one, or the one whose hash begins with `to`.

    Every file of it is checked first. Going back twice returns to where it began.
    """
    with alone(path):
        wanted = _version_before(path) if to is None else find_version(path, to)
        wanted.verify()
        return _switch(wanted, audit or Audit("rollback"))


def find_version(path: Path, sha256: str) -> ModelBundle:
    """The kept version whose hash begins with these digits, the live one among them; raises BundleError."""
    versions = kept_versions(path)
    found = [version for version in versions if version.bundle.sha256.startswith(sha256.lower())]
    if len(found) == 1 and len(sha256) >= _FEWEST_DIGITS:
        return found[0].bundle
    names = ", ".join(version.bundle.sha256[:SHORT] for version in versions) or "none"
    what = f"{len(found)} versions begin with {sha256!r}" if found else f"no version {sha256[:SHORT]} is kept"
    raise BundleError(f"{path}: {what}; kept are {names}", fix="see `edge-inspect history --bundle BUNDLE`")


def kept_versions(path: Path) -> list[Version]:
    """Every version in the directory whose manifest can be read, the one made live last first."""
    history = read_history(path)
    changes = {sha256: number for number, entry in enumerate(history) for sha256 in (entry.before, entry.after)}
    live = _live_sha256(path)
    versions: dict[str, Version] = {}
    for file in [path / MANIFEST, *sorted(path.glob("manifest.*.json"))]:
        # what cannot be read cannot be gone back to
        with contextlib.suppress(EdgeInspectError, OSError):
            bundle = bundle_of_manifest(path, file.name)
            change = changes.get(bundle.sha256, -1)
            written = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc).isoformat(timespec="seconds")
            last_utc = written if change < 0 else history[change].utc
            versions.setdefault(bundle.sha256, Version(bundle, file, bundle.sha256 == live, change, last_utc))
    # not by the clock, which a box without a battery sets back
    return sorted(versions.values(), key=lambda version: (version.live, version.change, version.last_utc), reverse=True)


def differences(before: ModelBundle, after: ModelBundle) -> list[str]:
    """What a person should know of the change from one version to the other."""
    found = []
    old, new = before.manifest, after.manifest
    for key, name in (("model_fp32", "FP32 network"), ("model_int8", "INT8 network"), ("ranges", "INT8 ranges")):
        entries = old.files.get(key), new.files.get(key)
        if _content(entries[0]) != _content(entries[1]):
            found.append(f"{name}: {_short(entries[0])} to {_short(entries[1])}")
    for precision, target in dict.fromkeys([*calibrations(old), *calibrations(new)]):
        key = calibration_key(precision, target)
        if _content(old.files.get(key)) != _content(new.files.get(key)):
            name = precision if target == CPU else f"{target} {precision}"
            states = (_calibrated(version, precision, target) for version in (before, after))
            found.append(f"{name}: {' to '.join(states)}")
    for target in sorted({*old.deployments, *new.deployments}):
        runs = [manifest.deployments.get(target) for manifest in (old, new)]
        words = ["nothing" if entry is None else entry.precision for entry in runs]
        if words[0] != words[1]:
            found.append(f"{target} runs {words[1]} instead of {words[0]}")
    if before.preprocess != after.preprocess:
        found.append(f"region of interest: {before.preprocess.rectangle} to {after.preprocess.rectangle}")
    levels = [None if manifest.golden is None else manifest.golden.level for manifest in (old, new)]
    if levels[0] != levels[1]:
        was, now = ("not compared" if level is None else f"NG from {level:.0f} grey levels on" for level in levels)
        found.append(f"golden picture: {was} to {now}")
    return found


def prepare_directory(path: Path) -> None:
    """Make sure that a bundle may be written at `path`; raises BundleError when it holds something else."""
    if path.exists() and not (path / MANIFEST).exists() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} exists and is not a bundle", fix="give --out a new or empty directory")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", fix="choose a directory this user may write") from error


def _staged(path: Path, manifest: Manifest, parts: Parts) -> ModelBundle:
    files = dict(manifest.files)
    for key, (name, data) in parts.items():
        files[key] = _store(path, name, data)
    data = manifest.model_copy(update={"files": files}).model_dump_json(indent=1).encode()
    name = f"manifest.{sha256_of(data)[:SHORT]}.json"
    write_atomically(path / name, data)
    return bundle_of_manifest(path, name)


def _switch(version: ModelBundle, audit: Audit) -> ModelBundle:
    """The commit itself: the live manifest is kept, the history gets its line, manifest.json is replaced."""
    path, current = version.path, version.path / MANIFEST
    before = None
    if current.exists():
        data = current.read_bytes()
        before = sha256_of(data)
        if before == version.sha256:
            return load_bundle(path)
        kept = path / f"manifest.{before[:SHORT]}.json"
        if not kept.exists():
            write_atomically(kept, data)
    append_entry(path, audit.entry(before, version.sha256, _changes(path, version)))
    write_atomically(current, _manifest_bytes(version))
    _prune(path)
    return load_bundle(path)


def _changes(path: Path, version: ModelBundle) -> list[str]:
    try:
        return differences(load_bundle(path), version)
    except BundleError:
        # there is none yet, or it is damaged, which is why somebody goes back
        return []


def _manifest_bytes(version: ModelBundle) -> bytes:
    for file in version.path.glob("manifest.*.json"):
        data = file.read_bytes()
        if sha256_of(data) == version.sha256:
            return data
    raise BundleError(f"{version.path}: version {version.sha256[:SHORT]} has gone", fix="make it anew")


def _version_before(path: Path) -> ModelBundle:
    """What was live before the present version; where the history does not say, the newest of the others."""
    live, history = _live_sha256(path), read_history(path)
    for entry, happened in reversed(list(zip(history, took_effect(history, live or ""), strict=True))):
        if happened and entry.after == live:
            others = [] if entry.before is None else [find_version(path, entry.before)]
            break
    else:
        others = [version.bundle for version in kept_versions(path) if not version.live]
    if not others:
        raise BundleError(f"{path}: there is no previous version", fix="nothing to do: the bundle was never replaced")
    return others[0]


def _live_sha256(path: Path) -> str | None:
    try:
        return sha256_of((path / MANIFEST).read_bytes())
    except OSError:
        return None


def refuse_overtaken(path: Path, base: ModelBundle | None) -> None:
    """Raise BundleError unless `base` is the live version at `path`; None: unless nothing is live there."""
    live, made_from = _live_sha256(path), None if base is None else base.sha256
    if live != made_from:
        raise BundleError(
            f"{path}: version {str(live)[:SHORT]} has become live while this was made from {str(made_from)[:SHORT]}",
            fix="run the command again, on the version that is live now",
        )


def _prune(path: Path) -> None:
    """Delete the oldest versions beyond KEPT_VERSIONS: their own files first, so that the next change finishes it.

    Only what a deleted manifest names, and no kept one does, goes. What cannot be deleted is tried again next time.
    """
    versions = kept_versions(path)
    kept, old = versions[: KEPT_VERSIONS + 1], versions[KEPT_VERSIONS + 1 :]
    needed = {entry.name for version in kept for entry in version.bundle.manifest.files.values()}
    for version in old:
        names = {entry.name for entry in version.bundle.manifest.files.values()} - needed
        signature = f"manifest.{version.bundle.sha256[:SHORT]}.signature"
        for file in [*(path / name for name in sorted({*names, signature})), version.file]:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: an old version's file cannot be deleted: %s", file, error.strerror)
                break
        shutil.rmtree(shadow_folder(path, version.bundle.sha256), ignore_errors=True)


def _store(path: Path, name: str, data: bytes) -> FileEntry:
    """Write a file of the bundle under its name, or beside an older one of that name."""
    digest = sha256_of(data)
    file = path / name
    if file.exists() and sha256_of(file.read_bytes()) != digest:
        file = path / f"{file.stem}-{digest[:8]}{file.suffix}"
    if not file.exists() or sha256_of(file.read_bytes()) != digest:
        write_atomically(file, data)
    return FileEntry(name=file.name, sha256=digest, bytes=len(data))


def _content(entry: FileEntry | None) -> str:
    """A file under another name is the same file."""
    return "" if entry is None else entry.sha256


def _short(entry: FileEntry | None) -> str:
    return "none" if entry is None else f"{entry.sha256[:8]}…"


def _calibrated(bundle: ModelBundle, precision: str, target: str) -> str:
    if calibration_key(precision, target) not in bundle.manifest.files:
        return "not calibrated"
    try:
        calibration = bundle.calibration(precision, target=target, uncalibrated=True)
    except BundleError:
        return "a calibration that cannot be read"
    set_by_hand = ", set by hand" if calibration.set_by_hand else ""
    review = "" if calibration.review_threshold is None else f", review from {calibration.review_threshold:.4f}"
    return f"threshold {calibration.threshold:.4f} of {len(calibration.scores)} good parts{set_by_hand}{review}"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the bundle against other commands that change it."""
    try:
        with file_lock(path / _LOCK, lambda: log.warning("%s: another command is changing this bundle", path)):
            yield
    except FileNotFoundError as error:
        raise BundleError(f"{path}: no such bundle directory", fix="check --bundle") from error
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", fix="use a copy in a directory this user may write") from error
