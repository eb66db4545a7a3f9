"""What arithmetic instructions compute: arrays of a type in, an array out, rounded as the opcode says.

Only roundings that NumPy has as well are known: to nearest for floating point. An opcode that is not known is refused
when a kernel is loaded, never computed as something near it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.ptx.parser import PtxFault

Values = Any
Function = Callable[..., Values]
Operation = tuple[Function, tuple[np.dtype[Any], ...], np.dtype[Any]]

_WIDTHS: dict[str, dict[int, Any]] = {
    "f": {16: np.float16, 32: np.float32, 64: np.float64},
    "s": {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64},
    "u": {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64},
}


def type_of(suffix: str) -> np.dtype[Any]:
    """The NumPy type of a suffix such as "s32", "b16" or "pred"."""
    if suffix == "pred":
        return np.dtype(bool)
    kind = "u" if suffix[0] == "b" else suffix[0]
    try:
        found: np.dtype[Any] = np.dtype(_WIDTHS[kind][int(suffix[1:])])
    except (KeyError, ValueError) as error:
        raise PtxFault(f"the type {suffix} is not known") from error
    return found


def arithmetic(opcode: str) -> Operation | None:
    """(function, types of what it reads, type of what it gives) of an arithmetic opcode; None for any other."""
    name, *modifiers = opcode.split(".")
    if name in _MAKERS:
        return _MAKERS[name](opcode, modifiers)
    if name not in _PLAIN or not modifiers:
        return None
    kind = type_of(modifiers[-1])
    functions = _PLAIN[name]
    group = "f" if kind.kind == "f" else "b" if kind.kind == "b" else "i"
    if group not in functions:
        raise PtxFault(f"{opcode} is not known")
    _no_other_rounding(opcode, modifiers[:-1])
    function, operands = functions[group]
    return function, (kind,) * operands, kind


def _no_other_rounding(opcode: str, modifiers: list[str]) -> None:
    unknown = set(modifiers) - {"rn"}
    if unknown:
        raise PtxFault(f"{opcode}: {', '.join(sorted(unknown))} is not known")


def _compare(opcode: str, modifiers: list[str]) -> Operation:
    if len(modifiers) != 2:
        raise PtxFault(f"{opcode} is not known")
    relation, kind = modifiers[0], type_of(modifiers[1])
    ordered = {
        "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
        "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
    }  # fmt: skip
    unordered = {"ltu": np.greater_equal, "leu": np.greater, "gtu": np.less_equal, "geu": np.less}
    function: Function
    if relation == "ne" and kind.kind == "f":
        # unlike NumPy's: a comparison with NaN does not hold
        function = lambda a, b: (a < b) | (a > b)  # noqa: E731
    elif relation == "equ":
        function = lambda a, b: ~((a < b) | (a > b))  # noqa: E731
    elif relation == "neu":
        function = np.not_equal
    elif relation in ordered:
        function = ordered[relation]
    elif relation in unordered:
        opposite = unordered[relation]
        function = lambda a, b: ~opposite(a, b)  # noqa: E731
    elif relation in ("num", "nan"):
        function = (
            (lambda a, b: ~(np.isnan(a) | np.isnan(b)))
            if relation == "num"
            else (lambda a, b: np.isnan(a) | np.isnan(b))
        )
    else:
        raise PtxFault(f"{opcode} is not known")
    return function, (kind, kind), np.dtype(bool)


def _select(opcode: str, modifiers: list[str]) -> Operation:
    kind = type_of(modifiers[-1])
    return (lambda a, b, where: np.where(where, a, b)), (kind, kind, np.dtype(bool)), kind


def _convert(opcode: str, modifiers: list[str]) -> Operation:
    *how, target_name, source_name = modifiers
    source, target = type_of(source_name), type_of(target_name)
    rounding = how[0] if how else None
    if len(how) > 1:
        raise PtxFault(f"{opcode} is not known")
    to_whole = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
    if rounding in to_whole and source.kind == "f":
        whole = to_whole[rounding]
        if target.kind == "f":
            return (lambda a: whole(a).astype(target)), (source,), target
        return (lambda a: _saturated(whole(a.astype(np.float64)), target)), (source,), target
    narrowing = target.kind == "f" and (source.kind != "f" or target.itemsize < source.itemsize)
    if rounding != ("rn" if narrowing else None) or (source.kind == "f" and target.kind != "f"):
        raise PtxFault(f"{opcode} is not known")
    return (lambda a: a.astype(target)), (source,), target


def _saturated(values: Values, target: np.dtype[Any]) -> Values:
    """Whole numbers of a type from doubles: beyond its limits the nearest of them, zero for NaN."""
    limits = np.iinfo(target)
    # the largest number of 64 bits is no double: what reaches it is set, not converted
    large = values >= float(limits.max)
    small = np.where(large | np.isnan(values), 0.0, np.maximum(values, float(limits.min)))
    return np.where(large, target.type(limits.max), small.astype(target))


def _multiply(opcode: str, modifiers: list[str]) -> Operation:
    kind = type_of(modifiers[-1])
    adds = opcode.startswith("mad")
    if kind.kind == "f":
        if adds:
            raise PtxFault(f"{opcode}: a product and a sum in one rounding are not known")
        _no_other_rounding(opcode, modifiers[:-1])
        return np.multiply, (kind, kind), kind
    part = modifiers[0]
    wide = np.dtype(f"{kind.kind}{2 * kind.itemsize}") if kind.itemsize < 8 else None
    product: Function
    if part == "lo":
        product, result = np.multiply, kind
    elif part == "wide" and wide is not None:
        product, result = (lambda a, b: a.astype(wide) * b.astype(wide)), wide
    elif part == "hi" and wide is not None:
        shift = wide.type(8 * kind.itemsize)
        product, result = (lambda a, b: ((a.astype(wide) * b.astype(wide)) >> shift).astype(kind)), kind
    else:
        raise PtxFault(f"{opcode} is not known")
    if adds:
        return (lambda a, b, c: product(a, b) + c), (kind, kind, result), result
    return product, (kind, kind), result


def _shift(opcode: str, modifiers: list[str]) -> Operation:
    kind, unsigned = type_of(modifiers[-1]), np.dtype(np.uint32)
    bits = 8 * kind.itemsize

    def left(a: Values, by: Values) -> Values:
        return np.where(by < bits, np.left_shift(a, np.minimum(by, bits - 1).astype(kind)), kind.type(0))

    def right(a: Values, by: Values) -> Values:
        shifted = np.right_shift(a, np.minimum(by, bits - 1).astype(kind))
        # a signed number keeps its sign, however far it is shifted
        return shifted if kind.kind == "i" else np.where(by < bits, shifted, kind.type(0))

    return (left if opcode.startswith("shl") else right), (kind, unsigned), kind


def _bits(opcode: str, modifiers: list[str]) -> Operation:
    """Some bits out of the middle of a number, filled up by the highest of them where it is signed."""
    kind, unsigned = type_of(modifiers[-1]), np.dtype(np.uint32)
    if kind.itemsize != 4:
        raise PtxFault(f"{opcode} is not known")

    def extract(a: Values, first: Values, count: Values) -> Values:
        begin, length = np.minimum(first & 255, 32), np.minimum(count & 255, 32)
        wide = np.int64 if kind.kind == "i" else np.uint64
        above = np.minimum((64 - length).astype(wide), wide(63))
        moved = a.astype(wide) >> begin.astype(wide)
        return np.where(length == 0, wide(0), moved << above >> above).astype(kind)

    return extract, (kind, unsigned, unsigned), kind


def _largest(a: Values, b: Values) -> Values:
    """Of floating-point numbers: a number beats NaN, and +0 is larger than -0."""
    found = np.fmax(a, b)
    return np.where((a == b) & (a == 0), a + b, found)


def _smallest(a: Values, b: Values) -> Values:
    found = np.fmin(a, b)
    return np.where((a == b) & (a == 0), -(-a - b), found)


def _quotient(a: Values, b: Values) -> Values:
    remainder = _remainder(a, b)
    return (a - remainder) // b


def _remainder(a: Values, b: Values) -> Values:
    if not np.all(b):
        raise PtxFault("a whole number is divided by zero")
    # with the sign of the dividend, as in C
    return np.fmod(a, b)


_MAKERS: dict[str, Callable[[str, list[str]], Operation]] = {
    "setp": _compare, "cvt": _convert, "selp": _select, "mul": _multiply, "mad": _multiply, "shl": _shift,
    "shr": _shift, "bfe": _bits,
}  # fmt: skip
# by name: the function and how many operands it reads, for floating point, whole numbers and predicates
_PLAIN: dict[str, dict[str, tuple[Function, int]]] = {
    "add": {"f": (np.add, 2), "i": (np.add, 2)},
    "sub": {"f": (np.subtract, 2), "i": (np.subtract, 2)},
    "div": {"f": (np.divide, 2), "i": (_quotient, 2)},
    "rem": {"i": (_remainder, 2)},
    "rcp": {"f": (np.reciprocal, 1)},
    "sqrt": {"f": (np.sqrt, 1)},
    "neg": {"f": (np.negative, 1), "i": (np.negative, 1)},
    "abs": {"f": (np.abs, 1), "i": (np.abs, 1)},
    "min": {"f": (_smallest, 2), "i": (np.minimum, 2)},
    "max": {"f": (_largest, 2), "i": (np.maximum, 2)},
    "and": {"i": (np.bitwise_and, 2), "b": (np.logical_and, 2)},
    "or": {"i": (np.bitwise_or, 2), "b": (np.logical_or, 2)},
    "xor": {"i": (np.bitwise_xor, 2), "b": (np.logical_xor, 2)},
    "not": {"i": (np.invert, 1), "b": (np.logical_not, 1)},
}
