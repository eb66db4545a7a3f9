"""What labels are good for: samples to recalibrate on, defects to learn from, escapes to challenge the line with."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.core.datatypes import U8, Decision
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.text_names import storable
from edge.records.group_pictures import cut_outs, is_of_group
from edge.records.schema import explained
from edge.records.store import CAMERA_BUNDLES, RecordStore, RunInfo, judged_by
from edge.records.writer.png import png_bytes
from edge.review.database import Review, VerdictKey
from edge.review.labelling import labels_in
from edge.review.labels import Label
from edge.review.sample import random_place

# folders of their own, so that what was labelled anew leaves them, and nothing else does
WEAK_KIND, CHALLENGE_KIND = "reviewed", "escapes"
# what a recalibration needs at least
FEWEST_SAMPLES = 20
DEFECTIVE = (Label.CONFIRM, Label.ESCAPE)


@dataclass(frozen=True)
class GoodParts:
    """Pictures of parts that a person found good: wrongly rejected ones, and as many accepted ones at random."""

    false_rejects: list[Path]
    confirmed: list[Path]


def good_parts(store: RecordStore, bundle: Path, at_least: int) -> GoodParts:
    """For a bundle, of any of its versions; at_least: so many in all, and half as many more where there are.

    Raises UsageError, RecordError.

    False rejects alone are the oddest of all good parts: statistics of them would take the odd for the usual, and the
    threshold would rise until defects pass. So each is matched with a part that was accepted, and drawn at random.
    """
    rejects = _kept(store, bundle, (Label.FALSE_REJECT,))
    accepted = _kept(store, bundle, (Label.OK_CONFIRMED,))
    accepted.sort(key=lambda each: random_place(each.key.verdict_id))
    wanted = max(len(rejects), at_least - len(rejects))
    if not rejects:
        raise UsageError(
            f"{store.directory}: nobody has labelled a part that {bundle} rejected as good",
            fix="label rejects with `edge-inspect review`; to recalibrate on accepted parts, give --from-records",
        )
    if len(accepted) < wanted:
        raise UsageError(
            f"{len(rejects)} false rejects are labelled and {len(accepted)} accepted parts confirmed, {wanted} are "
            "needed: false rejects alone would teach that odd parts are usual",
            fix=f"confirm {wanted - len(accepted)} more accepted parts with `edge-inspect review`; "
            "record.keep_ok_share above 0 draws them",
        )
    # screening turns some away, such as a part that was seen twice
    taken = max(wanted, at_least * 3 // 2 - len(rejects))
    return GoodParts(*([store.directory / str(each.picture) for each in some] for some in (rejects, accepted[:taken])))


@dataclass(frozen=True)
class Exported:
    """How many pictures a folder holds now, how many of them are new, and how many left it."""

    folder: Path
    held: int
    added: int
    removed: int


def export_defects(store: RecordStore, bundle: Path, data: Path) -> Exported:
    """Confirmed defects and escapes to train/weak/reviewed/ of the product's folder; raises UsageError, RecordError.

    Of parts that a group of cameras sees, the pictures that this bundle rejected: on which of them an escape shows,
    nobody has said.
    """
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder", fix="give the product's folder, which holds train/good/")
    weak = data / "train" / "weak"
    made = _exported(store, _kept(store, bundle, DEFECTIVE), bundle, weak / WEAK_KIND)
    # without a picture it would be refused where it is learned from
    with explained(weak):
        if weak.is_dir() and not any(weak.iterdir()):
            weak.rmdir()
    return made


def export_escapes(store: RecordStore, bundle: Path, challenge: Path) -> Exported:
    """Escapes to a folder of the challenge set, all of whose parts must be NG; raises UsageError, RecordError."""
    if not challenge.is_dir():
        raise UsageError(f"{challenge}: no such folder", fix="give the folder of challenge.pictures, which holds good/")
    return _exported(store, _kept(store, bundle, (Label.ESCAPE,)), bundle, challenge / CHALLENGE_KIND)


def _kept(store: RecordStore, bundle: Path, labels: Iterable[Label]) -> list[Review]:
    """The reviews with these labels whose picture is kept, of verdicts of this bundle."""
    wanted = set(labels)
    found = {
        key: review
        for key, review in labels_in(store.directory).items()
        if review.label in wanted and review.picture is not None and (store.directory / review.picture).is_file()
    }
    own = _of_bundle(store, bundle, found)
    return [review for key, review in found.items() if key in own]


def _of_bundle(store: RecordStore, bundle: Path, keys: Collection[VerdictKey]) -> set[VerdictKey]:
    """Of verdicts that are not on record any more: those of runs that began with this bundle, a camera's of a group."""
    judged, values = judged_by(bundle)
    ids = json.dumps([key.verdict_id for key in keys])
    rows = store.query(
        f"SELECT r.key, v.id, {judged} FROM verdicts v JOIN runs r ON r.id = v.run_id "
        "WHERE v.id IN (SELECT value FROM json_each(?))",
        (*values, ids),
    )
    on_record = {VerdictKey(run_key, verdict_id): bool(own) for run_key, verdict_id, own in rows}
    path = storable(str(bundle.resolve()))
    runs = {run.key for run in store.runs() if path in _began_with(run.info)}
    return {key for key in keys if on_record.get(key, key.run_key in runs)}


def _began_with(run: RunInfo) -> Collection[str]:
    places: dict[str, str] = json.loads(run.config).get(CAMERA_BUNDLES, {})
    return places.values() or (run.bundle_path,)


def _exported(store: RecordStore, reviews: Iterable[Review], bundle: Path, folder: Path) -> Exported:
    """Copies, so that whatever trains on them cannot change what is kept; those whose label changed are removed."""
    sources: dict[str, Path | U8] = {}
    for review in reviews:
        if review.picture is None:
            continue
        path = store.directory / review.picture
        name = f"{review.key.run_key}-{path.name}"
        if not is_of_group(path):
            sources[name] = path
            continue
        for camera, picture in cut_outs(store, path, bundle, (Decision.NG,)):
            sources[f"{Path(name).stem}.{camera}.png"] = picture
    ours = {run.key for run in store.runs()}
    with explained(folder):
        if sources:
            folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        gone = {name for name in there - set(sources) if (found := _NAME.match(name)) and found["run"] in ours}
        for name in gone:
            (folder / name).unlink()
        new = set(sources) - there
        for name in sorted(new):
            source = sources[name]
            write_atomic(folder / name, source.read_bytes() if isinstance(source, Path) else png_bytes(source))
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return Exported(folder, len(sources), len(new), len(gone))


_NAME = re.compile(r"(?P<run>[0-9a-f]{8})-\d+-\d{6,}-")
