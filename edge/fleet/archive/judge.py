"""A recorded picture through the inspector of another bundle. Whatever is wrong with a picture is a result, no stop."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2

from edge.backends import choose_backend
from edge.bundles.bundle import ModelBundle
from edge.bundles.signature import require_signature
from edge.bundles.versions import kept_versions
from edge.capture.freshness import FreshnessCheck
from edge.capture.images.image_io import UndecodableImage, decode_picture
from edge.core.config import MAX_MEGAPIXELS, Settings
from edge.core.datatypes import U8, Frame
from edge.core.errors import BundleError
from edge.fleet.archive.recorded import Outcome, Recorded, Result, Shard
from edge.inspection.inspector import Inspector
from edge.inspection.inspectors import live_bundle, make_inspectors, public_key
from edge.records.store import regions_text

_WITHOUT_PICTURE = {
    "expired": (Outcome.PRUNED, "the records removed it (record.max_image_age_days, record.max_image_mb)"),
    "skipped": (Outcome.NOT_WRITTEN, "there was no room, or no time, for it"),
    "waiting": (Outcome.WAITING, "the line has not written it yet"),
}


@dataclass(frozen=True)
class Judging:
    """By what pictures are judged: the same in every thread, process and machine of a run.

    bundle_sha256: the version of the bundle; it stays the same if another one becomes live meanwhile.
    """

    settings: Settings
    bundle_sha256: str

    @classmethod
    def by(cls, settings: Settings) -> tuple[Judging, ModelBundle]:
        """By the live version of the bundle of the settings. Raises BundleError, MissingDependency."""
        bundle = live_bundle(settings)
        chosen = choose_backend(settings.inspection.backend)
        places = {name: getattr(settings.inspection, name) for name in ("reference", "signed_by", "engines")}
        # workers of a cluster begin in another folder
        absolute = {name: None if place is None else str(Path(place).absolute()) for name, place in places.items()}
        changes = {"backend": chosen, "bundle": str(bundle.path.absolute()), **absolute}
        inspection = settings.inspection.model_copy(update=changes)
        return cls(settings.model_copy(update={"inspection": inspection}), bundle.sha256), bundle

    def open_judges(self, count: int) -> list[Judge]:
        """For as many threads, or fewer where the device takes no more. Raises EdgeInspectError."""
        # one core each, so that a score never depends on how many there are
        inspection = self.settings.inspection.model_copy(update={"threads": count})
        settings = self.settings.model_copy(update={"inspection": inspection})
        return [Judge(inspector, self.settings) for inspector in make_inspectors(self._bundle(), settings, count)]

    def _bundle(self) -> ModelBundle:
        bundle = live_bundle(self.settings)
        if bundle.sha256 == self.bundle_sha256:
            return bundle
        for version in kept_versions(bundle.path):
            if version.bundle.sha256 == self.bundle_sha256:
                key = public_key(self.settings)
                if key is not None:
                    require_signature(version.bundle, key)
                return version.bundle
        raise BundleError(
            f"{bundle.path}: the bundle has changed to {bundle.sha256[:12]} since this began with "
            f"{self.bundle_sha256[:12]}, which is not kept",
            fix="start the command again: it judges by the new version, and its results get a folder of their own",
        )


class Judge:
    """Judges one picture after the other; for one thread."""

    def __init__(self, inspector: Inspector, settings: Settings) -> None:
        self._inspector = inspector
        self._check = FreshnessCheck(settings.freshness, live=False)

    def judge(self, shard: Shard, recorded: Recorded) -> Result:
        """The new verdict, or why there is none."""
        data, outcome, detail = _bytes_of(shard, recorded)
        if outcome is not Outcome.JUDGED:
            return Result(recorded, outcome, detail=detail)
        try:
            # whoever wrote the picture has inspected it, however large; what nothing names may be anything
            image = decode_picture(data, max_megapixels=math.inf if recorded.picture_sha256 else MAX_MEGAPIXELS)
            fault = self._check.fault(image)
            frame = Frame(0, time.perf_counter_ns(), _moment(recorded.utc), recorded.source, image, fault)
            verdict = self._inspector.inspect(frame)
        except UndecodableImage as error:
            return Result(recorded, Outcome.DAMAGED, detail=str(error))
        except (MemoryError, cv2.error) as error:
            return Result(recorded, Outcome.UNREADABLE, detail=f"cannot be judged: {str(error) or 'not enough memory'}")
        return Result(
            recorded, Outcome.JUDGED, str(verdict.decision), str(verdict.reason), verdict.score, verdict.threshold,
            verdict.review, verdict.detail, regions_text(verdict.regions),
        )  # fmt: skip

    def close(self) -> None:
        self._inspector.backend.close()


def read_picture(shard: Shard, recorded: Recorded) -> U8 | None:
    """The picture that was judged, for a page; None where it is gone by now."""
    data, outcome, _ = _bytes_of(shard, recorded)
    with contextlib.suppress(UndecodableImage):
        return decode_picture(data, max_megapixels=math.inf) if outcome is Outcome.JUDGED else None
    return None


def _bytes_of(shard: Shard, recorded: Recorded) -> tuple[bytes, Outcome, str]:
    """The file of the picture; JUDGED where it is the one that was recorded."""
    outcome, detail = Outcome.MISSING, "no file is there"
    for path in shard.pictures(recorded):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            outcome, detail = Outcome.UNREADABLE, f"{error.strerror or error}"
            continue
        found = hashlib.sha256(data).hexdigest()
        if recorded.picture_sha256 in (None, found):
            return data, Outcome.JUDGED, ""
        outcome = Outcome.DAMAGED
        detail = f"{len(data)} bytes with sha256 {found[:12]}, recorded {str(recorded.picture_sha256)[:12]}"
    without = _WITHOUT_PICTURE.get(recorded.picture_state)
    return (b"", *without) if without is not None and outcome is Outcome.MISSING else (b"", outcome, detail)


def _moment(utc: str) -> datetime:
    try:
        moment = datetime.fromisoformat(utc)
    except ValueError:
        return datetime.fromtimestamp(0, timezone.utc)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
