"""A version that was made elsewhere: it comes whole, with its own manifest and signature, and not a byte is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.bundles.bundle import ModelBundle, bundle_of_manifest, sha256_of, write_atomically
from edge.bundles.history import Audit, append_entry
from edge.bundles.signature import signature_name
from edge.bundles.versions import SHORT, alone, differences, refuse_overtaken
from edge.core.errors import BundleError
from edge.core.files.atomic_file import sync_directory


def receive_version(
    path: Path, base: ModelBundle | None, manifest: bytes, signature: bytes, files: Mapping[str, Path], audit: Audit
) -> ModelBundle:
    """Put a version beside the live one without switching to it; `switch_version` does that later.

    files: by their names in the manifest, verified, on the same file system; they are moved. base: the live version,
    None where there is none yet. Raises BundleError, also when a name belongs to another file already.
    """
    with alone(path):
        refuse_overtaken(path, base)
        _refuse_taken_names(path, files)
        try:
            for name, file in files.items():
                file.replace(path / name)
            sync_directory(path)
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}", fix="let this user write the bundle's directory") from error
        sha256 = sha256_of(manifest)
        name = f"manifest.{sha256[:SHORT]}.json"
        new = not (path / name).exists()
        write_atomically(path / signature_name(sha256), signature)
        write_atomically(path / name, manifest)
        staged = bundle_of_manifest(path, name)
        if new and base is not None:
            append_entry(path, audit.entry(base.sha256, staged.sha256, differences(base, staged)))
        return staged


def _refuse_taken_names(path: Path, files: Mapping[str, Path]) -> None:
    for name in files:
        if (path / name).exists():
            raise BundleError(
                f"{path / name}: is there, and is not the file of this name that came",
                fix="publish the bundle with `edge-inspect channel publish`, which gives every content a name of its "
                "own; if the file here is damaged, delete it",
            )
