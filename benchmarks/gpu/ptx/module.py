"""PTX as a module of kernels on the processor: the Module protocol of edge/kernels/cuda/launch.py.

Threads of some blocks run together, as lanes of NumPy arrays: always those that are furthest back in the text, so that
ways that parted meet again where the text says so. Nothing is seen of what the driver's compiler makes of the PTX, nor
of the order in which a GPU lets other threads see what was written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu.ptx.memory import Array, DeviceMemory
from benchmarks.gpu.ptx.parser import Instruction, Kernel, PtxFault, kernel_of, kernels_of
from benchmarks.gpu.ptx.steps import Step, guard_of, step_of
from benchmarks.gpu.ptx.threads import WARP, Lanes, Threads
from edge.kernels.cuda.plan import Launch

# so many threads run together: more are faster, until their registers leave the cache
_TOGETHER = 2048
_NOT_REACHED = "a barrier is not reached by all threads of a block"


@dataclass
class Counts:
    """What a kernel has done. instructions: by opcode, once for every warp of 32 threads; bytes: by kind of access."""

    instructions: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)


class _Next(Protocol):
    def __call__(self, threads: Threads, lanes: Array) -> list[tuple[int, Array]]: ...


@dataclass
class _Block:
    """A basic block. goes: where threads go from its end; None: they wait for the others of their block first."""

    instructions: list[Instruction]
    steps: list[Step]
    goes: _Next | None


class PtxModule:
    """The kernels of a PTX text; launches have ended when they return.

    watched: races in shared memory are faults; several times slower. launched: names, in order. counts: by kernel.
    """

    def __init__(self, text: str, memory: DeviceMemory, watched: bool = False) -> None:
        self.launched: list[str] = []
        self.counts: dict[str, Counts] = {}
        self._memory, self._watched = memory, watched
        self._entries = kernels_of(text)
        self._translated: dict[str, tuple[Kernel, list[_Block]]] = {}

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def launch(self, launch: Launch, stream: Any = None) -> None:
        """Run every block. Raises PtxFault, which names the line, where a GPU would stop or compute nonsense."""
        self.launched.append(launch.kernel)
        kernel, blocks = self._kernel(launch.kernel)
        if len(launch.parameters) != kernel.parameter[1]:
            raise PtxFault(f"{kernel.name} takes {kernel.parameter[1]} bytes, not {len(launch.parameters)}")
        counts = self.counts.setdefault(launch.kernel, Counts())
        number = int(np.prod(launch.grid))
        together = max(1, _TOGETHER // int(np.prod(launch.block)))
        for first in range(0, number, together):
            threads = Threads(
                kernel, launch.parameters, self._memory, launch.grid, launch.block, first,
                min(together, number - first), counts.bytes, self._watched,
            )  # fmt: skip
            with np.errstate(all="ignore"):
                _run(kernel, blocks, threads, counts)

    def _kernel(self, name: str) -> tuple[Kernel, list[_Block]]:
        if name not in self._translated:
            if name not in self._entries:
                raise PtxFault(f"there is no kernel {name}")
            kernel = kernel_of(name, *self._entries[name])
            self._translated[name] = kernel, _translated(kernel)
        return self._translated[name]


def _translated(kernel: Kernel) -> list[_Block]:
    blocks = []
    for place, instructions in enumerate(kernel.blocks):
        instruction = instructions[0]
        try:
            steps = []
            goes: _Next | None = _onwards(place + 1)
            for instruction in instructions:
                if instruction.opcode.split(".")[0] in ("bra", "ret", "exit"):
                    goes = _leaving(kernel, instruction, place + 1)
                elif instruction.opcode in ("bar.sync", "barrier.sync"):
                    if instruction.operands != ("0",) or instruction.guard is not None:
                        raise PtxFault("only barriers of a whole block are known")
                    goes = None
                else:
                    steps.append(step_of(kernel, instruction))
        except PtxFault as fault:
            raise PtxFault(f"{kernel.name}, {instruction}: {fault}") from fault
        blocks.append(_Block(instructions, steps, goes))
    return blocks


def _onwards(place: int) -> _Next:
    return lambda threads, lanes: [(place, lanes)]


def _leaving(kernel: Kernel, instruction: Instruction, following: int) -> _Next:
    """A jump, or the end, which lies behind the last block; with a guard for some threads only."""
    target = kernel.labels[instruction.operands[0]] if instruction.name == "bra" else len(kernel.blocks)
    if instruction.guard is None:
        return _onwards(target)
    holds = guard_of(kernel, instruction)

    def parted(threads: Threads, lanes: Array) -> list[tuple[int, Array]]:
        leave = holds(threads, _all_or(threads, lanes))
        ways = (target, lanes[leave]), (following, lanes[~leave])
        return [way for way in ways if len(way[1])]

    return parted


def _all_or(threads: Threads, lanes: Array) -> Lanes:
    return None if len(lanes) == threads.count else lanes


def _run(kernel: Kernel, blocks: list[_Block], threads: Threads, counts: Counts) -> None:
    ready: dict[int, list[Array]] = {0: [np.arange(threads.count)]}
    waiting: list[tuple[int, Array]] = []
    while ready or waiting:
        if not ready:
            _release(kernel, threads, waiting, ready)
        place = min(ready)
        groups = ready.pop(place)
        lanes = groups[0] if len(groups) == 1 else np.sort(np.concatenate(groups))
        if place == len(blocks):
            continue
        block = blocks[place]
        warps = threads.count // WARP if len(lanes) == threads.count else len(np.unique(lanes // WARP))
        for instruction in block.instructions:
            counts.instructions[instruction.opcode] += warps
        _execute(kernel, block, threads, _all_or(threads, lanes))
        if block.goes is None:
            waiting.append((place + 1, lanes))
            continue
        for where, group in block.goes(threads, lanes):
            ready.setdefault(where, []).append(group)


def _execute(kernel: Kernel, block: _Block, threads: Threads, lanes: Lanes) -> None:
    at = 0
    try:
        for at, step in enumerate(block.steps):  # noqa: B007
            step(threads, lanes)
    except PtxFault as fault:
        raise PtxFault(f"{kernel.name}, {block.instructions[at]}: {fault}") from fault


def _release(kernel: Kernel, threads: Threads, waiting: list[tuple[int, Array]], ready: dict[int, list[Array]]) -> None:
    """Let the threads of every block go on from their barrier; all of them stand at the same one, or it is a fault."""
    stands = np.full(threads.count, -1)
    for place, lanes in waiting:
        stands[lanes] = place
    by_block = stands.reshape(-1, threads.block_threads)
    there = (by_block >= 0).any(1)
    if (by_block[there] != by_block[there, :1]).any():
        raise PtxFault(f"{kernel.name}: {_NOT_REACHED}")
    waiting.clear()
    if threads.races is not None:
        threads.races.passed_barrier(np.flatnonzero(there))
    for place in np.unique(by_block[there, 0]):
        ready[int(place)] = [np.flatnonzero(stands == place)]
