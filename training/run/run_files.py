"""What a training run leaves in its folder: the state to resume from, then checkpoint, record, curves and a sheet."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.manifest import AlignSpec, Fit, TileSpec, TrainingRecord
from training.methods import find_method
from training.methods.base import Blend, Design, Layout
from training.optimisation.arithmetic import Arithmetic
from training.optimisation.optimiser import State
from training.optimisation.stages import Training

CHECKPOINT, RECORD, RESUME = "checkpoint.pt", "run.json", "resume.pt"
# of the resume state; one of another format starts the run anew
_FORMAT = 2
# what an interruption costs, at most
_SAVE_EVERY_S = 20.0


@dataclass(frozen=True)
class Run:
    """A finished training run, as stored in run.json beside its checkpoint.

    training: its `selection` says how the weights were chosen; score paths are tried on the exported network.
    crop: side of the squares that training saw, None: whole fields. data: the folder it learned from. smallest_defect:
    share of the field, None: not asked for. blend: only score paths that blend so. curves: stage → loss → [[step,
    value], ...]. signature_sha256: of what makes another run the same run. arithmetic: what it was trained in, None:
    not known. tiles: the field that is inspected in tiles of height and width, None: it is these.
    """

    method: str
    variant: str
    layout: Layout
    ablations: tuple[str, ...]
    height: int
    width: int
    fit: Fit
    rectangle: tuple[int, int, int, int] | None
    polygon: tuple[tuple[int, int], ...] | None
    align: AlignSpec | None
    training: TrainingRecord
    trained_on: tuple[str, ...]
    weak_on: tuple[str, ...]
    crop: int | None
    data: str
    smallest_defect: float | None
    blend: Blend | None
    curves: dict[str, dict[str, list[list[float]]]]
    seconds: float
    signature_sha256: str = ""
    tiles: TileSpec | None = None
    arithmetic: Arithmetic | None = None

    @property
    def design(self) -> Design:
        return Design(self.variant, self.layout, frozenset(self.ablations), (self.height, self.width))


def store_run(directory: Path, run: Run, network: nn.Module) -> None:
    """Checkpoint first, then the record that makes the folder a finished run; the resume state goes."""
    weights = io.BytesIO()
    torch.save(network.state_dict(), weights)
    write_atomic(directory / CHECKPOINT, weights.getvalue())
    values = asdict(run) | {"training": run.training.model_dump()}
    values["align"] = None if run.align is None else run.align.model_dump()
    values["tiles"] = None if run.tiles is None else run.tiles.model_dump()
    write_atomic(directory / RECORD, json.dumps(values, indent=1).encode())
    (directory / RESUME).unlink(missing_ok=True)


def load_run(directory: Path) -> tuple[Run, nn.Module]:
    """A finished run and its network with the trained weights; raises UsageError when either is missing or damaged."""
    try:
        values = json.loads((directory / RECORD).read_text())
        if "chosen" in values:
            # of several methods, each in a folder of its own, this one was taken
            return load_run(directory / str(values["chosen"]))
        values["training"] = TrainingRecord.model_validate(values["training"])
        # runs from before alignment have none
        values["align"] = None if values.get("align") is None else AlignSpec.model_validate(values["align"])
        values["tiles"] = None if values.get("tiles") is None else TileSpec.model_validate(values["tiles"])
        arithmetic = values.get("arithmetic")
        values["arithmetic"] = None if arithmetic is None else Arithmetic(**arithmetic)
        for name in ("rectangle", "ablations", "trained_on", "weak_on"):
            values[name] = None if values[name] is None else tuple(values[name])
        if values["polygon"] is not None:
            values["polygon"] = tuple(tuple(corner) for corner in values["polygon"])
        run = Run(**values)
        network = find_method(run.method, run.variant).learner(run.design).network
        state = torch.load(directory / CHECKPOINT, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"{directory} is not a finished training run: {error}", fix="run `edge-inspect fit` again"
        ) from error
    return run, network


def signature_sha256(signature: dict[str, Any]) -> str:
    """The hash of everything that makes two runs the same run."""
    return hashlib.sha256(json.dumps(signature, sort_keys=True).encode()).hexdigest()


def finished_run(directory: Path, signature: dict[str, Any]) -> Run | None:
    """The run that ended in this folder, if it is the same run and whole."""
    try:
        run, _ = load_run(directory)
    except UsageError:
        return None
    return run if run.signature_sha256 == signature_sha256(signature) else None


class Resumable:
    """Keeps a run's state on disk while it goes on, and gives it back when the same run is started again.

    signature: everything that makes two runs the same run; a state with another one is not used.
    """

    def __init__(self, directory: Path, signature: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._file = directory / RESUME
        self._signature = signature_sha256(signature)
        self._clock = clock
        self._saved = clock()

    def restore(self, training: Training) -> bool:
        """Bring the training to where it was; False when there is nothing to go on from."""
        try:
            kept: State = torch.load(self._file, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return False
        # a damaged file, or one of another version of torch: the run starts anew
        except (OSError, RuntimeError, ValueError, EOFError, KeyError):
            return False
        if kept.get("signature") != self._signature or kept.get("format") != _FORMAT:
            return False
        training.load_state(kept["training"])
        return True

    def save(self, training: Training) -> None:
        """Write the state if the last time is long enough ago."""
        if self._clock() - self._saved < _SAVE_EVERY_S:
            return
        buffer = io.BytesIO()
        torch.save({"format": _FORMAT, "signature": self._signature, "training": training.state()}, buffer)
        write_atomic(self._file, buffer.getvalue())
        self._saved = self._clock()
