"""The grammar of sources: what a manifest may name and the entrypoint can fetch."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Dict, Optional
from urllib.parse import unquote, urlsplit, urlunsplit

SCHEMES = ("file", "https", "http", "ngc")

NGC_EXAMPLE = "ngc://nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0/peoplesemsegnet_shuffleseg_etlt.etlt"
_TELLING = ("path", "redirect")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NGC = re.compile(r"ngc://(?P<org>[^/:]+)(?:/(?P<team>[^/:]+))?/(?P<model>[^/:]+):(?P<version>[^/]+)/(?P<file>.+)")


def scheme_of(source: str) -> Optional[str]:
    """Return the scheme of a source in small letters, or None for a path."""
    match = _SCHEME.match(source)
    return match.group(1).lower() if match else None


def local_path(source: str) -> Optional[Path]:
    """Return the path of a local source (a path or ``file://``), or None for a remote one."""
    scheme = scheme_of(source)
    if scheme == "file":
        return Path(unquote(urlsplit(source).path))
    return Path(source) if scheme is None else None


def public(source: str) -> str:
    """Return a source as it may stand in a report or log: without user, password, and the values of a URL's query.

    What only names a file (NGC's ``path`` and ``redirect``) stays.
    """
    if scheme_of(source) not in ("https", "http"):
        return source
    parts = urlsplit(source)
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    query = "&".join(key + (f"={value}" if key in _TELLING else "=...") for key, _, value in pairs)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def source_id(source: str) -> str:
    """Return what tells two sources apart whose public forms are the same."""
    return hashlib.sha256(source.encode("utf-8")).hexdigest()[:16]


def ngc_parts(source: str) -> Optional[Dict[str, str]]:
    """Return org, team (may be empty), model, version and file of ``ngc://org[/team]/model:version/file``, or None."""
    match = _NGC.fullmatch(source)
    return {name: value or "" for name, value in match.groupdict().items()} if match else None
