"""Places of good and defective parts as a memory sees them, with a defect that distances do not show."""

import numpy as np

from calibration.memory.head_training import Seen
from calibration.memory.weak_parts import Shown

ROWS, COLUMNS, AXES = 8, 10, 6
FOLDS = 5


def shown(parts, *, planted, seed, copies=0, folds=None):
    """Parts whose places are noise; planted: two places of each lie along one axis, no farther than others do."""
    random = np.random.default_rng(seed)
    pictures = parts * (1 + copies)
    places = random.normal(0, 1, (pictures, ROWS, COLUMNS, AXES))
    if planted:
        for picture in places:
            for _ in range(2):
                row, column = random.integers(ROWS), random.integers(COLUMNS)
                picture[row, column] = 0
                picture[row, column, 2] = 6
    distances = random.normal(0, 1, (pictures, ROWS, COLUMNS)).astype(np.float32)
    part_of = np.tile(np.arange(parts), 1 + copies)
    fold_of = np.arange(parts) % FOLDS if folds is None else folds
    return Shown(Seen(places.astype(np.float16), distances), part_of, fold_of, distances[:parts])
