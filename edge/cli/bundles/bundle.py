"""bundle show, verify, sign, keygen: what a bundle is, whether it is whole, and who made it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from edge.bundles.bundle import CPU, Calibration, ModelBundle, calibrations, load_bundle
from edge.bundles.signature import is_signed, key_id, make_keys, require_signature, sign, signature_of
from edge.bundles.threshold_report import statement
from edge.bundles.versions import SHORT, find_version
from edge.core.config import Settings
from edge.core.errors import EdgeInspectError, UsageError
from edge.core.local_time import local_from_text
from edge.core.manifest import ResidualSpec, ScoreSpec
from edge.core.progress import say


def bundle(options: argparse.Namespace, settings: Settings) -> int:
    """Dispatch to the action."""
    needed = {"show": "bundle", "verify": "bundle", "sign": "bundle", "keygen": "key"}[options.action]
    if getattr(options, needed) is None or (options.action == "sign" and options.key is None):
        wanted = "--bundle BUNDLE --key PRIVATE_KEY" if options.action == "sign" else f"--{needed} {needed.upper()}"
        raise UsageError(f"`bundle {options.action}` lacks an option", fix=f"give {wanted}")
    {"show": _show, "verify": _verify, "sign": _sign, "keygen": _keygen}[options.action](options)
    return 0


def _show(options: argparse.Namespace) -> None:
    for name, value in described(load_bundle(options.bundle)):
        # what somebody else wrote must not steer this terminal
        text = "".join(character if character.isprintable() else "�" for character in value)
        print(f"{name:<20}{text}")


def _verify(options: argparse.Namespace) -> None:
    opened = load_bundle(options.bundle)
    opened.verify()
    whole = f"{options.bundle}: {len(opened.manifest.files)} files as the manifest says"
    if options.public_key is not None:
        print(f"{whole}, signed by key {require_signature(opened, options.public_key).key_id}, which you trust")
    elif is_signed(opened):
        signature = signature_of(opened)
        assert signature is not None
        print(f"{whole}, signed by key {signature.key_id}; --public-key says whether that is the key you trust")
    else:
        print(f"{whole}, not signed")


def _sign(options: argparse.Namespace) -> None:
    version = options.version
    signed = load_bundle(options.bundle) if version is None else find_version(options.bundle, version)
    signature = sign(signed, options.key)
    name = f"{options.bundle}, version {signed.sha256[:SHORT]}"
    say(f"{name}: signed by key {signature.key_id}; calibrating again or editing it ends that")


def _keygen(options: argparse.Namespace) -> None:
    public = make_keys(options.key)
    say(f"{options.key}: the private key, keep it off the line. {public}: the public one, key {key_id(public)}")


def described(opened: ModelBundle) -> Iterator[tuple[str, str]]:
    """(what, value) of everything a person may want to know of a bundle, damaged parts included."""
    manifest, training = opened.manifest, opened.manifest.training
    yield "product", manifest.product
    yield "method", f"{manifest.method}, variant {manifest.variant}, outputs {', '.join(manifest.outputs)}"
    yield "picture", f"{manifest.input.size}x{manifest.input.size} px, map {manifest.map_side}x{manifest.map_side}"
    region = manifest.preprocess
    yield "region", f"rectangle {region.rectangle or 'whole frame'}, polygon {region.polygon or 'none'}"
    yield "score", _score(manifest.score)
    yield "made", f"{local_from_text(manifest.created_utc)}, by {training.software}"
    yield (
        "training",
        f"{training.steps} steps on {training.n_train} good parts, {training.n_heldout} held out, "
        f"{training.n_weak} defective; {training.layout}, seed {training.seed}"
        f"{', without ' + ', '.join(training.ablations) if training.ablations else ''}",
    )
    yield "chosen on", training.selection
    for target, deployment in sorted(manifest.deployments.items()):
        refused = [f"{rung.rung} ({'; '.join(rung.exceeded)})" for rung in deployment.tried if rung.exceeded]
        after = f", after the gate refused {', '.join(refused)}" if refused else ""
        yield f"runs on {target}", f"{deployment.precision} with {deployment.backend}{after}"
    for precision, target in calibrations(manifest):
        yield from _calibration(opened, precision, target)
    for key, entry in sorted(manifest.files.items()):
        yield key, f"{entry.bytes / 1e6:.2f} MB, sha256 {entry.sha256[:16]}…, {entry.name}: {_state(opened, key)}"
    yield "bundle", f"format {manifest.format_version}, sha256 {opened.sha256}"
    yield "signature", _signed(opened)


def _score(score: ScoreSpec) -> str:
    weights = {name: getattr(score.residual, name) for name in ResidualSpec.model_fields}
    terms = ", ".join(f"{name[2:]} {weight:g}" for name, weight in weights.items() if weight) or "none"
    smooth = score.smooth.kind if score.smooth.kind == "none" else f"{score.smooth.kind} {score.smooth.radius}"
    return f"residual {terms}; blend {score.blend.mode}; smoothing {smooth}; mean of the {score.image_score.k} largest"


def _calibration(opened: ModelBundle, precision: str, target: str) -> Iterator[tuple[str, str]]:
    name = precision if target == CPU else f"{target} {precision}"
    try:
        calibration: Calibration = opened.calibration(precision, target=target)
    except EdgeInspectError as error:
        yield name, f"NOT USABLE: {error.message}"
        return
    yield name, f"calibrated {local_from_text(calibration.created_utc)}"
    for line in statement(calibration):
        yield "", line


def _state(opened: ModelBundle, key: str) -> str:
    try:
        opened.read(key)
    except EdgeInspectError as error:
        return f"NOT USABLE: {error.message}"
    return "whole"


def _signed(opened: ModelBundle) -> str:
    try:
        signature = signature_of(opened)
    except EdgeInspectError as error:
        return f"NOT CHECKED: {error.message}"
    return "none of this version" if signature is None else f"by key {signature.key_id}, fits the manifest"
