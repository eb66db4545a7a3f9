"""Instructions → steps: functions that change the registers and the memory of threads. A kernel is translated once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.ptx.memory import Array
from benchmarks.gpu.ptx.operations import arithmetic, type_of
from benchmarks.gpu.ptx.parser import Instruction, Kernel, PtxFault
from benchmarks.gpu.ptx.races import Access
from benchmarks.gpu.ptx.threads import Lanes, Threads, address_reader, reader, writer
from benchmarks.gpu.ptx.warps import warp_step

Step = Callable[[Threads, Lanes], None]

_SPACES = ("global", "shared", "param")
_NAMES = re.compile(r"[^{},\s]+")
# every access is complete before the next one begins, so there is nothing to wait for
_WITHOUT_EFFECT = ("membar", "fence")
_COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or,
}  # fmt: skip


def step_of(kernel: Kernel, instruction: Instruction) -> Step:
    """What an instruction does; raises PtxFault where that is not known."""
    step = _unguarded(kernel, instruction)
    if instruction.guard is None:
        return step
    holds = guard_of(kernel, instruction)

    def guarded(threads: Threads, lanes: Lanes) -> None:
        taking_part = np.flatnonzero(holds(threads, lanes))
        if len(taking_part):
            step(threads, taking_part if lanes is None else lanes[taking_part])

    return guarded


def guard_of(kernel: Kernel, instruction: Instruction) -> Callable[[Threads, Lanes], Any]:
    """For which threads an instruction is executed."""
    assert instruction.guard is not None
    name, negated = instruction.guard
    read = reader(kernel, name, np.dtype(bool))
    return (lambda threads, lanes: ~read(threads, lanes)) if negated else read


def _unguarded(kernel: Kernel, instruction: Instruction) -> Step:
    name, operands = instruction.name, instruction.operands
    if name in ("mov", "cvta"):
        return _move(kernel, instruction)
    if name in ("ld", "st"):
        return _access(kernel, instruction)
    if name in ("atom", "red"):
        return _atomic(kernel, instruction)
    if name in _WITHOUT_EFFECT:
        return lambda threads, lanes: None
    among_warps = warp_step(kernel, instruction)
    if among_warps is not None:
        return among_warps
    found = arithmetic(instruction.opcode)
    if found is None:
        raise PtxFault(f"{instruction.opcode} is not known")
    function, kinds, result = found
    if len(operands) != 1 + len(kinds):
        raise PtxFault(f"{instruction.opcode} has {len(operands)} operands")
    write = writer(kernel, operands[0], result)
    reads = [reader(kernel, operand, kind) for operand, kind in zip(operands[1:], kinds, strict=True)]
    if len(reads) == 2:
        first, second = reads
        return lambda threads, lanes: write(threads, lanes, function(first(threads, lanes), second(threads, lanes)))
    return lambda threads, lanes: write(threads, lanes, function(*(read(threads, lanes) for read in reads)))


def _move(kernel: Kernel, instruction: Instruction) -> Step:
    target, source = instruction.operands
    kind = type_of(instruction.opcode.split(".")[-1])
    if "{" in target:
        return _taken_apart(kernel, kind, _NAMES.findall(target), source)
    if "{" in source:
        return _put_together(kernel, kind, target, _NAMES.findall(source))
    read, write = reader(kernel, source, kind), writer(kernel, target, kind)
    return lambda threads, lanes: write(threads, lanes, read(threads, lanes))


def _parts(kind: np.dtype[Any], number: int) -> tuple[np.dtype[Any], list[Any]]:
    """The type of each of some parts of a number, and by how many bits it is shifted; the lowest is the first."""
    part = np.dtype(f"u{kind.itemsize // number}")
    return part, [kind.type(8 * part.itemsize * i) for i in range(number)]


def _taken_apart(kernel: Kernel, kind: np.dtype[Any], targets: list[str], source: str) -> Step:
    part, shifts = _parts(kind, len(targets))
    read = reader(kernel, source, kind)
    # "_" is wanted by nobody
    writes = [(writer(kernel, name, part), by) for name, by in zip(targets, shifts, strict=True) if name != "_"]

    def apart(threads: Threads, lanes: Lanes) -> None:
        whole = read(threads, lanes)
        for write, by in writes:
            write(threads, lanes, (whole >> by).astype(part))

    return apart


def _put_together(kernel: Kernel, kind: np.dtype[Any], target: str, sources: list[str]) -> Step:
    part, shifts = _parts(kind, len(sources))
    write = writer(kernel, target, kind)
    reads = [(reader(kernel, name, part), by) for name, by in zip(sources, shifts, strict=True)]

    def together(threads: Threads, lanes: Lanes) -> None:
        whole = kind.type(0)
        for read, by in reads:
            whole = whole | read(threads, lanes).astype(kind) << by
        write(threads, lanes, whole)

    return together


def _space(instruction: Instruction) -> str:
    found = [part for part in instruction.opcode.split(".") if part in _SPACES]
    if len(found) != 1:
        raise PtxFault(f"{instruction.opcode}: its memory is not known")
    return found[0]


def _access(kernel: Kernel, instruction: Instruction) -> Step:
    """A load or a store, of one element or of some that are neighbours."""
    loads, space = instruction.name == "ld", _space(instruction)
    modifiers = instruction.opcode.split(".")
    kind = type_of(modifiers[-1])
    registers = _NAMES.findall(instruction.operands[0 if loads else 1])
    if len(registers) != next((int(part[1]) for part in modifiers if part in ("v2", "v4")), 1):
        raise PtxFault(f"{instruction.opcode} has {len(registers)} registers")
    addresses = address_reader(kernel, instruction.operands[1 if loads else 0])
    counted, size = f"{instruction.name}.{space}", kind.itemsize * len(registers)
    places = range(len(registers))
    if loads:
        writes = [writer(kernel, name, kind) for name in registers]

        def load(threads: Threads, lanes: Lanes) -> None:
            elements, at = _elements(threads, lanes, "ld", space, addresses(threads, lanes), kind, len(registers))
            for i in places:
                writes[i](threads, lanes, elements[at + i])
            threads.counted[counted] += size * len(at)

        return load
    reads = [reader(kernel, name, kind) for name in registers]

    def store(threads: Threads, lanes: Lanes) -> None:
        elements, at = _elements(threads, lanes, "st", space, addresses(threads, lanes), kind, len(registers))
        for i in places:
            elements[at + i] = reads[i](threads, lanes)
        threads.counted[counted] += size * len(at)

    return store


def _elements(
    threads: Threads, lanes: Lanes, access: Access, space: str, addresses: Array, kind: np.dtype[Any], count: int
) -> tuple[Array, Array]:
    """Memory as elements of a type, and the place of each thread's first; raises PtxFault outside of it."""
    if space == "global":
        return threads.memory.elements(addresses, kind, count)
    if space == "shared":
        who = np.arange(threads.count) if lanes is None else lanes
        elements, at = threads.shared.elements(addresses, who, kind, count)
        if threads.races is not None:
            threads.races.note(access, at * kind.itemsize, kind.itemsize * count, who)
        return elements, at
    last = int(addresses.max()) + kind.itemsize * count
    if int(addresses.min()) < 0 or last > threads.parameter_bytes or (addresses % (kind.itemsize * count)).any():
        raise PtxFault(f"parameters: {last - 1} lies beyond {threads.parameter_bytes} bytes, or is not aligned")
    return threads.parameters.view(kind), addresses // kind.itemsize


def _atomic(kernel: Kernel, instruction: Instruction) -> Step:
    """Threads one after the other, in their order."""
    gives, space = instruction.name == "atom", _space(instruction)
    *modifiers, suffix = instruction.opcode.split(".")
    kind = type_of(suffix)
    combine = _COMBINED.get(modifiers[-1])
    if combine is None or kind.kind == "f":
        raise PtxFault(f"{instruction.opcode} is not known")
    place, value = instruction.operands[1:] if gives else instruction.operands
    addresses, read = address_reader(kernel, place), reader(kernel, value, kind)
    write = writer(kernel, instruction.operands[0], kind) if gives else None
    counted = f"atom.{space}"

    def combined(threads: Threads, lanes: Lanes) -> None:
        elements, at = _elements(threads, lanes, "atom", space, addresses(threads, lanes), kind, 1)
        values = np.broadcast_to(read(threads, lanes), at.shape)
        before = elements[at]
        if len(np.unique(at)) == len(at):
            elements[at] = combine(before, values)
        else:
            for i, index in enumerate(at):
                before[i] = elements[index]
                elements[index] = combine(before[i], values[i])
        if write is not None:
            write(threads, lanes, before)
        threads.counted[counted] += kind.itemsize * len(at)

    return combined
