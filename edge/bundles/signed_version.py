"""New versions of signed bundles: an unsigned one must not become live, or a restarted line finds nothing to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.bundles.bundle import ModelBundle
from edge.bundles.history import Audit
from edge.bundles.signature import is_signed, sign
from edge.bundles.versions import SHORT, Parts, stage_version
from edge.core.config import Settings
from edge.core.manifest import Manifest
from edge.core.progress import say


def lacks_key(bundle: ModelBundle, settings: Settings, key: Path | None) -> bool:
    """Whether a new version of this bundle needs a signature that cannot be given here."""
    return key is None and (settings.inspection.signed_by is not None or is_signed(bundle))


def wait_for_signature(bundle: ModelBundle, manifest: Manifest, parts: Parts, audit: Audit) -> None:
    """Write the version beside the live one, and say how it is signed and made live."""
    staged = stage_version(bundle, manifest, parts, replace(audit, action="candidate", note="waits for its signature"))
    name = staged.sha256[:SHORT]
    say(
        f"version {name} is made, and not live: the bundle is a signed one. Sign it with `edge-inspect bundle "
        f"sign --bundle {bundle.path} --version {name} --key KEY`, then `edge-inspect rollback --bundle {bundle.path} "
        f"--to {name}`"
    )


def signer(key: Path | None) -> Callable[[ModelBundle], None]:
    """Signs a version that lies there whole, before it becomes live; does nothing without a key."""

    def signed(version: ModelBundle) -> None:
        if key is not None:
            say(f"signed by key {sign(version, key).key_id}")

    return signed
