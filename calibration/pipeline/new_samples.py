"""New pictures of good parts for a bundle: found, screened, and looked at by the network before they may teach it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import numpy as np

from calibration.pipeline.sample_cache import NormalSamples, Part, spread
from calibration.samples.contact_sheet import rejection_sheet
from calibration.samples.quarantine import SuspicionScores, suspicion_scores
from calibration.samples.screening import Reason, Rejected, Sample, Screener, Screening, read_samples
from calibration.samples.statistics import SampleStatistics, statistics_from_bytes
from edge.backends import choose_backend
from edge.backends.cpu import open_network
from edge.bundles.bundle import ModelBundle, sha256_of
from edge.bundles.calibration import Calibration
from edge.bundles.history import SampleSet
from edge.capture.images.image_reader import ImageReader
from edge.capture.images.rejected_images import RejectedImages
from edge.core.config import Settings
from edge.core.datatypes import F32, U8
from edge.core.errors import PartNotFound, UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import progress_bar, say
from edge.kernels.statistics import MOST_IN_STATISTICS
from edge.pages.pictures import picture_bytes
from edge.preprocessing.normal_samples import image_sha256, normal_samples_folder
from edge.records.group_pictures import own_pictures
from edge.records.report import moment_from_text
from edge.records.store import RecordStore
from edge.review.uses import FEWEST_SAMPLES, good_parts

# of what could be read: with more suspicious samples than this, the suspicion falls on all of them
_MOST_SUSPICIOUS = 0.2
# the live version rejects more than this share: the scene changed, or these are not good parts
_MOST_REJECTED = 0.5
_READERS, _DECODED_AHEAD = 2, 8
_SHOWN_ACCEPTED, _NAMED = 5, 8


@dataclass(frozen=True)
class SampleRequest:
    """Which pictures are taken, and which of them are believed.

    samples: folders, files and patterns; or from_records: pictures of accepted parts, since and until when, as ISO time
    or an age; or from_labels: pictures of parts that a person found good, which are believed. scene_changed: all are
    good although the live version rejects them. sheet: where the contact sheet of refused samples goes.
    """

    sheet: Path
    samples: tuple[str, ...] = ()
    from_records: bool = False
    from_labels: bool = False
    since: str | None = None
    until: str | None = None
    scene_changed: bool = False
    keep_suspicious: bool = False

    @property
    def believed(self) -> bool:
        """Whether suspicious samples are used: somebody said that they are good parts."""
        return self.keep_suspicious or self.from_labels


@dataclass(frozen=True)
class NewSamples:
    """The samples that may be used, and what became of the others.

    parts: those accepted. live_scores: what the live version said of their held-out ones. statistics: what they look
    like, for the next time. audit: for the history.
    """

    parts: NormalSamples
    live_scores: F32
    statistics: SampleStatistics | None
    audit: SampleSet


def sample_paths(
    request: SampleRequest, settings: Settings, bundle: ModelBundle, reader: ImageReader
) -> tuple[list[Path], str]:
    """The pictures that are asked for, and in words where they are from; raises UsageError where there are none."""
    if [request.from_records, request.from_labels, bool(request.samples)].count(True) != 1:
        raise UsageError(
            "recalibrate takes new pictures of good parts from folders, from the records or from labels",
            fix="give folders or patterns, or --from-records, or --from-labels, one of them alone",
        )
    if not request.from_records and (request.since or request.until):
        raise UsageError("--since and --until choose among the records", fix="add --from-records")
    if request.samples:
        found = [path for sample in request.samples for path in _pictures(sample, reader)]
        return list(dict.fromkeys(found)), ", ".join(request.samples)
    if settings.record.directory is None:
        raise UsageError("record.directory is null: there are no records", fix="give --record-dir, or folders")
    if request.from_labels:
        return _labelled_good(Path(settings.record.directory), bundle)
    now = datetime.now(timezone.utc)
    since, until = (moment_from_text(text, now) if text else None for text in (request.since, request.until))
    directory = Path(settings.record.directory)
    with RecordStore(directory) as store:
        accepted = store.accepted_pictures(bundle.path, since, until)
        found = own_pictures(store, accepted, bundle.path, _cut_out_folder())
    if not found:
        raise UsageError(
            f"{directory}: no stored picture of a part that {bundle.path} accepted in that time",
            fix="widen --since and --until, or set record.keep_ok_share: OK pictures are kept only then",
        )
    return found, f"records {directory}, {request.since or 'the beginning'} to {request.until or 'now'}"


def _cut_out_folder() -> Path:
    """For the pictures of one camera that are cut out of a group's; gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="edge-inspect-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _labelled_good(directory: Path, bundle: ModelBundle) -> tuple[list[Path], str]:
    with RecordStore(directory) as store:
        parts = good_parts(store, bundle.path, FEWEST_SAMPLES)
        found = own_pictures(store, [*parts.false_rejects, *parts.confirmed], bundle.path, _cut_out_folder())
    counts = f"{len(parts.false_rejects)} false rejects and {len(parts.confirmed)} confirmed OK parts"
    return found, f"labels in {directory}, {counts}"


def _pictures(sample: str, reader: ImageReader) -> list[Path]:
    path = Path(sample)
    if path.is_file():
        return [path]
    return reader.pictures_in(normal_samples_folder(path) if path.is_dir() else sample)


def new_samples(
    bundle: ModelBundle, paths: Sequence[Path], source: str, live: Calibration, settings: Settings,
    request: SampleRequest, reader: ImageReader, check: Callable[[], None],
) -> NewSamples:  # fmt: skip
    """Screen the pictures, have the network look at what is left, and refuse a set that cannot be trusted.

    live: the calibration of the precision that runs. check: see NormalSamples. Raises UsageError; the contact sheet is
    written before that.
    """
    parts, screening, turned_away = _screened(bundle, paths, reader, request.believed, check)
    turned_away.refuse_most(len(paths), reader.fitting_sensor_bits())
    if len(turned_away):
        say(turned_away.summary(len(paths)))
    say(f"{len(paths)} pictures of {source}: {screening.summary()}")
    rejected = [each for each in screening.rejected if not (request.believed and each.reason.suspicion)]
    gone = {each.name for each in rejected}
    parts.keep(path for path in paths if str(path) not in gone)
    _refuse_too_few(parts, screening.summary(), rejected)
    order = spread(parts.held_out, MOST_IN_STATISTICS)
    suspicion = _suspicion_scores(parts, order, live, settings)
    unlike = [] if request.believed else _unlike(order, suspicion)
    _show(request.sheet, rejected + unlike, [part.path for part in order if str(part.path) not in gone])
    suspicious = [each for each in rejected if each.reason.suspicion] + unlike
    against = np.count_nonzero(suspicion.live > live.threshold)
    say(f"the live version rejects {against} of the {len(order)}; {len(unlike)} are unlike the others")
    if against > _MOST_REJECTED * len(order) and not (request.scene_changed or request.from_labels):
        raise UsageError(
            f"the live version rejects {against} of {len(order)} samples ({against / len(order):.0%}): they are not "
            "what it knows as good parts",
            fix="if the scene changed (light, focus, position) and every one of them is good, repeat with "
            "--scene-changed; if not, leave out the defective ones, and those of other products",
        )
    readable = len(order) + sum(each.reason.suspicion for each in rejected)
    _refuse_mostly_suspicious(suspicious, readable, request.sheet)
    names = {each.name for each in unlike}
    kept = np.array([str(part.path) not in names for part in order], np.bool_)
    parts.keep(part.path for part in (*order, *parts.trained) if str(part.path) not in names)
    _refuse_too_few(parts, f"{screening.summary()}, {len(unlike)} in quarantine", rejected + unlike)
    counts: dict[str, int] = {}
    for each in screening.rejected:
        if each in rejected and not each.reason.suspicion:
            counts[str(each.reason)] = counts.get(str(each.reason), 0) + 1
    used = sorted(part.sha256 for part in (*parts.held_out, *parts.trained))
    audit = SampleSet(
        folder=source, count=len(used), sha256=sha256_of("\n".join(used).encode()), rejected=counts,
        quarantined=tuple(Path(each.name).name for each in suspicious),
    )  # fmt: skip
    return NewSamples(parts, suspicion.live[kept], screening.statistics, audit)


def _screened(
    bundle: ModelBundle, paths: Sequence[Path], reader: ImageReader, believed: bool, check: Callable[[], None]
) -> tuple[NormalSamples, Screening, RejectedImages]:
    """Every picture is decoded once, on two threads; what is not refused at once leaves its network field.

    believed: suspicious ones leave it, too.
    """
    reference = None
    if "samples" in bundle.manifest.files:
        reference = statistics_from_bytes(bundle.read("samples"))
    screener = Screener(reference, freshness=reader.freshness, rectangle=bundle.manifest.preprocess.rectangle)
    parts, lost = NormalSamples(bundle, reader, check), []
    with progress_bar("looking at the samples") as advance:
        for number, (path, sample, sha256, fields) in enumerate(_decoded(bundle, paths, reader)):
            if isinstance(fields, PartNotFound):
                lost.append(Rejected(str(path), Reason.EMPTY, f"part not found: {fields.message}"))
            else:
                refused = screener.add(sample)
                usable = refused is None or (believed and refused.reason.suspicion)
                if usable and sample.picture is not None:
                    parts.add(path, sample.picture, sha256, fields)
            advance(number + 1, len(paths))
    screening = screener.screening()
    return parts, replace(screening, rejected=(*screening.rejected, *lost)), screener.invalid


def _decoded(
    bundle: ModelBundle, paths: Sequence[Path], reader: ImageReader
) -> Iterator[tuple[Path, Sample, str, list[U8] | PartNotFound | None]]:
    """Pictures in their order, with the hash of their pixels and their network fields, or why there are none.

    A few are decoded ahead.
    """
    preprocess = bundle.preprocess

    def read(path: Path) -> tuple[Path, Sample, str, list[U8] | PartNotFound | None]:
        (sample,) = read_samples([path], reader)
        picture = sample.picture
        if picture is None:
            return path, sample, "", None
        inside = preprocess.field_of_view(*picture.shape[:2]) is not None
        try:
            fields = preprocess.fields(picture) if inside else None
        except PartNotFound as error:
            return path, sample, "", error
        return path, sample, image_sha256(picture), fields

    with ThreadPoolExecutor(_READERS) as pool:
        coming = iter(paths)
        ahead = deque(pool.submit(read, path) for path in islice(coming, _DECODED_AHEAD))
        while ahead:
            done = ahead.popleft()
            ahead.extend(pool.submit(read, path) for path in islice(coming, 1))
            yield done.result()


def _suspicion_scores(
    parts: NormalSamples, order: Sequence[Part], live: Calibration, settings: Settings
) -> SuspicionScores:
    bundle = parts.bundle
    precision = bundle.precision(settings.inspection.precision)
    name = choose_backend(settings.inspection.backend)
    network = open_network(name, bundle.read(f"model_{precision}"), bundle.manifest, settings.inspection.threads)
    made = suspicion_scores(network, bundle.manifest, parts.fields(order), live, parts.weight)
    network.close()
    return made


def _unlike(order: Sequence[Part], suspicion: SuspicionScores) -> list[Rejected]:
    usual = float(np.median(suspicion.among))
    return [
        Rejected(
            str(order[number].path),
            Reason.INCONSISTENT,
            f"the network finds it unlike the others: {suspicion.among[number]:.3f}; {usual:.3f} is usual here, "
            f"up to {suspicion.limit:.3f} would pass; the live version scores it {suspicion.live[number]:.3f}",
        )
        for number in suspicion.suspicious
    ]


def _show(sheet: Path, rejected: Sequence[Rejected], accepted: Iterable[Path]) -> None:
    """The contact sheet, when there is anything to look at."""
    if not rejected:
        return
    few = [str(path) for path in islice(accepted, _SHOWN_ACCEPTED)]
    write_atomic(sheet, picture_bytes(rejection_sheet(rejected, few)))
    say(f"what was turned away, and why: {sheet}")


def _refuse_too_few(parts: NormalSamples, summary: str, rejected: Sequence[Rejected]) -> None:
    count = len(parts.held_out)
    if count >= FEWEST_SAMPLES:
        return
    trained = f"; {len(parts.trained)} more were used in training and cannot give a threshold" if parts.trained else ""
    why = "".join(f"\n  {Path(each.name).name}: {each}" for each in rejected[:_NAMED])
    raise UsageError(
        f"{count} samples are too few to recalibrate on, at least {FEWEST_SAMPLES} are needed "
        f"({summary}){trained}{why}",
        fix="take more pictures of different good parts, as the line sees them",
    )


def _refuse_mostly_suspicious(suspicious: Sequence[Rejected], readable: int, sheet: Path) -> None:
    if len(suspicious) <= _MOST_SUSPICIOUS * readable:
        return
    why = "".join(f"\n  {Path(each.name).name}: {each}" for each in suspicious[:_NAMED])
    raise UsageError(
        f"{len(suspicious)} of {readable} samples are suspicious, {_MOST_SUSPICIOUS:.0%} at most may be{why}",
        fix=f"look at {sheet}; remove what is defective or of another product, or repeat with --keep-suspicious",
    )
