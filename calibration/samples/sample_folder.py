"""The folder that a product is taught from: its samples, lossless, on the disk as soon as they are taken."""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2

from edge.capture.images.image_io import natural_key, not_a_picture
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.file_lock import file_lock
from edge.pages.pictures import picture_bytes

SHEET, DETAILS = "rejected.png", "details.log"
_QUARANTINE, _PLAN = "quarantine", "plan.json"
# the quickest packing: a camera does not wait, and all of them are lossless
_PACKING = [int(cv2.IMWRITE_PNG_COMPRESSION), 1]


def folder_name(product: str) -> str:
    """A product's name as one folder's name, whatever signs it has; raises UsageError when nothing is left of it."""
    if any(not letter.isprintable() for letter in product):
        raise UsageError(
            f"--product {product!r} holds signs that cannot be shown", fix="give a name of letters, digits and spaces"
        )
    name = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFKC", product)).strip("-._")
    if not name or len(name.encode()) > 100:
        raise UsageError(
            f"--product {product!r} cannot name a folder", fix="give a short name with letters or digits in it"
        )
    return name


@contextlib.contextmanager
def sample_folder(root: Path) -> Iterator[SampleFolder]:
    """Make the folder, or open it to go on; one process at a time. Raises UsageError."""

    def refuse() -> None:
        raise UsageError(f"{root} is in use by another `teach`", fix="wait until that one ends, or stop it")

    with contextlib.ExitStack() as held:
        try:
            (root / "train" / "good").mkdir(parents=True, exist_ok=True)
            held.enter_context(file_lock(root / ".lock", waiting=refuse))
            folder = SampleFolder(root)
        except OSError as error:
            raise UsageError(
                f"{root}: {error.strerror or error}", fix="give --samples a folder that this user may write"
            ) from error
        yield folder


class SampleFolder:
    """`train/good/` has the samples, `quarantine/` those that were left out; the rest is what teaching left.

    root: an MVTec-style folder, as `train --data` takes it.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.good, self.run_directory = root, root / "train" / "good", root / "run"
        self._last = max([0, *map(_number, [*self.good.iterdir(), *(root / _QUARANTINE).glob("*")])])

    def paths(self) -> list[Path]:
        """The samples kept, in the order they were taken."""
        return sorted((path for path in self.good.iterdir() if not_a_picture(path, True) is None), key=natural_key)

    def next_path(self) -> Path:
        """The name that `store` gives to the next sample."""
        return self.good / f"{self._last + 1:06}.png"

    def store(self, picture: U8) -> Path:
        """Keep a sample; it is on the disk when this returns. Raises UsageError."""
        path = self.next_path()
        _, encoded = cv2.imencode(".png", picture, _PACKING)
        self._write(path, encoded.tobytes())
        self._last += 1
        return path

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def set_aside(self, names: Iterable[str]) -> None:
        """Move these samples into quarantine/, from where a person may bring them back. Raises UsageError."""
        aside = self.root / _QUARANTINE
        try:
            aside.mkdir(exist_ok=True)
            for name in names:
                Path(name).replace(aside / Path(name).name)
        except OSError as error:
            raise self._unwritable(aside, error) from error

    def write_sheet(self, sheet: U8) -> Path:
        """Raises UsageError."""
        self._write(self.root / SHEET, picture_bytes(sheet))
        return self.root / SHEET

    def plan(self) -> dict[str, Any]:
        """What was decided the last time, as `keep_plan` was told; empty when there is none that can be read."""
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads((self.root / _PLAN).read_text(encoding="utf-8"))
            if isinstance(kept, dict):
                return kept
        return {}

    def keep_plan(self, plan: dict[str, Any]) -> None:
        """Raises UsageError."""
        self._write(self.root / _PLAN, json.dumps(plan, indent=1).encode())

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_atomic(path, data)
        except OSError as error:
            raise self._unwritable(path, error) from error

    def _unwritable(self, path: Path, error: OSError) -> UsageError:
        return UsageError(
            f"{path} cannot be written: {error.strerror or error}; {len(self.paths())} samples are kept",
            fix="free some space or mend the folder's permissions, then try again: it goes on where it stopped",
        )


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else 0
