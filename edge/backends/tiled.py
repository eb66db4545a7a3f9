"""Any runtime's network, shown a large field in tiles; what it returns is stitched to planes of the whole field.

From there on a frame is scored as any other: smoothing, top share and regions see no seam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from edge.core.datatypes import F32
from edge.core.errors import BundleError
from edge.kernels.cpu import NetworkOutputs
from edge.preprocessing.tiling import Stitched, Tile, Tiling

# (which tile, what the network returned for it); the outputs are views that its next run overwrites
Take = Callable[[Tile, NetworkOutputs], None]


class TileRunner(Protocol):
    """Runs one network over the tiles of a field, in whatever order and number at once its runtime does best."""

    name: str

    def run(self, image: F32, tiling: Tiling, take: Take) -> None:
        """image: float32 (3, height, width) of the whole field. `take` is called once a tile, by one thread at a time.

        Raises ModelError.
        """

    def close(self) -> None: ...


class OneTile(Protocol):
    """A network of one tile; see Network."""

    name: str
    image: F32

    def run(self) -> NetworkOutputs: ...

    def close(self) -> None: ...


class OneAtATime:
    """TileRunner of a runtime that uses all its threads for one picture: the tiles in turn."""

    def __init__(self, network: OneTile) -> None:
        self.name = network.name
        self._network = network

    def run(self, image: F32, tiling: Tiling, take: Take) -> None:
        for tile in tiling:
            np.copyto(self._network.image, shown(image, tile, tiling))
            take(tile, self._network.run())

    def close(self) -> None:
        self._network.close()


def shown(image: F32, tile: Tile, tiling: Tiling) -> F32:
    """What the network is shown of a field (3, height, width): (3, *tiling.tile), a view."""
    height, width = tiling.tile
    top, left = tile.down.start, tile.across.start
    return image[:, top : top + height, left : left + width]


class TiledNetwork:
    """Network protocol over a TileRunner; `image` and the outputs are of the whole field."""

    def __init__(self, runner: TileRunner, tiling: Tiling) -> None:
        self.name = runner.name
        self._runner, self._tiling = runner, tiling
        self.image: F32 = np.zeros((3, *tiling.field), np.float32)
        self._stitched: dict[str, Stitched] = {}

    def run(self) -> NetworkOutputs:
        """Views that the next run overwrites. Raises ModelError, and BundleError for outputs of other shapes."""
        self._runner.run(self.image, self._tiling, self._take)
        planes = {name: each.values for name, each in self._stitched.items()}
        return NetworkOutputs(**{name: v if name == "recon" else v[0] for name, v in planes.items()})

    def _take(self, tile: Tile, outputs: NetworkOutputs) -> None:
        for name, values in vars(outputs).items():
            if values is not None:
                planes = values.reshape(-1, *values.shape[-2:])
                self._stitched_of(name, planes).put(tile, planes)

    def _stitched_of(self, name: str, planes: F32) -> Stitched:
        if name not in self._stitched:
            channels, *shape = planes.shape
            try:
                self._stitched[name] = Stitched(self._tiling, channels, (shape[0], shape[1]))
            except ValueError as error:
                raise BundleError(
                    f"the network's {name} cannot be stitched: {error}", fix="make the bundle anew with `train`"
                ) from error
        return self._stitched[name]

    def close(self) -> None:
        self._runner.close()
