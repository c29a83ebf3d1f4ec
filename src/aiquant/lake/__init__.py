"""The lakehouse: Delta tables with idempotent writes, reads as of a time or a version, and SQL."""

from __future__ import annotations

from aiquant.lake.catalogue import TableInfo
from aiquant.lake.digests import digest
from aiquant.lake.store import Lake, Written

__all__ = ["Lake", "TableInfo", "Written", "digest"]
