"""Weights that somebody else trained: read from a file, and put into a network layer by layer."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge.core.errors import UsageError

# a counter of batch norm that some files hold and some do not
_COUNTER = "num_batches_tracked"
# where checkpoints of training programs keep the weights themselves
_NESTED = ("state_dict", "model", "model_state", "state_dict_ema")


def load_in_order(network: nn.Module, file: Path, what: str) -> str:
    """Fill the network with the first weights of a checkpoint, by order and shape; gives the file's sha256.

    Names are not looked at: libraries name the layers of one architecture in different ways, but list them in the order
    in which they run. The file may go on after the last layer of the network, as a classifier does.
    what: the architecture, for messages. Raises UsageError where the file cannot be read or does not fit, naming the
    first layer that differs; the network is then unchanged.
    """
    published, sha256 = _read(file)
    given = [(name, value) for name, value in published.items() if not name.endswith(_COUNTER)]
    own = [(name, value) for name, value in network.state_dict().items() if not name.endswith(_COUNTER)]
    for number, (name, value) in enumerate(own):
        if number == len(given):
            raise UsageError(
                f"{file} ends after {number} of the {len(own)} tensors of {what}",
                fix=f"give a checkpoint of {what}",
            )
        if given[number][1].shape != value.shape:
            raise UsageError(
                f"{file} does not hold {what}: tensor {number + 1} of {len(own)}, {given[number][0]}, "
                f"is {_shape(given[number][1])}; {name} needs {_shape(value)}",
                fix=f"give a checkpoint of {what}",
            )
    # strict=False for the counters alone: everything else was compared above
    network.load_state_dict({name: taken for (name, _), (_, taken) in zip(own, given, strict=False)}, strict=False)
    return sha256


def _read(file: Path) -> tuple[dict[str, Tensor], str]:
    try:
        data = file.read_bytes()
        loaded: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{file} cannot be read as weights: {reason}", fix="give a file that torch.save wrote, of tensors alone"
        ) from error
    for key in _NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    named = loaded.items() if isinstance(loaded, dict) else ()
    weights = {name: value for name, value in named if isinstance(value, Tensor)}
    if not weights:
        raise UsageError(
            f"{file} holds no tensors by name", fix="give the state dict of a network, as torch.save wrote it"
        )
    return weights, hashlib.sha256(data).hexdigest()


def _shape(value: Tensor) -> str:
    return "x".join(str(side) for side in value.shape) or "a number"
