"""What the threads of a warp tell one another: shuffles, votes, and which of them are together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.ptx.memory import Array
from benchmarks.gpu.ptx.operations import type_of
from benchmarks.gpu.ptx.parser import Instruction, Kernel, PtxFault
from benchmarks.gpu.ptx.threads import WARP, Lanes, Threads, reader, writer

_U32, _PREDICATE = np.dtype(np.uint32), np.dtype(bool)


def warp_step(kernel: Kernel, instruction: Instruction) -> Callable[[Threads, Lanes], None] | None:
    """The step of an instruction that is among warps; None for any other. Raises PtxFault for what is not known."""
    name, modifiers = instruction.name, instruction.opcode.split(".")[1:]
    if name == "bar" and modifiers[:2] == ["warp", "sync"]:
        read = reader(kernel, instruction.operands[0], _U32)
        return lambda threads, lanes: _meet(threads, lanes, read(threads, lanes))
    if name == "activemask":
        write = writer(kernel, instruction.operands[0], _U32)
        return lambda threads, lanes: write(threads, lanes, _together(threads, lanes)[_lanes(threads, lanes) // WARP])
    if name == "shfl" and modifiers[0] == "sync":
        return _shuffle(kernel, instruction, modifiers[1])
    if name == "vote" and modifiers[0] == "sync":
        return _vote(kernel, instruction, modifiers[1])
    return None


def _lanes(threads: Threads, lanes: Lanes) -> Array:
    return np.arange(threads.count) if lanes is None else lanes


def _together(threads: Threads, lanes: Lanes, holds: Any = True) -> Array:
    """A bit for each thread that takes part, of every warp; holds: only for those where it is true."""
    here = np.zeros(threads.count, bool)
    here[_lanes(threads, lanes)] = holds
    return np.packbits(here.reshape(-1, WARP), axis=1, bitorder="little").view("<u4")[:, 0]


def _meet(threads: Threads, lanes: Lanes, members: Any) -> None:
    """Raises PtxFault unless the threads that an instruction names are those that take part in it."""
    if (_together(threads, lanes)[_lanes(threads, lanes) // WARP] != members).any():
        raise PtxFault("the threads of a warp that it names are not those that meet here")


def _shuffle(kernel: Kernel, instruction: Instruction, mode: str) -> Callable[[Threads, Lanes], None]:
    kind = type_of(instruction.opcode.split(".")[-1])
    target, *rest = instruction.operands
    name, *inside = target.split("|")
    write = writer(kernel, name, kind)
    tell = writer(kernel, inside[0], _PREDICATE) if inside else None
    read, *numbers = (reader(kernel, operand, k) for operand, k in zip(rest, (kind, _U32, _U32, _U32), strict=True))
    if mode not in ("up", "down", "bfly", "idx"):
        raise PtxFault(f"{instruction.opcode} is not known")

    def shuffle(threads: Threads, lanes: Lanes) -> None:
        by, limits, members = (np.asarray(number(threads, lanes)).astype(np.int64) for number in numbers)
        _meet(threads, lanes, members)
        own = _lanes(threads, lanes)
        place, segment = own % WARP, limits >> 8 & 31
        first = place & segment
        last = first | (limits & 31 & ~segment)
        source = {
            "up": place - (by & 31), "down": place + (by & 31), "bfly": place ^ (by & 31),
            "idx": first | (by & ~segment & 31),
        }[mode]  # fmt: skip
        reached = source >= last if mode == "up" else source <= last
        source = np.where(reached, source, place)
        values = np.zeros(threads.count, kind)
        here = np.zeros(threads.count, bool)
        values[own], here[own] = read(threads, lanes), True
        chosen = own // WARP * WARP + source
        if not here[chosen].all():
            raise PtxFault("it reads from a thread that takes no part")
        write(threads, lanes, values[chosen])
        if tell is not None:
            tell(threads, lanes, reached)

    return shuffle


def _vote(kernel: Kernel, instruction: Instruction, mode: str) -> Callable[[Threads, Lanes], None]:
    target, asked, named = instruction.operands
    write = writer(kernel, target, _U32 if mode == "ballot" else _PREDICATE)
    read, members_of = reader(kernel, asked, _PREDICATE), reader(kernel, named, _U32)
    if mode not in ("ballot", "any", "all"):
        raise PtxFault(f"{instruction.opcode} is not known")

    def vote(threads: Threads, lanes: Lanes) -> None:
        _meet(threads, lanes, members_of(threads, lanes))
        warp = _lanes(threads, lanes) // WARP
        votes = _together(threads, lanes, read(threads, lanes))[warp]
        all_of = _together(threads, lanes)[warp]
        write(threads, lanes, {"ballot": votes, "any": votes != 0, "all": votes == all_of}[mode])

    return vote
