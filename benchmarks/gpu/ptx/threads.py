"""Threads that run together: their registers, their shared memory, and how an operand of an instruction is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.ptx.memory import Array, DeviceMemory, SharedMemory
from benchmarks.gpu.ptx.operations import type_of
from benchmarks.gpu.ptx.parser import Kernel, PtxFault
from benchmarks.gpu.ptx.races import RaceWatch

WARP = 32
# numbers of threads that take part, in order; None: all of them, which is much faster
Lanes = Any
Reader = Callable[["Threads", Lanes], Any]
Writer = Callable[["Threads", Lanes, Any], None]

_ADDRESS = re.compile(r"\[([%\w$]+)(?:\+(-?\d+))?\]")
_REGISTER = re.compile(r"(%[a-z]+)(\d+)$")
_FLOAT = re.compile(r"0[fFdD]([0-9a-fA-F]+)$")


class Threads:
    """Some blocks of one launch, each thread with registers of its own; what was never written reads as NaN.

    first, blocks: which of the launch's blocks these are. counted: bytes by kind of access, to be added to. watched:
    races in shared memory are faults.
    """

    def __init__(
        self,
        kernel: Kernel,
        parameters: bytes,
        memory: DeviceMemory,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        first: int,
        blocks: int,
        counted: Counter[str],
        watched: bool = False,
    ) -> None:
        self.block_threads = int(np.prod(block))
        if self.block_threads % WARP:
            raise PtxFault(f"{kernel.name}: blocks of {self.block_threads} threads are no whole warps")
        self.count = self.block_threads * blocks
        self.memory, self.counted = memory, counted
        lanes = np.arange(self.count)
        self.block_of = lanes // self.block_threads
        self.shared = SharedMemory(kernel.shared_bytes, self.block_of)
        self.races = RaceWatch(self.shared.size_bytes, self.block_of) if watched else None
        whole = np.frombuffer(parameters.ljust(-(-len(parameters) // 16) * 16, b"\0"), np.uint8)
        self.parameters, self.parameter_bytes = whole, len(parameters)
        self.special = _special(lanes % self.block_threads, first + self.block_of, grid, block)
        self._banks: dict[str, Array] = {}
        for kind, rows in _rows_of(kernel).items():
            bank = np.full((rows, self.count), -1, np.int64).astype(kind) if kind != "bool" else None
            if bank is None:
                self._banks["bool"] = np.ones((rows, self.count), bool)
                continue
            for view in (f"u{bank.itemsize}", f"i{bank.itemsize}", f"f{bank.itemsize}"):
                self._banks[np.dtype(view).name] = bank.view(view)

    def bank(self, kind: str) -> Array:
        """Registers as numbers of a type, by its NumPy name: one row for each register."""
        return self._banks[kind]

    def size_of(self, lanes: Lanes) -> int:
        return self.count if lanes is None else len(lanes)


def _rows_of(kernel: Kernel) -> dict[str, int]:
    """How many registers there are of every width, by the name of the unsigned type; predicates are `bool`."""
    rows: dict[str, int] = {}
    for declared, number in kernel.registers.values():
        kind = "bool" if declared == "pred" else f"uint{8 * type_of(declared).itemsize}"
        rows[kind] = rows.get(kind, 0) + number
    return rows


def _row(kernel: Kernel, name: str) -> tuple[str, int]:
    """(type of its bank, row in it) of a register."""
    found = _REGISTER.match(name)
    if found is None or found[1] not in kernel.registers:
        raise PtxFault(f"the register {name} was not declared")
    first: dict[str, int] = {}
    for prefix, (declared, number) in kernel.registers.items():
        kind = "bool" if declared == "pred" else f"uint{8 * type_of(declared).itemsize}"
        if prefix == found[1]:
            return kind, first.get(kind, 0) + int(found[2])
        first[kind] = first.get(kind, 0) + number
    raise AssertionError("declared registers have a bank")


def _special(thread: Array, block: Array, grid: tuple[int, int, int], sides: tuple[int, int, int]) -> dict[str, Array]:
    values = {"%laneid": thread % WARP}
    for axis, (name, before) in enumerate(zip("xyz", (1, sides[0], sides[0] * sides[1]), strict=True)):
        values[f"%tid.{name}"] = thread // before % sides[axis]
        values[f"%ctaid.{name}"] = block // int(np.prod(grid[:axis], dtype=int)) % grid[axis]
        values[f"%ntid.{name}"] = np.full_like(thread, sides[axis])
        values[f"%nctaid.{name}"] = np.full_like(thread, grid[axis])
    return {name: value.astype(np.uint32) for name, value in values.items()}


def reader(kernel: Kernel, operand: str, kind: np.dtype[Any]) -> Reader:
    """Reads a register, a special register, a number or the place of a variable, as numbers of a type."""
    if operand.startswith("%") and _REGISTER.match(operand):
        return _register_reader(*_row(kernel, operand), kind)
    if operand.startswith("%"):
        return _special_reader(operand, kind)
    constant = _constant(kernel, operand, kind)
    return lambda threads, lanes: constant


def _register_reader(bank: str, row: int, kind: np.dtype[Any]) -> Reader:
    if (bank == "bool") != (kind == np.bool_):
        raise PtxFault(f"a predicate and {kind} are mixed")
    width = np.dtype(bank).itemsize
    if kind.itemsize > width:
        raise PtxFault(f"{kind} is read from a register of {width} bytes")
    name = kind.name if kind.itemsize == width else bank

    def read(threads: Threads, lanes: Lanes) -> Any:
        values = threads.bank(name)[row]
        return values if lanes is None else values[lanes]

    if kind.itemsize == width:
        return read
    narrow = np.dtype(f"u{kind.itemsize}")
    return lambda threads, lanes: read(threads, lanes).astype(narrow).view(kind)


def _special_reader(name: str, kind: np.dtype[Any]) -> Reader:
    def read(threads: Threads, lanes: Lanes) -> Any:
        if name not in threads.special:
            raise PtxFault(f"the special register {name} is not known")
        values = threads.special[name]
        return (values if lanes is None else values[lanes]).astype(kind)

    return read


def _constant(kernel: Kernel, operand: str, kind: np.dtype[Any]) -> Any:
    bits = _FLOAT.match(operand)
    if bits is not None:
        return np.array(int(bits[1], 16), f"u{len(bits[1]) // 2}").view(kind)[()]
    if operand in kernel.shared:
        return kind.type(kernel.shared[operand])
    if operand == kernel.parameter[0]:
        return kind.type(0)
    try:
        number = int(operand, 0)
    except ValueError as error:
        raise PtxFault(f"the operand {operand} is not understood") from error
    if kind.kind == "b":
        return np.bool_(number)
    if kind.kind == "f":
        raise PtxFault(f"the whole number {operand} stands where {kind} is read")
    return np.array(number & (256**kind.itemsize - 1), f"u{kind.itemsize}").view(kind)[()]


def writer(kernel: Kernel, operand: str, kind: np.dtype[Any]) -> Writer:
    """Writes numbers of a type into a register; a wider one is filled up by their sign."""
    bank, row = _row(kernel, operand)
    width = np.dtype(bank).itemsize
    if kind.itemsize > width or (bank == "bool") != (kind == np.bool_):
        raise PtxFault(f"{kind} is written into {operand}, a register of {width} bytes")
    if kind.itemsize < width and kind.kind == "f":
        raise PtxFault(f"{kind} is written into {operand}, a register of {width} bytes")
    # NumPy widens whole numbers by their sign when it stores them
    name = kind.name if kind.itemsize == width else f"{'int' if kind.kind == 'i' else 'uint'}{8 * width}"

    def write(threads: Threads, lanes: Lanes, values: Any) -> None:
        threads.bank(name)[row, slice(None) if lanes is None else lanes] = values

    return write


def address_reader(kernel: Kernel, operand: str) -> Reader:
    """Reads an address such as [%rd1+8], as whole numbers of 64 bits, one for each thread."""
    found = _ADDRESS.match(operand)
    if found is None:
        raise PtxFault(f"the address {operand} is not understood")
    base, offset = found[1], np.int64(found[2] or 0)
    register = _REGISTER.match(base)
    kind = np.dtype(np.uint32 if register and _row(kernel, base)[0] == "uint32" else np.int64)
    read = reader(kernel, base, kind)

    def addresses(threads: Threads, lanes: Lanes) -> Any:
        values = np.asarray(read(threads, lanes)).astype(np.int64) + offset
        return values if values.ndim else np.full(threads.size_of(lanes), values)

    return addresses
