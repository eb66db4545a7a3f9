"""Loaded kernels on the fake GPU: emulated, at addresses that must be of memory that is there."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

from edge.kernels.cuda.parameters import PreprocessParameters, ReduceParameters, ResidualParameters

if TYPE_CHECKING:
    from tests.edge.backends.gpu.fakes.fake_cuda import FakeGpu, FakeStream


class FakeModule:
    """The project's kernels, emulated on the processor (tests/edge/kernels/emulation); gone with its last reference."""

    def __init__(self, gpu: FakeGpu, image: bytes) -> None:
        from tests.edge.kernels.emulation import EmulatedModule

        self.gpu, self.emulated = gpu, EmulatedModule()
        self.handle = gpu.handle()
        gpu.modules.add(self.handle)

    def get_function(self, name: str) -> FakeFunction:
        self.gpu.require("get_function")
        return FakeFunction(self, name)

    def __del__(self) -> None:
        if not self.gpu.stack and self.handle in self.gpu.modules:
            self.gpu.left_behind.append("a module that ended where no context was current")
        self.gpu.modules.discard(self.handle)


class FakeFunction:
    """A kernel whose one argument travels as bytes; the addresses in it must be of memory that is there."""

    def __init__(self, module: FakeModule, name: str) -> None:
        self._module, self._name = module, name
        self._format = ""

    def prepare(self, arg_types: list[str]) -> FakeFunction:
        (self._format,) = arg_types
        return self

    def prepared_async_call(self, grid: Any, block: Any, stream: FakeStream, *arguments: Any) -> None:
        from edge.kernels.cuda.plan import Launch

        (parameters,) = arguments
        assert struct.calcsize(self._format) == len(parameters)
        self._module.gpu.kernels.add(self._name)
        # the real one keeps what it needs of a module that is unloaded no better
        module, name = self._module, self._name
        launch = Launch(name, grid, block, parameters)

        def run() -> None:
            assert module.handle in module.gpu.modules, "a kernel of a module that was unloaded"
            for address in _addresses(name, parameters):
                module.gpu.view(address, 1, pinned=address in module.gpu.mapped)
            module.emulated.launch(launch)

        module.gpu.enqueue(stream.handle, run)


def _addresses(kernel: str, parameters: bytes) -> list[int]:
    """What a kernel's argument points to."""
    kinds = {"preprocess": PreprocessParameters, "residual": ResidualParameters, "evidence": ResidualParameters}
    kind = kinds.get(kernel.split("_")[0], ReduceParameters)
    values = kind.from_buffer_copy(parameters)
    pointers = [name for name, type_ in kind._fields_ if type_ is ctypes.c_void_p]
    return [address for name in pointers if (address := getattr(values, name))]
