"""Fitted forecasters on disk: one file in a safe format and one header in JSON, held together by a digest; no pickles.

``model.json`` holds who made it (forecaster, features, parameters, libraries) and the digest; the payload
(``model.ubj``, ``coefficients.json`` …) what was learnt. The digest is taken over both: neither can be changed alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiquant.errors import DataError, MissingError, RefusedError, Unreachable

HEADER = "model.json"
FORMAT = 1
_REMEDY = "do not use it; train the model again, or restore the files"


@dataclass(frozen=True)
class Header:
    """What is told about a fitted forecaster.

    Attributes
    ----------
    forecaster
        Its name.
    features
        The columns that it was fitted on, in their order.
    payload
        Name of the file beside the header.
    parameters
        What it was made with; JSON values.
    libraries
        Versions of the libraries that wrote it.
    """

    forecaster: str
    features: tuple[str, ...]
    payload: str
    parameters: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def write(folder: Path, header: Header, payload: bytes) -> str:
    """Write header and payload into ``folder`` (made where absent) and return the digest (64 hex digits).

    The header comes last and in one step: a folder without a header holds no forecaster.

    Raises
    ------
    Unreachable
        When the disk does not take the files.
    """
    digest = _digest(header, payload)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / header.payload).write_bytes(payload)
        draft = folder / f".{HEADER}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(header) | {"digest": digest}, indent=1, sort_keys=True), encoding="utf-8")
        draft.replace(folder / HEADER)
    except OSError as error:
        raise Unreachable(
            f"the model cannot be written to {folder}: {error.strerror}", "make room or grant access"
        ) from error
    return digest


def read(folder: Path, digest: str | None = None) -> tuple[Header, bytes]:
    """The header and payload in ``folder``, checked against their digest, and against ``digest`` if that is given.

    Raises
    ------
    MissingError
        When the files are not there.
    Unreachable
        When they cannot be read.
    DataError
        When the header was written by a later aiquant.
    RefusedError
        When header or payload are not what was saved, whatever became of them.
    """
    try:
        told = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        own = told.pop("digest")
        header = Header(**told | {"features": tuple(told["features"])})
        if Path(header.payload).name != header.payload:
            raise ValueError(f"the payload {header.payload!r} lies outside of the folder")
        payload = (folder / header.payload).read_bytes()
    except FileNotFoundError as error:
        raise MissingError(f"there is no model in {folder}: {error.filename} is missing", "train it again") from error
    except OSError as error:
        raise Unreachable(f"{folder}: the model cannot be read: {error.strerror}", "check who may read it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"the model in {folder} is damaged: {HEADER} cannot be read: {error}", _REMEDY) from error
    if header.format > FORMAT:
        raise DataError(f"{folder / HEADER} was written by a later aiquant", "upgrade aiquant")
    found = _digest(header, payload)
    if found != own or (digest is not None and found != digest):
        raise RefusedError(
            f"the model in {folder} is not the one that was saved:"
            f" digest {found[:12]}…, expected {(digest or own)[:12]}…",
            _REMEDY,
        )
    return header, payload


def inspect(folder: Path) -> tuple[Header, str]:
    """The header of the artefact in ``folder`` and its digest, which is checked. Raises as :func:`read`."""
    header, payload = read(folder)
    return header, _digest(header, payload)


def _digest(header: Header, payload: bytes) -> str:
    told = json.dumps(asdict(header), sort_keys=True).encode()
    return hashlib.sha256(len(told).to_bytes(8, "big") + told + payload).hexdigest()
