"""A state as bytes: a digest, a head in JSON and plain arrays. Nothing in it is executed when it is read."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARK = b"aiquant state 1\n"
_KINDS = frozenset({"bool", "int64", "float32", "float64"})


def write(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """The bytes of a head and named arrays (bool, int64, float32 or float64)."""
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    shapes = {name: [str(array.dtype), *array.shape] for name, array in held.items()}
    text = json.dumps({"head": head, "arrays": shapes}).encode()
    body = b"".join([len(text).to_bytes(8, "little"), text, *(array.tobytes() for array in held.values())])
    return _MARK + hashlib.sha256(body).hexdigest().encode() + body


def read(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Head and arrays of what :func:`write` gave.

    Raises
    ------
    DataError
        When it is something else, or was changed or cut since.
    """
    at = len(_MARK) + 64
    if content[: len(_MARK)] != _MARK:
        raise DataError("it is no state of this version of aiquant")
    body = memoryview(content)[at:]
    if hashlib.sha256(body).hexdigest().encode() != content[len(_MARK) : at]:
        raise DataError("its digest is wrong: it was cut short or changed")
    size = int.from_bytes(body[:8], "little")
    told = json.loads(bytes(body[8 : 8 + size]))
    arrays, offset = {}, 8 + size
    for name, (kind, *shape) in told["arrays"].items():
        if kind not in _KINDS:
            raise DataError(f"it holds an array of {kind}")
        array = np.frombuffer(body, dtype=kind, count=int(np.prod(shape)), offset=offset).reshape(shape)
        arrays[name] = array
        offset += array.nbytes
    return told["head"], arrays
