"""A small head on the places of a memory, learned from parts known to be defective, as part of an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.core.datatypes import F32

NAMES = ("hidden", "hidden_bias", "output", "output_bias")


@dataclass(frozen=True, eq=False)
class WeakHead:
    """How much each place looks like defects that were shown, to be added to its standardised distance.

    hidden: (units, axes + 1), of a place's axes and of its standardised distance, the last. hidden_bias, output:
    (units,). output_bias: (1,). A ReLU lies between the two.
    """

    hidden: F32
    hidden_bias: F32
    output: F32
    output_bias: F32

    def __call__(self, places: F32, distances: F32) -> F32:
        """(rows, columns) of places (rows, columns, axes) and their standardised distances (rows, columns)."""
        inner = places @ self.hidden[:, :-1].T
        inner += distances[..., None] * self.hidden[:, -1]
        inner += self.hidden_bias
        found: F32 = np.maximum(inner, 0) @ self.output + self.output_bias
        return found

    def constants(self) -> dict[str, F32]:
        """Weights of two 1x1 convolutions, by name."""
        return {
            "hidden": np.ascontiguousarray(self.hidden[:, :, None, None], np.float32),
            "hidden_bias": self.hidden_bias.astype(np.float32),
            "output": np.ascontiguousarray(self.output[None, :, None, None], np.float32),
            "output_bias": self.output_bias.astype(np.float32),
        }


def head_from_constants(constants: dict[str, Any]) -> WeakHead:
    """The head whose `constants` these are."""
    hidden, output = constants["hidden"][:, :, 0, 0], constants["output"][0, :, 0, 0]
    return WeakHead(hidden, constants["hidden_bias"], output, constants["output_bias"])
