"""defects: a contact sheet of artificial defects on good parts, to judge a preset before training with it."""

from __future__ import annotations

import argparse
import collections
from dataclasses import replace

import numpy as np

from edge.cli.image_readers import reader_of
from edge.cli.regions import region_of_interest
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import say
from edge.pages.pictures import picture_bytes
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from edge.system.extras import needs


def defects(options: argparse.Namespace, settings: Settings) -> int:
    """Good parts with artificial defects, drawn as training draws them."""
    room = needs("training.defects", "train")
    if options.preset not in room.PRESETS:
        raise UsageError(f"unknown preset {options.preset!r}", fix=f"choose one of: {', '.join(room.PRESETS)}")
    if options.out.suffix.lower() != ".png":
        raise UsageError(f"{options.out} is not a .png file", fix="give --out a name that ends in .png")
    preprocess = Preprocess(options.size, *region_of_interest(settings.roi))
    fields, weight = [], None
    for part in read_normal_samples(options.data, reader_of(options, settings)):
        height, width = part.picture.shape[:2]
        if preprocess.field_of_view(height, width) is None:
            raise UsageError(
                f"{part.path} is {width}x{height} px; the region {preprocess.rectangle} does not lie inside",
                fix="change roi.rectangle, or remove the picture",
            )
        fields.append(preprocess.field(part.picture))
        inside = preprocess.weight(height, width)
        # the sheet has one region: what lies inside it on every picture
        weight = inside if weight is None or inside is None else weight * inside
    chosen = np.random.default_rng(options.seed).permutation(len(fields))
    chosen = np.resize(chosen, options.count)
    pictures = needs("training.fit", "train").pictures_from_fields(np.stack([fields[index] for index in chosen]))
    roi = None if weight is None else pictures.new_tensor(weight)[None, None]
    # a sheet is for looking at defects
    preset = replace(room.PRESETS[options.preset], clean_share=0.0)
    drawn = room.DefectGenerator(preset, options.seed).draw(pictures, roi)
    sheet = needs("training.defects.sheet", "train").contact_sheet(pictures, drawn)
    write_atomic(options.out, picture_bytes(sheet))
    counts = collections.Counter(name or "none fitted" for name in drawn.operators)
    say(", ".join(f"{name} {count}" for name, count in counts.most_common()))
    say(f"{options.count} artificial defects of {options.preset}: {options.out}")
    return 0
