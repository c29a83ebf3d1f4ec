"""Addresses of articles in one form, so that the same article found twice is one article."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_TRACKING = frozenset(
    {"fbclid", "gclid", "dclid", "msclkid", "mc_cid", "mc_eid", "igshid", "cmpid", "ref", "ref_src", "guccounter"}
)


def normalised(url: str) -> str:
    """Scheme and host in small letters, no fragment, no tracking parameters, no slash at the end; http is https.

    Whatever is no address is returned as it is.
    """
    try:
        told = urlsplit(url.strip())
        port = told.port
    except ValueError:
        return url
    host = (told.hostname or "").removeprefix("www.")
    if told.scheme.lower() not in ("http", "https") or not host:
        return url
    if port not in (None, 80, 443):
        host = f"{host}:{port}"
    kept = [
        (k, v)
        for k, v in parse_qsl(told.query, keep_blank_values=True)
        if k.lower() not in _TRACKING and not k.lower().startswith("utm_")
    ]
    return urlunsplit(("https", host, told.path.rstrip("/"), urlencode(sorted(kept)), ""))


def article_id(source: str, url: str) -> str:
    """Digest of a source and the normalised address: 32 hex digits."""
    return hashlib.sha256(f"{source}\x1f{normalised(url)}".encode("utf-8", "replace")).hexdigest()[:32]
