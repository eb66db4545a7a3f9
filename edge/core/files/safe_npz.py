"""Arrays from an npz file of unknown origin: nothing is unpickled, and sizes are known before memory is taken."""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

_HEADER_BYTES = 1024
# not numpy's own reader: it evaluates the header as Python text
_START = re.compile(rb"\x93NUMPY\x01\x00(..)", re.DOTALL)
_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|][fbU]\d{1,9})', 'fortran_order': (?P<order>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,9}, ?)*\d{0,9})\), \} *\n"
)
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what zipfile raises on files that are not archives, and numpy on types that are none
_FOREIGN = (
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, OSError, OverflowError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


class NpzError(Exception):
    """The file is not an npz of these arrays; the message says why."""


def read_npz(
    data: bytes,
    limits_bytes: Mapping[str, int],
    may_lack: Collection[str] = (),
    earlier_names: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays named in `limits_bytes`, each at most so large when unpacked; others in the file are not looked at.

    may_lack: names that need not be in the file. earlier_names: what earlier files call an array. Raises NpzError.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            held = set(archive.namelist())
            stored = {name: name if f"{name}.npy" in held else earlier_names.get(name, name) for name in limits_bytes}
            wanted = [name for name in limits_bytes if f"{stored[name]}.npy" in held or name not in may_lack]
            return {name: _read(archive, stored[name], limits_bytes[name]) for name in wanted}
    except _FOREIGN as error:
        raise NpzError(str(error) or type(error).__name__) from error


def _read(archive: zipfile.ZipFile, name: str, limit_bytes: int) -> np.ndarray[Any, Any]:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type not in _PACKINGS or entry.file_size > limit_bytes + _HEADER_BYTES:
        raise NpzError(f"{name} unpacks to {entry.file_size} bytes, more than the {limit_bytes} it may have")
    # zipfile never gives more than the entry's size, whatever the packed data hold
    return _array(name, archive.read(entry))


def _array(name: str, content: bytes) -> np.ndarray[Any, Any]:
    start = _START.match(content)
    length = len(start[0]) + int.from_bytes(start[1], "little") if start else 0
    header = _HEADER.fullmatch(content[len(start[0]) : length]) if start else None
    if header is None:
        raise NpzError(f"{name} is no array of numbers or text as numpy writes them")
    dtype = np.dtype(header["dtype"].decode())
    shape = tuple(int(side) for side in header["shape"].split(b",") if side.strip())
    values = content[length:]
    # math.prod is exact, whatever the numbers
    if dtype.itemsize * math.prod(shape) != len(values):
        raise NpzError(f"{name} says {shape} {dtype}, and has {len(values)} bytes")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if header["order"] == b"True" else "C")
