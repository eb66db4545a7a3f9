"""A data folder for weakly labelled training: some test anomalies become training examples, and leave the test.

    python -m benchmarks.quality.weak_split --data DIR --out DIR2 --per-kind 5 --seed 0
        [--kinds scratch,dent] [--parts listed|named|single] [--of-a-part 2]

DIR2 is DIR in links (or copies, --copy), but for N anomalies of each kind, drawn by the seed: they lie in
train/weak/<kind>/ and not in test/. Kinds that are not named keep all theirs in the test: they are the unseen kinds.

Parts are drawn, not pictures: other pictures of a drawn part leave the test as well, and are not trained on either,
but for the --of-a-part first ones. train/weak/groups.csv says which pictures show one part. Which do is read from
DIR/groups.csv or manifest.csv (--parts listed), or from names (--parts named: what stands before the last of several
numbers, edge/preprocessing/part_names.py), or every picture is a part of its own (--parts single).
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.program import SEED, option, program
from benchmarks.quality.labelled import LabelledPicture, list_test_pictures
from edge.core.errors import UsageError
from edge.preprocessing.part_names import GROUPS, named_part, read_groups

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class WeakSplit:
    """weak: pictures that become training examples. gone: others of the same parts, which are used nowhere."""

    weak: tuple[LabelledPicture, ...]
    gone: tuple[LabelledPicture, ...]
    unseen_kinds: tuple[str, ...]


def draw_weak(
    pictures: Sequence[LabelledPicture],
    per_kind: int,
    seed: int,
    kinds: Sequence[str] | None = None,
    parts: Mapping[Path, str] | None = None,
    of_a_part: int | None = None,
) -> WeakSplit:
    """Draw by seed and kind alone: adding a kind changes no other kind's draw.

    kinds: None for all. parts: picture → the part that it shows, where known. of_a_part: pictures of one part, at most.
    Raises UsageError when a kind is unknown or would be empty.
    """
    shown = {picture.path: (parts or {}).get(picture.path, str(picture.path)) for picture in pictures}
    all_kinds = sorted({picture.kind for picture in pictures if picture.defective})
    unknown = sorted(set(kinds or ()) - set(all_kinds))
    if unknown:
        raise UsageError(f"no defect kind {', '.join(unknown)}", fix=f"choose from {', '.join(all_kinds)}")
    weak: list[LabelledPicture] = []
    chosen = all_kinds if kinds is None else sorted(kinds)
    for kind in chosen:
        members = [picture for picture in pictures if picture.kind == kind]
        names = sorted({shown[member.path] for member in members})
        order = np.random.default_rng([seed, *kind.encode()]).permutation(len(names))
        drawn: list[LabelledPicture] = []
        for name in [names[index] for index in order]:
            of_part = [member for member in members if shown[member.path] == name][:of_a_part]
            drawn += of_part[: per_kind - len(drawn)]
        taken = {shown[picture.path] for picture in drawn}
        if all(shown[member.path] in taken for member in members):
            raise UsageError(
                f"{kind}: {per_kind} pictures for training, of {len(taken)} of {len(names)} parts, leave none to test",
                fix="lower --per-kind, leave the kind out with --kinds, or see which pictures show one part (--parts)",
            )
        weak += [member for member in members if member in drawn]
    taken = {shown[picture.path] for picture in weak}
    gone = [picture for picture in pictures if shown[picture.path] in taken and picture not in weak]
    return WeakSplit(tuple(weak), tuple(gone), tuple(kind for kind in all_kinds if kind not in chosen))


def parts_of(data: Path, pictures: Sequence[LabelledPicture], how: str) -> dict[Path, str]:
    """The part that each picture shows, as --parts says; raises UsageError where no list names them."""
    if how == "single":
        return {}
    if how == "named":
        return {picture.path: named_part(data, picture.path) for picture in pictures}
    path = data / GROUPS if (data / GROUPS).is_file() else data / MANIFEST
    return read_groups(path)


def write_split(data: Path, out: Path, split: WeakSplit, parts: Mapping[Path, str], *, copy: bool = False) -> None:
    """Link or copy every file of `data` to its new place; raises UsageError when `out` holds something.

    parts: picture → the part that it shows, as far as known; what is known of weak pictures is written beside them.
    """
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
    root = out / "train" / "weak"
    rows = [(places[picture.path], parts[picture.path]) for picture in split.weak if picture.path in parts]
    if rows:
        with (root / GROUPS).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "group"))
            writer.writerows((place.relative_to(root).as_posix(), part) for place, part in rows)


@program(
    option("--data", type=Path, required=True, help="folder in MVTec layout"),
    option("--out", type=Path, required=True, help="the folder to make"),
    option("--per-kind", type=int, required=True, metavar="N", help="anomalies of each kind to train on"),
    SEED,
    option("--kinds", help="defect kinds to draw from, separated by commas (default: all)"),
    option("--parts", choices=("listed", "named", "single"), help="how to know which pictures show one part"),
    option("--of-a-part", type=int, metavar="N", help="pictures of one part to train on, at most (default: all)"),
    option("--copy", action="store_true", help="copy the files instead of linking them"),
)
def main(options: argparse.Namespace) -> None:
    """Split, and say which pictures went where."""
    if min(options.per_kind, options.of_a_part or 1) < 1 or options.seed < 0:
        raise UsageError(
            "--per-kind and --of-a-part must be above zero, --seed not below", fix="give whole numbers, 1 and 0 or more"
        )
    kinds = options.kinds.split(",") if options.kinds else None
    pictures = list_test_pictures(options.data)
    listed = any((options.data / name).is_file() for name in (GROUPS, MANIFEST))
    parts = parts_of(options.data, pictures, options.parts or ("listed" if listed else "named"))
    split = draw_weak(pictures, options.per_kind, options.seed, kinds, parts, options.of_a_part)
    write_split(options.data, options.out, split, parts, copy=options.copy)
    counts = Counter(picture.kind for picture in split.weak)
    print(f"{options.out}: {len(split.weak)} weak pictures: " + ", ".join(f"{k} {n}" for k, n in counts.items()))
    if split.gone:
        print(f"other pictures of the same parts, now in neither: {len(split.gone)}")
    print(f"unseen kinds: {', '.join(split.unseen_kinds) or 'none'}")


if __name__ == "__main__":
    raise SystemExit(main())
