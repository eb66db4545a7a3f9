"""Artificial defects beside a training step, timed, as JSON: `python -m benchmarks.studies.measure_defects --data DIR`.

Defects and steps take turns, so that a busy machine slows both alike; medians, and their ratio.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from training.defects import PRESETS, DefectGenerator
from training.fit import pictures_from_fields
from training.methods import find_method
from training.methods.base import Batch, Design
from training.optimisation.arithmetic import Arithmetic, of_gpu

_METHOD, _VARIANT = "kist", "tiny"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of good parts")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    print(
        json.dumps(
            {device: measure(options.data, device, options.rounds, options.presets) for device in devices}, indent=1
        )
    )
    return 0


def measure(data: Path, device: str, rounds: int, names: Sequence[str]) -> dict[str, Any]:
    """Milliseconds per picture of every preset, of a step of the tiny network, and the share that defects are of it."""
    plan = find_method(_METHOD, _VARIANT).variants[_VARIANT]
    stage = plan.stages[0]
    parts = itertools.islice(read_normal_samples(data), stage.batch)
    fields = [Preprocess(plan.size).field(part.picture) for part in parts]
    pictures = pictures_from_fields(np.stack(fields)).to(device)
    clean = pictures[torch.arange(stage.batch, device=device) % pictures.shape[0]]
    torch.manual_seed(0)
    learner = find_method(_METHOD, _VARIANT).learner(Design(_VARIANT)).to(device).train()
    optimiser = torch.optim.AdamW(learner.parameters(), stage.learning_rate)

    arithmetic = of_gpu(torch.cuda.get_device_capability()) if device == "cuda" else Arithmetic()

    def step() -> None:
        with arithmetic.autocast(device):
            loss = learner.losses(stage, Batch(clean, clean, torch.zeros_like(clean[:, :1])), 0.0)["total"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    generators = {name: DefectGenerator(PRESETS[name], 0, device) for name in names}
    times: dict[str, list[float]] = {name: [] for name in [*names, "step"]}
    step()
    for turn in range(rounds + 1):
        for name, generator in generators.items():
            elapsed = _milliseconds(functools.partial(generator, clean), device)
            # the first turn warms caches and allocates
            if turn:
                times[name].append(elapsed)
                times["step"].append(_milliseconds(step, device))
    step_ms = statistics.median(times.pop("step"))
    presets = {}
    for name, values in times.items():
        median = statistics.median(values)
        presets[name] = {"ms_per_picture": round(median / stage.batch, 3), "share_of_step": round(median / step_ms, 3)}
    return {
        "network": f"{_METHOD} {_VARIANT}",
        "side_px": plan.size,
        "batch": stage.batch,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "step_ms": round(step_ms, 1),
        "presets": presets,
    }


def _milliseconds(work: Callable[[], object], device: str) -> float:
    _finish(device)
    started = time.perf_counter()
    work()
    _finish(device)
    return (time.perf_counter() - started) * 1e3


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    raise SystemExit(main())
