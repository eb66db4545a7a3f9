"""Does every spoilt bundle end in one message? Thousands of seeded mutations of a bundle, each opened and read whole.

    python -m tests.fuzz.bundle_fuzz --count 10000 --out benchmarks/results/DEVICE/bundle-fuzz.json

A case is fine when the bundle loads, or is refused with a BundleError; anything else, or no answer within the limit, is
a failure, and can be had again by --seed and --only.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.program import SEED, Values, option, program
from edge.bundles.bundle import MANIFEST, load_bundle
from edge.bundles.description import described
from edge.core.errors import BundleError
from edge.samples import sample_bundle
from tests.fuzz import bundle_mutations as mutations

CASE_LIMIT_S = 10.0
_DESCRIBED_EVERY = 10
_SHOWN_FAILURES = 20


class _Hang(BaseException):
    """No answer within CASE_LIMIT_S; not an Exception, so that nothing on the way can take it for its own."""


@dataclass
class FuzzResult:
    """Counts by outcome and by what was spoilt; failures: number of the case, what was done, and how it ended."""

    outcomes: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest_ms: float = 0.0


def fuzz(bundle: Path, count: int, seed: int, first: int = 0) -> FuzzResult:
    """Open `count` spoilt copies of a bundle, the cases first, first + 1, ... of this seed."""
    result = FuzzResult()
    with tempfile.TemporaryDirectory() as directory:
        folder, outside = Path(directory) / "bundle", Path(directory) / "outside"
        folder.mkdir()
        whole = {file.name: file.read_bytes() for file in sorted(bundle.iterdir()) if file.is_file()}
        outside.write_bytes(whole[MANIFEST])
        for name, data in whole.items():
            (folder / name).write_bytes(data)
        for number in range(first, first + count):
            done = _spoil(random.Random(f"{seed}/{number}"), folder, whole, outside)
            started = time.perf_counter()
            outcome = _open(folder, thorough=number % _DESCRIBED_EVERY == 0)
            result.slowest_ms = max(result.slowest_ms, (time.perf_counter() - started) * 1e3)
            result.spoilt[done] += 1
            if outcome in ("loaded", "refused"):
                result.outcomes[outcome] += 1
            else:
                result.outcomes["failed"] += 1
                result.failures.append({"case": number, "spoilt": done, "ended": outcome})
            _restore(folder, whole)
    return result


def _spoil(draw: random.Random, folder: Path, whole: dict[str, bytes], outside: Path) -> str:
    """Spoil one file; returns what was done, in words."""
    kinds = {"manifest": MANIFEST}
    for name in whole:
        if name.startswith(("calibration", "model")):
            kinds[name] = name
    weights = [12 if kind == "manifest" else 5 if kind.startswith("calibration") else 1 for kind in kinds]
    ((kind, name),) = draw.choices(list(kinds.items()), weights)
    if draw.random() < 0.05:
        return f"{kind.split('_')[0]}: {mutations.spoil_place(draw, folder / name, outside)}"
    if kind == "manifest":
        (folder / name).write_bytes(mutations.spoil_manifest(draw, whole[name]))
        return "manifest: content"
    spoil = mutations.spoil_calibration if name.startswith("calibration") else mutations.spoil_model
    data = spoil(draw, whole[name])
    (folder / name).write_bytes(data)
    sealed = draw.random() < 0.8
    if sealed:
        mutations.seal(folder, name, data)
    return f"{kind.split('_')[0]}: content{', hash made to fit' if sealed else ''}"


def _open(folder: Path, thorough: bool) -> str:
    """loaded, refused, or how it failed."""
    try:
        with _time_limit():
            bundle = load_bundle(folder)
            if thorough:
                list(described(bundle))
            bundle.verify()
            for precision in ("fp32", "int8"):
                bundle.calibration(precision)
    except BundleError as refusal:
        return "refused" if refusal.message and refusal.fix else "refused without a word"
    except _Hang:
        return f"no answer within {CASE_LIMIT_S:g} s"
    except Exception:  # noqa: BLE001  # whatever else a loader raises is what is looked for
        return traceback.format_exc(limit=-3)
    return "loaded"


@contextmanager
def _time_limit() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, CASE_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _restore(folder: Path, whole: dict[str, bytes]) -> None:
    for file in folder.iterdir():
        data = whole.get(file.name)
        if not file.is_symlink() and file.is_file() and data is not None and file.read_bytes() == data:
            continue
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink()
    for name, data in whole.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(data)


@program(
    option("--bundle", type=Path, default=sample_bundle(), help="what to spoil (default: the sample)"),
    option("--count", type=int, default=10_000, help="how many cases (default: 10000)"),
    SEED,
    option("--only", type=int, metavar="CASE", help="this case alone"),
    show=lambda values: "\n".join(f"{name}: {value}" for name, value in values.items()),
    failed=lambda values: values["failures"],
)
def main(options: argparse.Namespace) -> Values:
    """Spoil and open every case."""
    started = time.perf_counter()
    count = options.count if options.only is None else 1
    result = fuzz(options.bundle, count, options.seed, options.only or 0)
    return {
        "cases": sum(result.outcomes.values()),
        "outcomes": dict(sorted(result.outcomes.items())),
        "spoilt": dict(sorted(result.spoilt.items())),
        "failures": result.failures[:_SHOWN_FAILURES],
        "slowest_case_ms": round(result.slowest_ms, 1),
        "memory_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
