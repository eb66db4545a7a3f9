"""A better network for a bundle that inspects already: trained beside the line, tried beside it, then live.

The memory of good parts inspects within a minute of the last sample. What takes longer to learn is learned here, at
low priority, and takes over only if it is judged better on the same parts and agrees with the line on real frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.auto.auto import make_bundle
from calibration.pipeline.train import TrainingRequest
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.history import Audit
from edge.bundles.learning import note_learning
from edge.bundles.shadow_trial import passes_trial
from edge.bundles.versions import SHORT, making_version, stage_version, switch_version
from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.errors import EdgeInspectError, UsageError
from edge.core.progress import say
from edge.system.stop_signals import unwrapped_ctrl_c

if TYPE_CHECKING:
    from training.run.preparation import Recipe


@dataclass(frozen=True)
class ImprovementRequest:
    """bundle: what inspects. data: the samples it was taught from. run_directory: where training is kept.

    shadow: frames of the running line that both versions judge; 0: no line runs, the new version is not tried.
    shadow_limit: the share of them that may be judged differently.
    """

    bundle: Path
    data: Path
    run_directory: Path
    recipe: Recipe
    false_reject: float | None
    shadow: int
    shadow_limit: float


def improve_bundle(request: ImprovementRequest, settings: Settings, reader: ImageReader) -> bool:
    """Whether a better version is live now; the operator of the line sees how it goes.

    Raises UsageError and BundleError. A second call goes on where the first one was cut off.
    """
    live = load_bundle(request.bundle)
    path = live.path
    if live.manifest.preprocess.tiles is not None:
        raise UsageError(
            f"{path} inspects in tiles, and what is trained learns from whole pictures, without small defects",
            fix="recalibrate it with more good parts instead",
        )
    minutes = "" if request.recipe.minutes is None else f", about {request.recipe.minutes:.0f} min"
    note_learning(path, "learning", f"learning a better version{minutes}; this one inspects meanwhile")
    try:
        with unwrapped_ctrl_c():
            better = _trained(live, request, settings, reader)
        if better is None:
            note_learning(path, "over", "nothing better was found: this version stays")
            return False
        return _tried(live, better, request)
    except KeyboardInterrupt:
        note_learning(path, "over", "learning was stopped; edge-inspect improve goes on")
        raise
    except EdgeInspectError as error:
        note_learning(path, "over", f"no better version: {error.message.splitlines()[0]}")
        raise


def _trained(
    live: ModelBundle, request: ImprovementRequest, settings: Settings, reader: ImageReader
) -> ModelBundle | None:
    """A bundle of another network than the live one's, judged better on the same parts; None when there is none."""
    asked = TrainingRequest(
        data=request.data,
        out=request.run_directory / "better",
        recipe=request.recipe,
        false_reject=request.false_reject,
        product=live.manifest.product,
        run_directory=request.run_directory,
        command="improve",
    )
    made = make_bundle(asked, settings, reader, say)
    record, before = made.manifest, live.manifest
    if (record.method, record.variant) == (before.method, before.variant):
        say(f"nothing better was found: {record.training.selection}")
        return None
    if made.preprocess != live.preprocess:
        raise UsageError(
            f"{made.path} sees parts in another way than {live.path}: region, alignment or size of the picture",
            fix=f"stop the line, then start it with --bundle {made.path}",
        )
    return made


def _tried(live: ModelBundle, better: ModelBundle, request: ImprovementRequest) -> bool:
    """Beside the running line, then live."""
    path, manifest = live.path, better.manifest
    parts = {key: (entry.name, better.read(key)) for key, entry in manifest.files.items()}
    named = f"{manifest.method} {manifest.variant}"
    with making_version(live):
        audit = Audit("improve", note=f"{named}, trained on {request.data}")
        staged = stage_version(live, manifest, parts, replace(audit, action="candidate"))
        short = staged.sha256[:SHORT]
        by_hand = f"edge-inspect rollback --bundle {path} --to {short}"
        if not request.shadow:
            note_learning(path, "over", f"a better version is ready ({short}): {by_hand}")
            say(f"version {short} ({named}) is ready; `{by_hand}` makes it live")
            return False
        note_learning(path, "trying", "a better version is ready; it is tried beside this one")
        if not passes_trial(live, staged, request.shadow, request.shadow_limit):
            note_learning(path, "over", f"the new version judges otherwise; to take it: {by_hand}")
            say(f"version {short} is not live: look at the disagreements; `{by_hand}` makes it live")
            return False
        switch_version(live, staged, audit)
    note_learning(path, "over", f"the better version ({short}) inspects now")
    say(f"version {short} ({named}) is live; `edge-inspect rollback --bundle {path}` goes back")
    return True
