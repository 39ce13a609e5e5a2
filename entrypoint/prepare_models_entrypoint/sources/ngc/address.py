"""Which file of which model is meant: all published forms of NGC URLs, and ``ngc://``, mean the same here."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import List, NamedTuple, Optional
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ...contract.source import Source, ngc_file

API_HOST = "api.ngc.nvidia.com"
CATALOGUE_HOST = "catalog.ngc.nvidia.com"
_KINDS = {"models": "models", "resources": "resources", "recipes": "resources"}
_VERSION = r"ngc://(?P<org>[^/:?]+)(?:/(?P<team>[^/:?]+))?/(?P<model>[^/:?]+):(?P<version>[^/?]+)/?"
_MODEL = r"(?:ngc://)?(?P<org>[^/:?]+)(?:/(?P<team>[^/:?]+))?/(?P<model>[^/:?]+)(?::(?P<version>[^/?]+))?/?"


class Address(NamedTuple):
    """A file of a version of a model; ``file`` is None for the whole version, ``version`` for the model.

    All names are as NGC shows them. ``kind``: models or resources.
    """

    org: str
    team: Optional[str]
    name: str
    version: Optional[str] = None
    file: Optional[str] = None
    kind: str = "models"

    def __str__(self) -> str:
        return (
            f"ngc://{self.model}"
            + (f":{self.version}" if self.version else "")
            + (f"/{self.file}" if self.file else "")
        )

    def source(self, api: str) -> str:
        """Return the text that names this file in a manifest: ``ngc://``, or for resources an API URL."""
        if self.kind == "models":
            return str(self)
        owner = "/".join(quote(part, safe="") for part in (self.org, self.team, self.name) if part)
        path = f"/versions/{quote(self.version or '', safe='')}/files/{quote(self.file or '')}"
        return f"{api}/v2/{self.kind}/{owner}{path}"

    @property
    def model(self) -> str:
        """Return ``org[/team]/model``."""
        return "/".join(filter(None, (self.org, self.team, self.name)))

    @property
    def page(self) -> str:
        """Return the catalog page, which has the licence."""
        team = f"/teams/{quote(self.team)}" if self.team else ""
        version = f"?version={quote(self.version)}" if self.version else ""
        return f"https://{CATALOGUE_HOST}/orgs/{quote(self.org)}{team}/{self.kind}/{quote(self.name)}{version}"

    def with_file(self, file: Optional[str]) -> Address:
        """Return the address of another file of the same version."""
        return self._replace(file=file)


@lru_cache(maxsize=4096)
def parse(source: str, *, api: str) -> Optional[Address]:
    """Return what a source names on NGC, or None if it is not an NGC source.

    Args:
        source: ``ngc://...`` or a URL.
        api: base URL of the API, whose host also counts as NGC.
    """
    if Source.of(source).scheme == "ngc":
        return _literal(source)
    if Source.of(source).scheme not in ("https", "http"):
        return None
    parts = urlsplit(source)
    host = parts.hostname
    if host not in (CATALOGUE_HOST, API_HOST) and parts.netloc != urlsplit(api).netloc:
        return None
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if host == CATALOGUE_HOST:
        return _page(segments, query.get("version"))
    if segments[:1] != ["v2"]:
        return None
    return _by_route(segments[1:], query.get("path"))


def parse_model(text: str) -> Optional[Address]:
    """Return the address in ``[ngc://]org[/team]/model[:version]``, or None."""
    match = re.fullmatch(_MODEL, text)
    return Address(match["org"], match["team"], match["model"], match["version"]) if match else None


def _literal(source: str) -> Optional[Address]:
    parts = ngc_file(source)
    if parts is not None:
        return Address(parts.org, parts.team or None, parts.model, parts.version, parts.file)
    match = re.fullmatch(_VERSION, source)
    return Address(match["org"], match["team"], match["model"], match["version"]) if match else None


def _page(segments: List[str], version: Optional[str]) -> Optional[Address]:
    """Read orgs/{org}[/teams/{team}]/{kind}/{name}[/files], the catalog's own pages."""
    if segments[:1] == ["orgs"]:
        segments = ["org", *segments[1:]]
    if len(segments) > 2 and segments[2] == "teams":
        segments = [*segments[:2], "team", *segments[3:]]
    owner = _owner(segments)
    if owner is None:
        return None
    org, team, rest = owner
    if len(rest) < 2 or rest[0] not in _KINDS:
        return None
    return Address(org, team, rest[1], version, None, _KINDS[rest[0]])


def _by_route(segments: List[str], path: Optional[str]) -> Optional[Address]:
    if segments[:1] == ["org"]:  # /v2/org/{org}[/team/{team}]/{kind}/...
        owner = _owner(segments)
        if owner is None or not owner[2] or owner[2][0] not in _KINDS:
            return None
        org, team, (kind, *rest) = owner
        return _tail(_KINDS[kind], org, team, rest, path)
    if not segments or segments[0] not in _KINDS:
        return None
    kind, rest = _KINDS[segments[0]], segments[1:]
    if rest[:1] == ["org"]:  # /v2/{kind}/org/{org}[/team/{team}]/{name}/{version}/files
        owner = _owner(rest)
        return _tail(kind, owner[0], owner[1], owner[2], path) if owner else None
    if "versions" not in rest[2:4]:  # /v2/{kind}/{org}[/{team}]/{name}/versions/...
        return None
    at = rest.index("versions", 2)
    return _tail(kind, rest[0], rest[1] if at == 3 else None, rest[at - 1 :], path)


def _owner(segments: List[str]) -> "Optional[tuple[str, Optional[str], List[str]]]":
    """Split org/{org}[/team/{team}]/rest."""
    if len(segments) < 3 or segments[0] != "org":
        return None
    if segments[2] == "team" and len(segments) > 4:
        return segments[1], segments[3], segments[4:]
    return segments[1], None, segments[2:]


def _tail(kind: str, org: str, team: Optional[str], rest: List[str], path: Optional[str]) -> Optional[Address]:
    """Read {name}/[versions/]{version}[/files[/{path}] | /zip]."""
    if len(rest) > 1 and rest[1] == "versions":
        rest = [rest[0], *rest[2:]]
    if len(rest) < 2:
        return None
    name, version, *after = rest
    if after[:1] == ["files"]:
        return Address(org, team, name, version, "/".join(after[1:]) or path, kind)
    if after in ([], ["zip"]):
        return Address(org, team, name, version, None, kind)
    return None
