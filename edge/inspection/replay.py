"""Judge a recorded picture again, and say whether the verdict is the same. No backend is built here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from edge.capture.images.image_io import UndecodableImage, decode_picture
from edge.core.datatypes import U8, CameraVerdict, Decision, Fault, Frame, Reason, Verdict
from edge.core.errors import BundleError, CalibrationMismatch, RecordError
from edge.inspection.group.inspector import severity
from edge.inspection.inspector import Inspector
from edge.records.store import CAMERA_BUNDLES, ImageState, RecordStore, RunRecord, VerdictRecord
from edge.records.verdict_search import find_verdict

# the same numbers through the same model: room for the last digit of a float32, not for another result
SCORE_TOLERANCE = 1e-6

# these depend on when the picture came, which no picture can show
_OF_THEIR_MOMENT = {
    Reason.NO_FRAME, Reason.FROZEN, Reason.STALE, Reason.DEADLINE_MISSED, Reason.OVERRUN, Reason.INCOMPLETE,
    Reason.MISSED_FRAME,
}  # fmt: skip
# found by looking at the picture before the network does
_OF_THE_PICTURE = {Reason.BLACK, Reason.SATURATED}

_WHY_NO_PICTURE: dict[ImageState, str] = {
    "none": "its picture was not kept (OK pictures are kept by record.keep_ok_share; some looks bring none)",
    "waiting": "its picture is not on disk yet",
    "skipped": "its picture was skipped: there was no room, or no time, for it",
    "expired": "its picture has expired (record.max_image_age_days, record.max_image_mb)",
}


class Outcome(str, Enum):
    SAME = "same"
    DIFFERENT = "different"
    NOT_REPEATABLE = "not repeatable"


@dataclass(frozen=True)
class ReplayResult:
    """What was recorded, what came out now (None when nothing can), and how they compare in one sentence."""

    recorded: VerdictRecord
    run: RunRecord
    outcome: Outcome
    explanation: str
    verdict: Verdict | None = None


def replay(
    store: RecordStore,
    name: int | str,
    make_inspector: Callable[[RunRecord, VerdictRecord], Inspector],
    picture_fault: Callable[[U8], Fault | None] | None = None,
) -> ReplayResult:
    """Run the stored picture of a verdict through an inspector once more.

    name: its number (12-004711), its picture or its row id. make_inspector: called only when there is something to
    judge; the caller owns what it makes, and closes it. picture_fault: the checks that need nothing but the picture
    (black, saturated); without it such verdicts are reported as not repeatable. Raises RecordError (no such verdict, no
    picture, damaged picture), BundleError (another bundle than the recorded one) and CalibrationMismatch (another
    model or preprocessing).
    """
    recorded = find_verdict(store, str(name))
    run = store.run(recorded.run_id)
    if recorded.reason in _OF_THEIR_MOMENT:
        explanation = f"{recorded.reason} depends on when the picture came, not on the picture: {recorded.detail}"
        return ReplayResult(recorded, run, Outcome.NOT_REPEATABLE, explanation)
    image = _stored_image(store, recorded)
    if recorded.reason in _OF_THE_PICTURE and picture_fault is None:
        explanation = f"{recorded.reason} was found before inspection, and no picture checks were given"
        return ReplayResult(recorded, run, Outcome.NOT_REPEATABLE, explanation)
    if recorded.cameras:
        return _replayed_cameras(recorded, run, image, make_inspector, picture_fault)
    inspector = make_inspector(run, recorded)
    _refuse_other_model(run, recorded, inspector)
    fault = picture_fault(image) if picture_fault is not None else None
    frame = Frame(recorded.frame_index, time.perf_counter_ns(), recorded.utc, run.info.source, image, fault)
    verdict = inspector.inspect(frame)
    outcome, explanation = _compared(recorded, verdict)
    return ReplayResult(recorded, run, outcome, explanation, verdict)


def _replayed_cameras(
    recorded: VerdictRecord,
    run: RunRecord,
    image: U8,
    make_inspector: Callable[[RunRecord, VerdictRecord], Inspector],
    picture_fault: Callable[[U8], Fault | None] | None,
) -> ReplayResult:
    """Each camera's picture of a group's, cut out and judged by the camera's own bundle, one after the other."""
    places = json.loads(run.info.config).get(CAMERA_BUNDLES, {})
    outcomes, told, worst = [], [], None
    for camera in recorded.cameras:
        picture = camera.cut_out(image)
        if picture is None or camera.reason in _OF_THEIR_MOMENT:
            told.append(f"camera {camera.camera}: {camera.reason} depends on its moment")
            continue
        own = replace(
            recorded, decision=camera.decision, reason=camera.reason, detail=camera.detail, score=camera.score,
            threshold=camera.threshold, review=camera.review, bundle_sha256=camera.bundle_sha256,
            model_sha256=camera.model_sha256, regions=(), parts=(), cameras=(),
        )  # fmt: skip
        info = replace(run.info, bundle_path=places.get(camera.camera, run.info.bundle_path))
        inspector = make_inspector(replace(run, info=info), own)
        _refuse_other_model(run, own, inspector)
        fault = None if picture_fault is None else picture_fault(picture)
        now_ns = time.perf_counter_ns()
        verdict = inspector.inspect(Frame(recorded.frame_index, now_ns, recorded.utc, camera.source, picture, fault))
        outcome, explanation = _compared(own, verdict)
        outcomes.append(outcome)
        told.append(f"camera {camera.camera}: {explanation}")
        now = CameraVerdict(camera.camera, verdict)
        if worst is None or severity(now) < severity(worst):
            worst = now
    if worst is None:
        return ReplayResult(recorded, run, Outcome.NOT_REPEATABLE, "; ".join(told))
    verdict = replace(worst.verdict, detail=f"camera {worst.camera}: {worst.verdict.detail}")
    outcome = Outcome.DIFFERENT if Outcome.DIFFERENT in outcomes else Outcome.SAME
    return ReplayResult(recorded, run, outcome, "; ".join(told), verdict)


def _stored_image(store: RecordStore, recorded: VerdictRecord) -> U8:
    if recorded.image is None:
        why = _WHY_NO_PICTURE.get(recorded.image_state, "it has no picture")
        raise RecordError(
            f"verdict {recorded.number} cannot be replayed: {why}",
            fix="choose a verdict with a picture; NG and INVALID pictures are kept by default",
        )
    path = store.directory / recorded.image
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(
            f"verdict {recorded.number}: {path} cannot be read: {error.strerror}",
            fix="restore the images directory beside verdicts.sqlite, or choose another verdict",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    image = None
    with contextlib.suppress(UndecodableImage):
        if found == recorded.image_sha256:
            # what was inspected then may be larger than a file from elsewhere
            image = decode_picture(data, max_megapixels=math.inf)
    if image is None:
        raise RecordError(
            f"verdict {recorded.number}: {path} is damaged or was changed: sha256 {found[:12]}, "
            f"recorded {str(recorded.image_sha256)[:12]}",
            fix="restore the file from a backup, and check the disk",
        )
    return image


def _refuse_other_model(run: RunRecord, recorded: VerdictRecord, inspector: Inspector) -> None:
    """Another model gives another score; saying `different` would blame the wrong thing."""
    if inspector.bundle_sha256 != recorded.bundle_sha256:
        raise BundleError(
            f"verdict {recorded.number} was made by bundle {recorded.bundle_sha256[:12]}, "
            f"this bundle is {inspector.bundle_sha256[:12]}",
            fix=f"give the bundle of that time with --bundle; it was then at {run.info.bundle_path}",
        )
    if inspector.backend.model_sha256 != recorded.model_sha256:
        raise CalibrationMismatch(
            f"verdict {recorded.number} was made by model {recorded.model_sha256[:12]}, "
            f"this model is {inspector.backend.model_sha256[:12]}",
            fix=f"replay with --backend {run.info.backend} --precision {run.info.precision}",
        )
    # a bundle switched in mid-run may bring its own preprocessing; the run's hash is that of its first bundle
    same_bundle = recorded.bundle_sha256 == run.info.bundle_sha256
    if same_bundle and inspector.preprocess.sha256 != run.info.preprocess_sha256:
        raise CalibrationMismatch(
            f"verdict {recorded.number} was made with another region of interest or size",
            fix="use the config.yaml of that time; the run's settings are stored in its record",
        )


def _compared(recorded: VerdictRecord, verdict: Verdict) -> tuple[Outcome, str]:
    now = f"{verdict.decision} ({verdict.reason})"
    then = f"{recorded.decision} ({recorded.reason})"
    if recorded.decision is Decision.INVALID or verdict.score is None or recorded.score is None:
        same = (verdict.decision, verdict.reason) == (recorded.decision, recorded.reason)
        return (Outcome.SAME, f"again {now}") if same else (Outcome.DIFFERENT, f"recorded {then}, now {now}")
    if not math.isclose(verdict.score, recorded.score, rel_tol=SCORE_TOLERANCE, abs_tol=0.0):
        scores = f"score {recorded.score!r} then, {verdict.score!r} now"
        return Outcome.DIFFERENT, f"recorded {then}, now {now}: {scores}"
    if (verdict.decision, verdict.review) != (recorded.decision, recorded.review):
        thresholds = f"threshold {recorded.threshold!r} then, {verdict.threshold!r} now"
        return Outcome.DIFFERENT, f"the same score {verdict.score!r}, but recorded {then}, now {now}: {thresholds}"
    return Outcome.SAME, f"again {now} with score {verdict.score!r}"
