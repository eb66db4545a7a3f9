"""The settings of config.yaml, typed, and the rules that they keep; `files/settings_file.py` reads them.

This module imports neither cv2 nor numpy: the camera time-out of V4L2 must be set before cv2 is imported.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError, model_validator

from edge.core.redact import redact
from edge.core.sections import (
    ChannelSettings,
    GenICamSettings,
    Level,
    LineSettings,
    LoggingSettings,
    MetricsSettings,
    MqttSettings,
    Name,
    OpcUaSettings,
    OutputSettings,
    PartSettings,
    PathText,
    PlcSettings,
    Positive,
    PositiveInt,
    RecipesSettings,
    Section,
    ServiceSettings,
    Share,
    WebSettings,
    at_home,
)  # fmt: skip

log = logging.getLogger(__name__)

# where pictures are decoded without settings at hand
MAX_MEGAPIXELS = 50.0
# that see the same part
MOST_CAMERAS = 4
# in the line's run directory, what MQTT says of the part
PART_NAME = "part.txt"


def _camera_name(value: Any) -> Any:
    """A camera's number is a name, too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SourceText = Annotated[str, BeforeValidator(_camera_name), AfterValidator(at_home)]


class CameraSettings(Section):
    source: SourceText | None = None
    password_file: PathText | None = None
    open_timeout_ms: PositiveInt = 5000
    read_timeout_ms: PositiveInt = 2000
    reopen_first_ms: PositiveInt = 250
    reopen_max_ms: PositiveInt = 5000
    width_px: PositiveInt | None = None
    height_px: PositiveInt | None = None
    fps: Positive | None = None
    mm_per_px: Positive | None = None
    sensor_bits: Literal[10, 12, 14, 16] = 16
    max_megapixels: Positive = MAX_MEGAPIXELS
    max_file_mb: Positive = 256
    skip_first_frames: Annotated[int, Field(ge=0)] = 0
    watch: bool = False
    genicam: GenICamSettings = GenICamSettings()

    @property
    def lost_after_ms(self) -> int:
        """A camera that sends nothing for so long is opened again; until then it may be slow, or wait for a trigger."""
        return 5 * self.read_timeout_ms

    @model_validator(mode="after")
    def _consistent(self) -> CameraSettings:
        if self.reopen_first_ms > self.reopen_max_ms:
            raise ValueError(f"reopen_first_ms ({self.reopen_first_ms}) is above reopen_max_ms ({self.reopen_max_ms})")
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("width_px and height_px go together: give both or neither")
        return self


class GroupCamera(Section):
    """One of several cameras that see the same part. bundle, reference: null for those of `inspection`; a reference is
    of one camera alone. camera: keys of the settings' `camera` that differ, as exposure or size.
    """

    name: Name
    source: SourceText
    bundle: PathText | None = None
    reference: PathText | None = None
    camera: dict[str, Any] = Field(default_factory=dict)

    def camera_settings(self, line: CameraSettings) -> CameraSettings:
        """Those of this camera; raises ValidationError where `camera` has what cannot be."""
        genicam = self.camera.get("genicam", {})
        if isinstance(genicam, dict):
            genicam = {**line.genicam.model_dump(), **genicam}
        return CameraSettings.model_validate(
            {**line.model_dump(), **self.camera, "genicam": genicam, "source": self.source}
        )


class GroupSettings(Section):
    cameras: list[GroupCamera] = Field(default_factory=list)
    apart_ms: PositiveInt = 50
    only: Name | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    @model_validator(mode="after")
    def _consistent(self) -> GroupSettings:
        if self.cameras and not 2 <= len(self.cameras) <= MOST_CAMERAS:
            raise ValueError(f"a group has 2 to {MOST_CAMERAS} cameras, got {len(self.cameras)}")
        # names of folders, too, on systems that do not tell case apart
        if len({name.lower() for name in self.names}) < len(self.cameras):
            raise ValueError(f"two cameras have the same name ({', '.join(self.names)})")
        sources = [camera.source for camera in self.cameras if camera.source != "demo"]
        if len(set(sources)) < len(sources):
            raise ValueError("two cameras have the same source: each needs its own")
        if self.only is not None and self.cameras and self.only not in self.names:
            raise ValueError(f"only: the group has no camera {self.only}; its cameras are {', '.join(self.names)}")
        for camera in self.cameras:
            if "source" in camera.camera:
                raise ValueError(f"camera {camera.name}: its source stands beside its name, and not below `camera`")
        return self


class FreshnessSettings(Section):
    max_age_ms: PositiveInt = 500
    max_identical_frames: Annotated[int, Field(ge=0)] = 2
    black_level: Level = 8
    black_share: Share = 0.001
    saturated_level: Level = 250
    saturated_share: Share = 0.98
    expected_width_px: PositiveInt | None = None
    expected_height_px: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> FreshnessSettings:
        if self.black_level >= self.saturated_level:
            raise ValueError(f"black_level ({self.black_level}) must be below saturated_level ({self.saturated_level})")
        if (self.expected_width_px is None) != (self.expected_height_px is None):
            raise ValueError("expected_width_px and expected_height_px go together: give both or neither")
        return self


def _trigger_mode(value: Any) -> Any:
    """`frame` is the name of version 0.2, which settings files may still use."""
    return "free" if value == "frame" else value


class TriggerSettings(Section):
    mode: Annotated[Literal["free", "part", "plc", "hardware"], BeforeValidator(_trigger_mode)] = "free"
    max_moving_ms: PositiveInt = 5000
    settle_ms: Annotated[int, Field(ge=0)] = 50
    frame_timeout_ms: PositiveInt = 500
    queue: Annotated[int, Field(ge=1, le=64)] = 4


class RoiSettings(Section):
    rectangle: list[int] | None = None
    polygon: list[list[int]] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RoiSettings:
        if self.rectangle is not None:
            if len(self.rectangle) != 4:
                raise ValueError(f"rectangle needs [x, y, width, height], got {len(self.rectangle)} numbers")
            x, y, width, height = self.rectangle
            if x < 0 or y < 0 or width <= 0 or height <= 0:
                raise ValueError(f"rectangle {self.rectangle}: x and y must be >= 0, width and height > 0")
        if self.polygon is not None and (len(self.polygon) < 3 or any(len(corner) != 2 for corner in self.polygon)):
            raise ValueError("polygon needs three or more [x, y] corners")
        return self

    @property
    def as_tuples(self) -> tuple[tuple[int, int, int, int] | None, tuple[tuple[int, int], ...] | None]:
        """(rectangle, polygon), immutable, as a bundle keeps them."""
        corners = self.rectangle
        rectangle = None if corners is None else (corners[0], corners[1], corners[2], corners[3])
        return rectangle, None if self.polygon is None else tuple((x, y) for x, y in self.polygon)


class AlignSettings(Section):
    mode: Literal["none", "phase", "template", "ecc", "upright"] | None = None
    max_shift: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    max_angle_deg: Annotated[float, Field(ge=0, le=45)] = 10.0
    max_scale: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    min_quality: Share | None = None
    parts: Annotated[int, Field(ge=1, le=1000)] | None = None


class InspectionSettings(Section):
    bundle: PathText | None = None
    signed_by: PathText | None = None
    reference: PathText | None = None
    backend: Literal["auto", "openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"] = "auto"
    precision: Literal["auto", "int8", "fp16", "fp32"] = "auto"
    engines: PathText | None = None
    uncalibrated: bool = False
    threads: PositiveInt | None = None
    deadline_ms: PositiveInt | None = 1000
    keep_warm_ms: Annotated[int, Field(ge=5)] | None = 1000

    @property
    def keep_warm_s(self) -> float | None:
        return None if self.keep_warm_ms is None else self.keep_warm_ms / 1000

    @property
    def engines_folder(self) -> Path | None:
        return None if self.engines is None else Path(self.engines)


class GateSettings(Section):
    flip_share: Share | None = None
    missed_share: Share = 0.05
    auroc_drop: Share = 0.005
    aupro_drop: Share = 0.01


class DriftSettings(Section):
    watch: bool = True
    false_alarm_every: Annotated[int, Field(ge=1000)] = 1_000_000
    learn_from: Annotated[int, Field(ge=16, le=10_000)] = 100


class BurstSettings(Section):
    rejects: PositiveInt | None = 8
    of: PositiveInt = 10

    @model_validator(mode="after")
    def _consistent(self) -> BurstSettings:
        if self.rejects is not None and self.rejects > self.of:
            raise ValueError(f"rejects ({self.rejects}) is above of ({self.of})")
        return self


class RecordSettings(Section):
    directory: PathText | None = "records"
    commit_every_ms: Annotated[int, Field(ge=10, le=1000)] = 500
    keep_ok_share: Share = 0.0
    max_image_age_days: Positive | None = 30
    max_image_mb: Positive | None = 10000
    max_verdict_age_days: Positive | None = 365
    queue_frames: PositiveInt = 64
    queue_verdicts: PositiveInt = 100000

    @model_validator(mode="before")
    @classmethod
    def _replaced(cls, values: Any) -> Any:
        """`keep_ok_every` of version 0.2 and before kept every n-th OK picture; as many are now drawn at random."""
        if not isinstance(values, dict) or "keep_ok_every" not in values:
            return values
        every = values["keep_ok_every"]
        if "keep_ok_share" in values:
            raise ValueError("keep_ok_every is replaced by keep_ok_share: give that alone")
        if type(every) is not int or every < 0:
            raise ValueError(f"keep_ok_every is no whole number ({every!r:.120}): give keep_ok_share instead")
        share = 1 / every if every else 0.0
        log.warning("record.keep_ok_every: %d is replaced by keep_ok_share: %.4g, drawn at random", every, share)
        return {name: value for name, value in values.items() if name != "keep_ok_every"} | {"keep_ok_share": share}


class ChallengeSettings(Section):
    require: Literal["warn", "refuse"] | None = None
    max_age_hours: Positive = 12
    pictures: PathText | None = None
    # the second names are those of version 0.1, which settings files may still use
    synthetic_defects: Annotated[int, Field(ge=0, le=100)] = Field(
        default=6, validation_alias=AliasChoices("synthetic_defects", "seeded_defects")
    )
    synthetic_area_percent: Annotated[float, Field(gt=0, le=25)] = Field(
        default=2.0, validation_alias=AliasChoices("synthetic_area_percent", "seeded_area_percent")
    )


class ViewSettings(Section):
    # YAML 1.1 reads a bare on/off as a boolean
    live: Literal["auto", "on", "off"] | bool = "auto"
    refresh_per_second: Positive = 4


class Settings(Section):
    line: LineSettings = LineSettings()
    camera: CameraSettings = CameraSettings()
    group: GroupSettings = GroupSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    trigger: TriggerSettings = TriggerSettings()
    part: PartSettings = PartSettings()
    roi: RoiSettings = RoiSettings()
    align: AlignSettings = AlignSettings()
    inspection: InspectionSettings = InspectionSettings()
    gate: GateSettings = GateSettings()
    drift: DriftSettings = DriftSettings()
    burst: BurstSettings = BurstSettings()
    record: RecordSettings = RecordSettings()
    challenge: ChallengeSettings = ChallengeSettings()
    view: ViewSettings = ViewSettings()
    recipes: RecipesSettings = RecipesSettings()
    metrics: MetricsSettings = MetricsSettings()
    mqtt: MqttSettings = MqttSettings()
    opcua: OpcUaSettings = OpcUaSettings()
    plc: PlcSettings = PlcSettings()
    outputs: OutputSettings = OutputSettings()
    web: WebSettings = WebSettings()
    channel: ChannelSettings = ChannelSettings()
    service: ServiceSettings = ServiceSettings()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.challenge.require is not None and self.record.directory is None:
            raise ValueError("challenge.require needs record.directory: challenges are kept in the records")
        if self.trigger.mode == "plc" and self.camera.watch:
            raise ValueError(
                "trigger.mode plc and camera.watch (--watch) do not go together: nothing says which picture of a "
                "watched folder is of which trigger; use mode free, or a camera"
            )
        if self.trigger.mode == "hardware" and self.camera.skip_first_frames:
            raise ValueError(
                "trigger.mode hardware and camera.skip_first_frames do not go together: every picture shows a part"
            )
        if self.trigger.mode == "plc" and self.plc.port is None:
            raise ValueError("trigger.mode plc needs plc.port: parts are asked for there")
        deadline = self.inspection.deadline_ms
        if deadline is not None and deadline < self.freshness.max_age_ms:
            raise ValueError(
                f"inspection.deadline_ms ({deadline}) is below freshness.max_age_ms ({self.freshness.max_age_ms}): "
                "a frame could be fresh enough to start and already too late"
            )
        return self

    @model_validator(mode="after")
    def _one_tells_the_part(self) -> Settings:
        if self.mqtt.accept_part and self.line.run_directory is None:
            raise ValueError("mqtt.accept_part needs line.run_directory, in which the line finds what MQTT says")
        sources = {
            "part.file": self.part.file is not None,
            "mqtt.accept_part": self.mqtt.accept_part,
            "trigger.mode plc": self.trigger.mode == "plc",
        }
        several = [name for name, given in sources.items() if given]
        if len(several) > 1:
            raise ValueError(f"{' and '.join(several)} would each say which part a frame shows: keep one of them")
        return self

    @model_validator(mode="after")
    def _one_group(self) -> Settings:
        if not self.group.cameras or self.group.only is not None:
            return self
        for wrong, what, why in (
            (self.camera.source is not None, "camera.source", "both say what is looked at"),
            (self.camera.watch, "camera.watch (--watch)", "nothing says that another picture of a part will not come"),
            (self.trigger.mode == "part", "trigger.mode part", "a part that lies still before one camera need not have "
             "its picture taken by the others then; use mode plc or hardware"),
            (self.recipes.file is not None, "recipes.file", "a group judges one product"),
            (self.inspection.reference is not None, "inspection.reference", "golden pictures are of one camera; give "
             "`reference` beside its name"),
        ):  # fmt: skip
            if wrong:
                raise ValueError(f"group.cameras and {what} do not go together: {why}")
        if self.trigger.mode == "hardware" and self.group.apart_ms >= self.trigger.frame_timeout_ms:
            raise ValueError(
                f"group.apart_ms ({self.group.apart_ms}) must be below trigger.frame_timeout_ms "
                f"({self.trigger.frame_timeout_ms}): pictures are waited for longer than they may be apart"
            )
        for camera in self.group.cameras:
            try:
                own = camera.camera_settings(self.camera)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, ("camera", *first["loc"])))
                raise ValueError(f"group camera {camera.name}: {where}: {first['msg']}") from error
            if own.watch or (self.trigger.mode == "hardware" and own.skip_first_frames):
                raise ValueError(
                    f"group camera {camera.name}: watch, and with trigger.mode hardware skip_first_frames, do not go "
                    "with a group: every picture shows a part"
                )
        return self

    def of_camera(self, name: str) -> Settings:
        """The settings of a line that has this camera of the group alone."""
        camera = next(each for each in self.group.cameras if each.name == name)
        inspection = {"bundle": camera.bundle or self.inspection.bundle, "reference": camera.reference}
        return self.model_copy(
            update={
                "camera": camera.camera_settings(self.camera),
                "group": GroupSettings(only=name),
                "inspection": self.inspection.model_copy(update=inspection),
            }
        )

    @property
    def part_file(self) -> Path | None:
        """The file that says which part a frame shows; None where none does."""
        if self.mqtt.accept_part and self.line.run_directory is not None:
            return Path(self.line.run_directory) / PART_NAME
        return None if self.part.file is None else Path(self.part.file)

    def record_json(self) -> str:
        """All settings as JSON for the records, without the secrets of the camera's address."""
        source = self.camera.source
        shown = self.camera.model_copy(update={"source": None if source is None else redact(source)})
        cameras = [each.model_copy(update={"source": redact(each.source)}) for each in self.group.cameras]
        group = self.group.model_copy(update={"cameras": cameras})
        # not by pydantic, which takes no names that are no text
        return json.dumps(self.model_copy(update={"camera": shown, "group": group}).model_dump())
