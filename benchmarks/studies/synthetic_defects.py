"""Which size of synthetic defect does a bundle find on good parts that it was not trained on?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results_file import write_result
from edge.backends import open_backend
from edge.bundles.bundle import load_bundle
from edge.core.latency import StageClock
from edge.inspection.synthetic_defects import KINDS, synthetic_defects
from edge.preprocessing.normal_samples import read_normal_samples
from edge.samples import sample_bundle, sample_data

AREAS_PERCENT = (0.2, 0.5, 1.0, 2.0, 4.0)
# of each kind, on each part
_EACH = 2


def found_shares(bundle_path: Path, data: Path) -> dict[str, Any]:
    """The share of defects above the threshold, by kind and size in percent of the inspected area."""
    bundle = load_bundle(bundle_path)
    precision = bundle.precision("auto")
    threshold = bundle.calibration(precision).threshold
    backend = open_backend(bundle, "auto", precision)
    seen = set(bundle.manifest.trained_on)
    parts = [part.picture for part in read_normal_samples(data) if part.sha256 not in seen]
    shares: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for percent in AREAS_PERCENT:
        found = dict.fromkeys(KINDS, 0)
        for picture in parts:
            for defect in synthetic_defects(picture, bundle.preprocess, _EACH * len(KINDS), percent / 100):
                above = backend.score(defect.picture, StageClock(0)).score > threshold
                found[defect.name.rsplit(" ", 1)[0]] += above
        for kind in KINDS:
            shares[kind][f"{percent:g}"] = round(found[kind] / (_EACH * len(parts)), 3)
    backend.close()
    return {"bundle": bundle.sha256, "precision": precision, "parts": len(parts), "found_by_percent": shares}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    text = str(__doc__).splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.synthetic_defects", description=text)
    parser.add_argument("--bundle", type=Path, default=sample_bundle(), help="default: the sample")
    parser.add_argument("--data", type=Path, default=sample_data(), help="good parts (default: the sample's)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    options = parser.parse_args(given)
    values = found_shares(options.bundle, options.data)
    for kind, shares in values["found_by_percent"].items():
        print(f"{kind:<14}" + "  ".join(f"{percent} %: {share:.2f}" for percent, share in shares.items()))
    if options.out is not None:
        write_result(options.out, " ".join(["python -m benchmarks.studies.synthetic_defects", *given]), values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
