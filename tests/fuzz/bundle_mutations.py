"""Ways to spoil a bundle: bits and bytes, meaning of JSON, arrays and networks, and what the file system can do.

Every mutation is drawn from the random generator alone, so that a case can be had again by its seed and number.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.bundles.bundle import MANIFEST

_NASTY_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 2**31, 2**63, 10**400, -(10**30), 0.5, 1e308, -0.0, "", "x", "..", "/etc/passwd",
    "../manifest.json", "\x1b[2J", "\ud800", "a" * 5000, [], {}, [[]], {"": 1}, [1] * 1000, ["0" * 64],
)  # fmt: skip
_NASTY_TEXT = ("NaN", "Infinity", "-Infinity", "1e999", "[" * 5000, '{"a":' * 5000, "9" * 5000, "\\ud800", "\x00")
_NASTY_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }",
    "{'descr': '<U1073741823', 'fortran_order': False, 'shape': (), }",
    "{'descr': '|S0', 'fortran_order': False, 'shape': (), }",
    "{'descr': 'wrong', 'fortran_order': False, 'shape': (), }",
    "{'descr': '<f4', 'shape': (), }",
    "{'descr': ('<f4', (3, 3)), 'fortran_order': True, 'shape': (1.5,), }",
    "(" * 3000,
    "__import__('os').abort()",
)

Mutation = Callable[[random.Random, bytes], bytes]


def _flip_bits(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64)) if data else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _overwrite(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    filling = draw.choice((b"\x00", b"\xff", b"\x7f", draw.randbytes(1))) * draw.choice((1, 2, 4, 8, 300))
    return data[:at] + filling + data[at + len(filling) :]


def _cut(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _remove(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[at + draw.choice((1, 4, 100)) :]


def _insert(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.choice((1, 4, 100))) + data[at:]


def _repeat(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    piece = data[at : at + draw.choice((1, 16, 1000))]
    return data[:at] + piece * draw.choice((2, 3, 50)) + data[at:]


BYTE_MUTATIONS: tuple[Mutation, ...] = (_flip_bits, _overwrite, _cut, _remove, _insert, _repeat)


def spoil_manifest(draw: random.Random, data: bytes) -> bytes:
    """Bytes, or a value of the JSON, or its text."""
    way = draw.random()
    if way < 0.4:
        return draw.choice(BYTE_MUTATIONS)(draw, data)
    values = json.loads(data)
    holder, key = _some_place(draw, values)
    if way < 0.5:
        del holder[key]
    elif way < 0.6 and isinstance(holder, dict):
        holder[draw.choice(("", "extra", "sha256", "name", "files"))] = draw.choice(_NASTY_VALUES)
    elif way < 0.9:
        holder[key] = draw.choice(_NASTY_VALUES)
    else:
        holder[key] = "@here"
        text = draw.choice(_NASTY_TEXT)
        return json.dumps(values).replace('"@here"', text).encode("utf-8", "surrogatepass")
    return json.dumps(values).encode()


def _some_place(draw: random.Random, values: Any) -> tuple[Any, Any]:
    """A container of the JSON, and a key or index in it."""
    while True:
        key = draw.choice(list(values)) if isinstance(values, dict) else draw.randrange(len(values))
        if not isinstance(values[key], dict | list) or not values[key] or draw.random() < 0.3:
            return values, key
        values = values[key]


def spoil_calibration(draw: random.Random, data: bytes) -> bytes:
    """Bytes of the archive, or one of its arrays packed anew."""
    if draw.random() < 0.5:
        return draw.choice(BYTE_MUTATIONS)(draw, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(arrays))
    way = draw.random()
    if way < 0.4:
        header = draw.choice(_NASTY_HEADERS).encode()
        length = len(header).to_bytes(2, "little")
        arrays[name] = b"\x93NUMPY\x01\x00" + length + header + arrays[name][128:]
    elif way < 0.8:
        arrays[name] = draw.choice(BYTE_MUTATIONS)(draw, arrays[name])
    elif way < 0.9:
        arrays[name] = arrays[draw.choice(sorted(arrays))]
    else:
        # unpacks to a thousand times its size
        arrays[name] += bytes(draw.choice((10_000, 3_000_000)))
    packing = draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for entry, content in arrays.items():
            archive.writestr(entry, content)
    return buffer.getvalue()


def spoil_model(draw: random.Random, data: bytes) -> bytes:
    """Bytes, most of them near the ends, where the structure is; or a tensor that says it lies elsewhere."""
    if draw.random() < 0.1:
        # graph { initializer { external_data { key: "location", value: ".." } } }
        return data + bytes.fromhex("3a162a146a120a086c6f636174696f6e120632f0000000002e2e")
    edge = min(len(data), 2000)
    head, tail = data[:edge], data[edge:]
    return draw.choice(BYTE_MUTATIONS)(draw, head) + tail if draw.random() < 0.7 else _cut(draw, data)


def spoil_place(draw: random.Random, file: Path, outside: Path) -> str:
    """Put something else where the file was; returns what."""
    what = draw.choice(("missing", "empty", "folder", "link outside", "link to itself", "link to a device", "pipe"))
    file.unlink()
    if what == "empty":
        file.write_bytes(b"")
    elif what == "folder":
        file.mkdir()
    elif what == "link outside":
        file.symlink_to(outside)
    elif what == "link to itself":
        file.symlink_to(file)
    elif what == "link to a device":
        file.symlink_to("/dev/zero")
    elif what == "pipe":
        os.mkfifo(file)
    return what


def seal(folder: Path, name: str, data: bytes) -> None:
    """Let the manifest name this content, so that what is behind the hash is reached."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for entry in manifest["files"].values():
        if entry["name"] == name:
            entry.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (folder / MANIFEST).write_text(json.dumps(manifest))
