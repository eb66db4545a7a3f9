"""What a place without a part looks like, by the samples that a bundle was taught with."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from calibration.samples.screening import shows_no_part
from calibration.samples.statistics import statistics_from_bytes
from edge.bundles.bundle import ModelBundle
from edge.core.datatypes import U8
from edge.core.errors import UsageError

log = logging.getLogger(__name__)


def empty_place(bundle: ModelBundle) -> Callable[[U8], bool] | None:
    """Whether a picture shows no part; None where the bundle keeps no samples."""
    if "samples" not in bundle.manifest.files:
        return None
    try:
        known = statistics_from_bytes(bundle.read("samples"))
    except UsageError as error:
        log.warning("what the samples looked like cannot be read: %s", error.message)
        return None
    rectangle = bundle.preprocess.rectangle

    def is_empty(picture: U8) -> bool:
        region = picture
        if rectangle is not None:
            x, y, width, height = rectangle
            region = np.ascontiguousarray(picture[y : y + height, x : x + width])
        return shows_no_part(picture, region, known)

    return is_empty
