"""Whether a line is ready: what `challenge.require` asks for, and what the records say of the newest challenge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from edge.backends import target_of
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.capture.sources import names_files
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.errors import BundleError, ChallengeError, RecordError
from edge.inspection.challenges.records import latest_challenges, not_ready
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.readiness_monitor import AND, ReadinessMonitor
from edge.system.findings import Finding, State

log = logging.getLogger("edge.inspection.challenge")

# the camera is taken while the line runs
RUN_IT_BESIDE = "run `edge-inspect challenge --data FOLDER` beside it, or stop it and challenge it through its camera"


def run_it(settings: Settings) -> str:
    """How the camera of the settings is challenged, which may be one of a group."""
    only = settings.group.only
    which = "--camera CAMERA" if only is None else f"--only {only}"
    return f"put a golden part under the camera and run `edge-inspect challenge {which}`"


def require_challenge(bundle: ModelBundle, model_sha256: str, camera: str, settings: Settings) -> None:
    """Raise ChallengeError, or warn, as the settings say, when the newest challenge does not let a line start.

    Files and the demo are no line. settings: of a group, those of one of its cameras.
    """
    if not _asked_for(camera, settings):
        return
    why = why_not_ready(bundle.sha256, model_sha256, settings)
    if why is None:
        return
    if settings.group.only is not None:
        why = f"camera {settings.group.only}: {why}"
    if settings.challenge.require == "refuse":
        raise ChallengeError(f"the line is not ready: {why}", fix=run_it(settings))
    log.warning("the line is NOT READY: %s; %s", why, run_it(settings))


def readiness_monitor(
    camera: str,
    settings: Settings,
    counters: RunCounters,
    alarms: AlarmLog,
    judges_first: Sequence[tuple[str, str]],
) -> ReadinessMonitor | None:
    """The same while the line runs, as an alarm; None where no challenge is asked for.

    judges_first: hashes of bundle and model; of a group each camera's.
    """
    if not _asked_for(camera, settings):
        return None

    def why_not(bundles: str, models: str) -> str | None:
        names = settings.group.names or ("",)
        try:
            for name, bundle, model in zip(names, bundles.split(AND), models.split(AND), strict=True):
                why = why_not_ready(bundle, model, settings)
                if why is not None:
                    return f"camera {name}: {why}" if name else why
        except RecordError as error:
            return error.message
        return None

    bundles, models = (AND.join(hashes) for hashes in zip(*judges_first, strict=True))
    return ReadinessMonitor(why_not, RUN_IT_BESIDE, counters, alarms, (bundles, models))


def change_not_ready(camera: str, settings: Settings) -> Callable[[str, str], str | None]:
    """Hashes of bundle and model → why a line must not change to them; None when it may, and where nobody asks."""
    refuses = _asked_for(camera, settings) and settings.challenge.require == "refuse"

    def why_not(bundle_sha256: str, model_sha256: str) -> str | None:
        return why_not_ready(bundle_sha256, model_sha256, settings) if refuses else None

    return why_not


def _asked_for(camera: str, settings: Settings) -> bool:
    return settings.challenge.require is not None and not names_files(camera) and camera.strip() != "demo"


def challenge_findings(bundle_path: Path, settings: Settings) -> list[Finding]:
    """For `doctor`: whether a line that needs a challenge may start; nothing where none is needed."""
    wanted = settings.challenge.require
    if wanted is None:
        return []
    try:
        why = why_line_not_ready(load_bundle(bundle_path), settings)
    except BundleError:
        # the finding about the bundle names the cause
        return []
    except RecordError as error:
        return [Finding("challenge", State.FAIL, error.message, error.fix)]
    if why is None:
        return [Finding("challenge", State.OK, "passed; the line is ready")]
    state = State.FAIL if wanted == "refuse" else State.WARN
    return [Finding("challenge", state, f"the line is not ready: {why}", run_it(settings))]


def why_line_not_ready(bundle: ModelBundle, settings: Settings) -> str | None:
    """Why a line that starts with this bundle and these settings is not ready; None when it is."""
    target = target_of(settings.inspection.backend)
    model = bundle.model_sha256(bundle.precision(settings.inspection.precision, target), target)
    return why_not_ready(bundle.sha256, model, settings)


def why_not_ready(bundle_sha256: str, model_sha256: str, settings: Settings) -> str | None:
    """Why a line with this bundle and model is not ready; None when it is."""
    if settings.record.directory is None:
        return "records are off, and challenges are kept there"
    directory = Path(settings.record.directory)
    # with recipes, and of a group, the newest challenge of this bundle counts, whatever was challenged meanwhile
    several = settings.recipes.file is not None or settings.group.cameras or settings.group.only is not None
    of_bundle = bundle_sha256 if several else None
    newest = latest_challenges(directory, 1, of_bundle) or latest_challenges(directory, 1)
    now = datetime.now(timezone.utc)
    return not_ready(newest, bundle_sha256, model_sha256, settings.challenge.max_age_hours, now)
