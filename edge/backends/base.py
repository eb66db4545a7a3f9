"""What a backend is: a picture in, an anomaly map out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from edge.core.datatypes import U8, AnomalyMap
from edge.core.errors import ModelError
from edge.core.latency import StageClock

# sizes of frames for which a backend keeps what it has computed; a folder may hold pictures of any number of sizes
MOST_FRAME_SIZES = 16


class Backend(Protocol):
    """Preprocess, network and residual in one step, so that nothing large leaves the device.

    name: as given to --backend. model_sha256: names what runs, as the calibration does: the ONNX file on a
    processor, the engine on a GPU.
    """

    name: str
    model_sha256: str

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        """Score one frame, uint8 (H, W, 3) BGR of any size; laps preprocess, infer and residual.

        Raises ModelError when the network fails on this frame; the backend stays usable. Always the same thread calls,
        but not the one that made the backend: what is bound to a thread (a CUDA context) is made current in here.
        """

    def close(self) -> None:
        """Free the device; `score` must not be called again."""


@runtime_checkable
class KeptWarm(Protocol):
    """A backend that has something to do while no frame comes: keep_warm_every_s, as often; None: when it is asked."""

    keep_warm_every_s: float | None

    def keep_warm(self) -> None:
        """Returns soon, and never raises for what the device does; called by the thread that scores."""


@runtime_checkable
class NeedsNewProcess(Protocol):
    """A backend whose device may be lost in a way that no call of this process mends."""

    @property
    def needs_new_process(self) -> bool: ...


def not_finite() -> ModelError:
    return ModelError(
        "the network returned numbers that are not finite",
        fix="check the bundle with `edge-inspect doctor`; try `--precision fp32`",
    )
