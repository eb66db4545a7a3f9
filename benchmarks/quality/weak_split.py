"""A data folder for weakly labelled training: some test anomalies become training examples, and leave the test.

    python -m benchmarks.quality.weak_split --data DIR --out DIR2 --per-kind 5 --seed 0
        [--kinds scratch,dent] [--whole-groups]

DIR2 is DIR in links (or copies, --copy), but for N anomalies of each kind, drawn by the seed: they lie in
train/weak/<kind>/ and not in test/. Kinds that are not named keep all theirs in the test: they are the unseen kinds.
--whole-groups: pictures that manifest.csv puts into one group with a drawn one (the same part, photographed again)
leave the test as well, and are not trained on either.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.program import SEED, option, program
from benchmarks.quality.labelled import LabelledPicture, list_test_pictures
from edge.core.errors import UsageError

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class WeakSplit:
    """weak: pictures that become training examples. gone: relatives of theirs that are used nowhere."""

    weak: tuple[LabelledPicture, ...]
    gone: tuple[LabelledPicture, ...]
    unseen_kinds: tuple[str, ...]


def draw_weak(
    pictures: Sequence[LabelledPicture],
    per_kind: int,
    seed: int,
    kinds: Sequence[str] | None = None,
    groups: dict[Path, str] | None = None,
) -> WeakSplit:
    """Draw by seed and kind alone: adding a kind changes no other kind's draw.

    kinds: None for all. groups: of pictures, where known. Raises UsageError when a kind is unknown or would be empty.
    """
    groups = groups or {}
    all_kinds = sorted({picture.kind for picture in pictures if picture.defective})
    unknown = sorted(set(kinds or ()) - set(all_kinds))
    if unknown:
        raise UsageError(f"no defect kind {', '.join(unknown)}", fix=f"choose from {', '.join(all_kinds)}")
    weak: list[LabelledPicture] = []
    gone: list[LabelledPicture] = []
    chosen = all_kinds if kinds is None else sorted(kinds)
    for kind in chosen:
        members = [picture for picture in pictures if picture.kind == kind]
        order = np.random.default_rng([seed, *kind.encode()]).permutation(len(members))
        drawn = {int(index) for index in order[:per_kind]}
        drawn_groups = {groups[members[index].path] for index in drawn if members[index].path in groups}
        relatives = {i for i, member in enumerate(members) if groups.get(member.path) in drawn_groups} - drawn
        if len(drawn) + len(relatives) >= len(members):
            raise UsageError(
                f"{kind}: {per_kind} of {len(members)} pictures for training leave none to test",
                fix="lower --per-kind, or leave the kind out with --kinds",
            )
        weak += [members[index] for index in sorted(drawn)]
        gone += [members[index] for index in sorted(relatives)]
    return WeakSplit(tuple(weak), tuple(gone), tuple(kind for kind in all_kinds if kind not in chosen))


def read_groups(data: Path) -> dict[Path, str]:
    """Columns `file` and `group` of manifest.csv; raises UsageError without them."""
    path = data / MANIFEST
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {data / row["file"]: row["group"] for row in csv.DictReader(file) if row["group"]}
    except (OSError, KeyError) as error:
        raise UsageError(
            f"{path}: no groups to read ({error})", fix="leave --whole-groups out, or add columns `file` and `group`"
        ) from error


def write_split(data: Path, out: Path, split: WeakSplit, *, copy: bool = False) -> None:
    """Link or copy every file of `data` to its new place; raises UsageError when `out` holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty", fix="give --out a new directory")
    if out.resolve().is_relative_to(data.resolve()):
        raise UsageError(f"{out} lies inside {data}", fix="give --out a directory elsewhere")
    places = {picture.path: out / "train" / "weak" / picture.kind / picture.path.name for picture in split.weak}
    gone = {picture.path for picture in split.gone}
    for path in sorted(data.rglob("*")):
        if path.is_dir() or path in gone:
            continue
        place = places.get(path, out / path.relative_to(data))
        place.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copyfile(path, place)
        else:
            place.symlink_to(path.resolve())


@program(
    option("--data", type=Path, required=True, help="folder in MVTec layout"),
    option("--out", type=Path, required=True, help="the folder to make"),
    option("--per-kind", type=int, required=True, metavar="N", help="anomalies of each kind to train on"),
    SEED,
    option("--kinds", help="defect kinds to draw from, separated by commas (default: all)"),
    option("--whole-groups", action="store_true", help="relatives of drawn pictures leave the test too"),
    option("--copy", action="store_true", help="copy the files instead of linking them"),
)
def main(options: argparse.Namespace) -> None:
    """Split, and say which pictures went where."""
    if options.per_kind < 1 or options.seed < 0:
        raise UsageError("--per-kind must be above zero, --seed not below", fix="give whole numbers, 1 and 0 or more")
    kinds = options.kinds.split(",") if options.kinds else None
    groups = read_groups(options.data) if options.whole_groups else None
    split = draw_weak(list_test_pictures(options.data), options.per_kind, options.seed, kinds, groups)
    write_split(options.data, options.out, split, copy=options.copy)
    counts = Counter(picture.kind for picture in split.weak)
    print(f"{options.out}: {len(split.weak)} weak pictures: " + ", ".join(f"{k} {n}" for k, n in counts.items()))
    if split.gone:
        print(f"relatives of theirs, now in neither part: {len(split.gone)}")
    print(f"unseen kinds: {', '.join(split.unseen_kinds) or 'none'}")


if __name__ == "__main__":
    raise SystemExit(main())
