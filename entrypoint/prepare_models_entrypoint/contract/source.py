"""The grammar of sources: what a manifest may name and the entrypoint can fetch."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple
from urllib.parse import unquote, urlsplit, urlunsplit

REMOTE_FILESYSTEMS = ("s3", "gs", "gcs", "az", "abfs", "sftp")  # fetched through fsspec
SCHEMES = ("file", "https", "http", "ngc", *REMOTE_FILESYSTEMS)

NGC_EXAMPLE = "ngc://nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0/peoplesemsegnet_shuffleseg_etlt.etlt"
_TELLING = ("path", "redirect")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NGC = re.compile(
    r"ngc://(?P<org>[^/:?]+)(?:/(?P<team>[^/:?]+))?/(?P<model>[^/:?]+):(?P<version>[^/?]+)(?:/|\?file=)(?P<file>.+)"
)
_MEMBER = re.compile(r"(?P<archive>.+\.(?:tar|tar\.gz|tgz|tar\.bz2|tar\.xz|zip))!/?(?P<member>.+)", re.IGNORECASE)
_PIN = re.compile(r"(?P<source>.+)#sha256=(?P<sha256>[0-9a-fA-F]{64})")


class Member(NamedTuple):
    """A file inside an archive: ``models.tar.gz!inner/model.onnx``. ``archive`` is a source itself."""

    archive: str
    path: str


def scheme_of(source: str) -> Optional[str]:
    """Return the scheme of a source in small letters, or None for a path."""
    match = _SCHEME.match(source)
    return match.group(1).lower() if match else None


def local_path(source: str) -> Optional[Path]:
    """Return the path of a local file (a path or ``file://``), or None for a remote one and for an archive's member."""
    if member_of(source) is not None:
        return None
    scheme = scheme_of(source)
    if scheme == "file":
        return Path(unquote(urlsplit(source).path))
    return Path(source) if scheme is None else None


def public(source: str) -> str:
    """Return a source as it may stand in a report or log: without user, password, and the values of a URL's query.

    What only names a file (NGC's ``path`` and ``redirect``) stays.
    """
    member = member_of(source)
    if member is not None:
        return f"{public(member.archive)}!{member.path}"
    if scheme_of(source) in (None, "file", "ngc"):
        return source
    try:
        parts = urlsplit(source)
    except ValueError:
        return f"{scheme_of(source)}://..."
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    query = "&".join(key + (f"={value}" if key in _TELLING else "=...") for key, _, value in pairs)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def source_id(source: str) -> str:
    """Return what tells two sources apart whose public forms are the same."""
    return hashlib.sha256(source.encode("utf-8")).hexdigest()[:16]


def member_of(source: str) -> Optional[Member]:
    """Return the archive and the inner path of ``archive.tar.gz!inner/path``, or None for any other source."""
    match = _MEMBER.fullmatch(source) if "!" in source else None
    return Member(match["archive"], match["member"]) if match else None


def split_pin(source: str) -> Tuple[str, Optional[str]]:
    """Return a source without its ``#sha256=`` ending, and the digest in small letters (None without one)."""
    match = _PIN.fullmatch(source)
    return (match["source"], match["sha256"].lower()) if match else (source, None)


def ngc_parts(source: str) -> Optional[Dict[str, str]]:
    """Return org, team (may be empty), model, version and file of ``ngc://org[/team]/model:version/file``, or None."""
    match = _NGC.fullmatch(source)
    return {name: value or "" for name, value in match.groupdict().items()} if match else None


def problem_of(source: str) -> Optional[str]:
    """Say what is expected where a source is none that can be fetched, or return None."""
    member = member_of(source)
    if member is not None:
        return problem_of(member.archive)
    scheme = scheme_of(source)
    if not source or (scheme is not None and scheme not in SCHEMES):
        return "a path, file://, https:// or ngc:// URL"
    if scheme == "ngc" and ngc_parts(source) is None:
        return f"ngc://org[/team]/model:version/file, such as {NGC_EXAMPLE}"
    if scheme == "file" and not source.startswith("file:///"):
        return "file:/// and an absolute path"
    return _url_problem(source) if scheme in ("http", "https") else None


def _url_problem(url: str) -> Optional[str]:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return None if usable else "https:// with the name of a host, and perhaps a port"
