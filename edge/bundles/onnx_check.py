"""ONNX files of unknown origin, looked at before a runtime reads them: well-formed, and complete in themselves.

A tensor can name another file as the place of its values; a runtime would open whatever path it gives. Read here
without the onnx package: only the fields on the way to such tensors, as the format's specification numbers them.
"""

from __future__ import annotations

from collections.abc import Iterator

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 32
# message → field → message inside it
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}


class OnnxFileError(Exception):
    """Not an ONNX file, or one whose values lie elsewhere."""


def check_self_contained(data: bytes) -> None:
    """Raises OnnxFileError when the bytes are no ONNX model, or when one of its tensors lies in another file."""
    view = memoryview(data)
    if not any(field == 7 for field, _ in _fields(view)):
        raise OnnxFileError("it has no graph")
    _check(view, "model", _DEEPEST)


def _check(message: memoryview, kind: str, deeper: int) -> None:
    if deeper == 0:
        raise OnnxFileError(f"graphs are nested more than {_DEEPEST} deep")
    inside = _INSIDE[kind]
    for field, value in _fields(message):
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            raise OnnxFileError("a tensor's values lie in another file")
        if field in inside:
            if isinstance(value, int):
                raise OnnxFileError(f"field {field} of a {kind} is a number")
            _check(value, inside[field], deeper - 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of every field of a protobuf message: a number, or bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield field, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise OnnxFileError(f"byte {at}: no such wire type as {wire}")
        if length > len(message) - at:
            raise OnnxFileError(f"field {field} is cut off")
        yield field, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    # nearly all are one byte long
    if at < len(message) and message[at] < 0x80:
        return message[at], at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise OnnxFileError("a number is cut off")
