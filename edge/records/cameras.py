"""What is on record of each camera of a group: its verdict, and where its picture stands in the stored one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge.core.datatypes import U8, CameraVerdict, Decision, Frame, Reason, StageTimes, Verdict
from edge.core.redact import redact


@dataclass(frozen=True)
class CameraRecord:
    """x, width, height: of its picture in the stored one, from the upper left corner; width 0 without a picture."""

    camera: str
    source: str
    decision: Decision
    reason: Reason
    detail: str
    score: float | None
    threshold: float
    review: bool
    bundle_sha256: str
    model_sha256: str
    x: int
    width: int
    height: int

    def cut_out(self, picture: U8) -> U8 | None:
        """The camera's own picture, exactly, of the stored one; None where it had none."""
        return picture[: self.height, self.x : self.x + self.width] if self.width else None

    def verdict(self, frame_index: int) -> CameraVerdict:
        """As it was given, but for regions, times and the map."""
        return CameraVerdict(
            self.camera,
            Verdict(
                frame_index, self.decision, self.reason, self.detail, self.score, self.threshold, (), StageTimes(),
                self.bundle_sha256, self.model_sha256, review=self.review,
            ),
        )  # fmt: skip


def camera_records(frame: Frame, verdict: Verdict) -> tuple[CameraRecord, ...]:
    """Of a group's verdict; empty for any other."""
    views = {view.camera: view for view in frame.views}
    records = []
    for each in verdict.cameras:
        view, judged = views.get(each.camera), each.verdict
        shown = view is not None and view.frame.image is not None
        records.append(
            CameraRecord(
                each.camera, "" if view is None else view.frame.source, judged.decision, judged.reason, judged.detail,
                judged.score, judged.threshold, judged.review, judged.bundle_sha256, judged.model_sha256,
                *((view.x, view.width, view.height) if shown and view is not None else (0, 0, 0)),
            )
        )  # fmt: skip
    return tuple(records)


def cameras_text(records: tuple[CameraRecord, ...]) -> str | None:
    """As JSON: a list of objects with the fields of CameraRecord; None without any."""
    return json.dumps([asdict(record) for record in records]) if records else None


def cameras_of_text(text: str | None) -> tuple[CameraRecord, ...]:
    """What `cameras_text` wrote; what a later version adds is left out."""
    return tuple(_record(values) for values in json.loads(text or "[]"))


def _record(values: dict[str, Any]) -> CameraRecord:
    known = {name: values[name] for name in CameraRecord.__dataclass_fields__}
    record = CameraRecord(**known)
    return replace(
        record,
        source=redact(record.source),
        detail=redact(record.detail),
        decision=Decision(record.decision),
        reason=Reason(record.reason),
    )
