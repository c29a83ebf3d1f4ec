"""Digests of content: equal content, equal digest, wherever and however it is stored."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiquant


def of_json(content: Any) -> str:
    """Digest (SHA-256, 16 hex digits) of plain data."""
    text = json.dumps(content, sort_keys=True, default=str, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache
def of_code(parts: tuple[str, ...] = (".",)) -> str:
    """Digest of the source files of aiquant as they are installed: all of them, or those of some folders and files."""
    root = Path(aiquant.__file__).parent
    digest = hashlib.sha256()
    for part in parts:
        for path in sorted((root / part).rglob("*.py") if (root / part).is_dir() else [root / part]):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
