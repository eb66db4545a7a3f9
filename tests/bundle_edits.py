"""Changes to a bundle on disk: its manifest as a careless hand would, its threshold as a command does."""

import json
from dataclasses import replace

from edge.bundles.bundle import MANIFEST
from edge.bundles.history import Audit
from edge.bundles.versions import commit_version


def edit_manifest(path, change):
    """Change the values of manifest.json in place; nothing else of the bundle is adapted."""
    values = json.loads((path / MANIFEST).read_text())
    change(values)
    (path / MANIFEST).write_text(json.dumps(values))


def with_threshold(bundle, threshold):
    """The part that another threshold changes, as writers of versions take it."""
    calibration = replace(bundle.calibration("int8"), threshold=threshold)
    return {"calibration_int8": ("calibration_int8.npz", calibration.to_bytes())}


def commit_threshold(bundle, threshold, audit=None):
    """Commit a version with another threshold."""
    parts = with_threshold(bundle, threshold)
    return commit_version(bundle, bundle.manifest, parts, audit or Audit("threshold"))
