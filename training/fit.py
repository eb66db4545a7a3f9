"""Train one network on normals and choose its score path: the only place where torch steps."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from edge import __version__
from edge.errors import UsageError
from edge.manifest import ScoreSpec, TrainingRecord
from edge.preprocess import Preprocess
from edge.whole_file import write_whole
from training.augmentation import vary
from training.dataset import load_normals, split_held_out
from training.methods import find_method
from training.methods.base import Batch, Method, Variant, seeded
from training.selection import SELECTION_RULE, choose_score, run_network
from training.defects import PRESETS, DefectGenerator

CHECKPOINT, RECORD, SHEET = "checkpoint.pt", "run.json", "reconstructions.png"
_SENSOR_NOISE = 0.01
_WEIGHT_DECAY = 1e-4

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Run:
    """A finished training run, as stored in run.json beside its checkpoint."""

    method: str
    variant: str
    size: int
    rectangle: tuple[int, int, int, int] | None
    polygon: tuple[tuple[int, int], ...] | None
    score: ScoreSpec
    training: TrainingRecord
    trained_on: tuple[str, ...]
    candidates: dict[str, float]
    losses: list[float]
    seconds: float


def fit(
    data: Path,
    run_directory: Path,
    *,
    method: str,
    variant: str,
    seed: int,
    rectangle: tuple[int, int, int, int] | None = None,
    polygon: tuple[tuple[int, int], ...] | None = None,
    steps: int | None = None,
    smallest_defect: float | None = None,
    progress: Progress = lambda step, steps, loss: None,
) -> Run:
    """Train on `data`, write checkpoint, run.json and a sheet of reconstructions; same seed, same machine, same result.

    Raises UsageError for bad data or a loss that is not finite.
    """
    chosen = find_method(method, variant)
    plan = chosen.variants[variant]
    if steps is not None:
        plan = replace(plan, steps=steps)
    preprocess = Preprocess(plan.size, rectangle, polygon)
    trained_on, held_out = split_held_out(load_normals(data, preprocess), seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    started = time.monotonic()
    torch.manual_seed(seed)
    network = chosen.build(variant).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = pictures_from_fields(trained_on.fields).to(device)
    losses = _optimise(network, chosen, plan, pictures, seed, progress)
    kept = pictures_from_fields(held_out.fields).to(device)
    preset = PRESETS["reconstruction"]
    if smallest_defect is not None:
        preset = replace(preset, smallest=smallest_defect)
    choice = choose_score(network, chosen.score_candidates(plan.size), kept, pictures, preset, seed + 1)
    run = Run(
        method=method,
        variant=variant,
        size=plan.size,
        rectangle=rectangle,
        polygon=polygon,
        score=choice.spec,
        training=TrainingRecord(
            software=f"edge-inspect {__version__}, torch {torch.__version__}",
            seed=seed,
            steps=plan.steps,
            n_train=len(trained_on.hashes),
            n_heldout=len(held_out.hashes),
            data_sha256=trained_on.sha256,
            selection=f"{SELECTION_RULE}; smallest defect {preset.smallest:.2%} of the field; chosen: {choice.name}",
        ),
        trained_on=trained_on.hashes,
        candidates=choice.auroc,
        losses=losses,
        seconds=round(time.monotonic() - started, 1),
    )
    _store(run_directory, run, network, kept)
    return run


def pictures_from_fields(fields: np.ndarray) -> Tensor:
    """uint8 (n, s, s, 3) BGR → float32 (n, 3, s, s) RGB in 0..1."""
    planes = np.ascontiguousarray(fields[..., ::-1].transpose(0, 3, 1, 2))
    return torch.from_numpy(planes).float() / 255


def _optimise(
    network: nn.Module, method: Method, plan: Variant, pictures: Tensor, seed: int, progress: Progress
) -> list[float]:
    """AdamW with one warm-up and cosine decay; returns the loss of every step."""
    device = pictures.device
    optimiser = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, plan.steps, pct_start=0.1)
    generator, random = DefectGenerator(PRESETS["reconstruction"], seed, device.type), seeded(seed)
    losses = []
    network.train()
    for step in range(plan.steps):
        batch = _draw_batch(pictures, plan, generator, random)
        with torch.autocast(device.type, torch.bfloat16):
            outputs = network((batch.corrupted * 2 - 1).contiguous(memory_format=torch.channels_last))
        loss = method.loss(outputs, batch)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise UsageError(
                f"the loss became {value} at step {step} of {plan.steps}",
                fix="run again with another --seed; if it recurs, look for damaged pictures in the data",
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(value)
        progress(step + 1, plan.steps, value)
    return losses


def _draw_batch(pictures: Tensor, plan: Variant, generator: DefectGenerator, random: torch.Generator) -> Batch:
    indexes = torch.randint(pictures.shape[0], (plan.batch,), generator=random)
    # these are hundreds of small operations: handing each to several threads costs far more than it saves
    with _one_thread():
        clean = vary(pictures[indexes.to(pictures.device)], random, bend=plan.bend)
        corrupted, masks = generator(clean)
        noise = torch.randn(corrupted.shape, generator=random).to(pictures.device) * _SENSOR_NOISE
    return Batch(corrupted + noise, clean, masks)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _store(run_directory: Path, run: Run, network: nn.Module, held_out: Tensor) -> None:
    run_directory.mkdir(parents=True, exist_ok=True)
    weights = io.BytesIO()
    torch.save(network.state_dict(), weights)
    write_whole(run_directory / CHECKPOINT, weights.getvalue())
    values = asdict(run) | {"score": run.score.model_dump(), "training": run.training.model_dump()}
    write_whole(run_directory / RECORD, json.dumps(values, indent=1).encode())
    shown = held_out[:6]
    outputs = run_network(network, shown * 2 - 1)
    if outputs[0].recon is not None:
        made = torch.from_numpy(np.stack([output.recon for output in outputs if output.recon is not None]))
        pairs = torch.cat([shown.cpu(), (made + 1) / 2], 2).clamp(0, 1)  # (n, 3, 2s, s)
        sheet = (torch.cat(list(pairs), 2).permute(1, 2, 0).flip(2).numpy() * 255).round().astype(np.uint8)
        cv2.imwrite(str(run_directory / SHEET), sheet)


def load_run(run_directory: Path) -> tuple[Run, nn.Module]:
    """A finished run and its network with the trained weights; raises UsageError when either is missing or damaged."""
    try:
        values = json.loads((run_directory / RECORD).read_text())
        values["score"] = ScoreSpec.model_validate(values["score"])
        values["training"] = TrainingRecord.model_validate(values["training"])
        if values["rectangle"] is not None:
            values["rectangle"] = tuple(values["rectangle"])
        if values["polygon"] is not None:
            values["polygon"] = tuple(tuple(corner) for corner in values["polygon"])
        run = Run(**values | {"trained_on": tuple(values["trained_on"])})
        network = find_method(run.method, run.variant).build(run.variant)
        state = torch.load(run_directory / CHECKPOINT, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"{run_directory} is not a finished training run: {error}", fix="run `edge-inspect fit` again"
        ) from error
    return run, network
