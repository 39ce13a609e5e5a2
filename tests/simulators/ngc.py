"""A simulator of NGC: the API and its token service on one port, the CDN with signed URLs on another.

It follows what NVIDIA's own SDK asks and needs. ``tests/simulators/test_ngc.py`` drives it without our client, and
``nox -s sdk`` with the SDK.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import ssl
import threading
import time
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

from .web import Answer, Request, Server

LEGACY_KEY = "bGVnYWN5LWtleS1vZi10aGUtc2ltdWxhdG9yLWFuZC1vZi1ub3RoaW5nLWVsc2U"
PERSONAL_KEY = "nvapi-personal-key-of-the-simulator"
_PAGE = 1000
_KINDS = {"models": ("model", "MODEL"), "resources": ("recipe", "RECIPE")}


@dataclasses.dataclass
class Version:
    """A version of a model. ``digests``: whether lists carry sha256. ``listed``: wrong facts that the list tells."""

    files: Dict[str, bytes]
    guest: bool = True
    licence: bool = False
    digests: bool = True
    status: str = "UPLOAD_COMPLETE"
    listed: Dict[str, Dict[str, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Fault:
    """Answers ``times`` requests at a place (token, list, versions, file, cdn) in another way.

    Args:
        place: where.
        times: how often; -1 for ever.
        answer: what to say in place of the real answer, or None to change it.
        change: fields of the real answer to change.
    """

    place: str
    times: int
    answer: Optional[Answer] = None
    change: Dict[str, Any] = dataclasses.field(default_factory=dict)


class NgcSimulator:
    """NGC on two ports of 127.0.0.1."""

    def __init__(self, tls: Optional[ssl.SSLContext] = None) -> None:
        self.models: Dict[Tuple[str, str, Optional[str], str], Dict[str, Version]] = {}
        self.faults: List[Fault] = []
        self.url_ttl_s = 3600.0
        self.token_ttl_s = 900.0
        self.rate: Optional[float] = None
        self.delay_s = 0.0
        self._secret = b"1"
        self._tokens: Dict[str, float] = {}
        self._guard = threading.Lock()
        self._api, self._cdn = Server(self._decide_api, tls), Server(self._decide_cdn, tls)

    def __enter__(self) -> NgcSimulator:  # noqa: PYI034  # Self is not in Python 3.8's typing
        self._api.__enter__()
        self._cdn.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._api.__exit__()
        self._cdn.__exit__()

    @property
    def url(self) -> str:
        """Return the base URL of the API and of the token service."""
        return self._api.url

    @property
    def asked(self) -> List[Request]:
        """Return the requests to API and token service."""
        return self._api.requests

    @property
    def fetched(self) -> List[Request]:
        """Return the requests to the CDN."""
        return self._cdn.requests

    @property
    def bytes_served(self) -> int:
        """Return how many bytes of files left the CDN."""
        return sum(request.sent for request in self.fetched)

    @property
    def leaks(self) -> List[Request]:
        """Return the requests that carried credentials to the CDN."""
        return [request for request in self.fetched if "authorization" in request.headers]

    def publish(
        self, model: str, version: str, files: Dict[str, bytes], *, kind: str = "models", **more: Any
    ) -> Version:
        """Add ``org[/team]/model`` in a version."""
        org, *team, name = model.split("/")
        published = Version(files, **more)
        self.models.setdefault((kind, org, team[0] if team else None, name), {})[version] = published
        return published

    def fail(self, place: str, times: int = 1, answer: Optional[Answer] = None, **change: Any) -> None:
        """Have something go wrong."""
        self.faults.append(Fault(place, times, answer, change))

    def expire_tokens(self) -> None:
        """End the life of all tokens."""
        with self._guard:
            self._tokens.clear()

    def expire_urls(self) -> None:
        """End the life of all signed URLs."""
        self._secret += b"1"

    def _faulty(self, place: str, real: Answer) -> Answer:
        with self._guard:
            for fault in self.faults:
                if fault.place == place and fault.times:
                    fault.times -= 1
                    return fault.answer or dataclasses.replace(real, **fault.change)
        return real

    def _decide_api(self, request: Request) -> Answer:
        parts = urlsplit(request.target)
        segments = [unquote(segment) for segment in parts.path.split("/") if segment]
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if segments == ["token"]:
            return self._faulty("token", self._token(request))
        if segments == ["v3", "keys", "get-caller-info"]:
            return document({"type": "PERSONAL", "orgName": "acme", "user": {"orgName": "acme", "roles": []}})
        if segments[:2] == ["v2", "search"]:
            return self._faulty("search", self._search(json.loads(query["q"])))
        place, answer = self._route(request, segments[1:], query)
        return dataclasses.replace(self._faulty(place, answer), delay_s=self.delay_s)

    def _token(self, request: Request) -> Answer:
        expected = base64.b64encode(f"$oauthtoken:{LEGACY_KEY}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return error(401, "UNAUTHORIZED", "Invalid key")
        with self._guard:
            token = f"token-{len(self._tokens)}-{time.monotonic_ns()}.of-the.simulator"
            self._tokens[token] = time.monotonic() + self.token_ttl_s
        return document({"token": token, "expires_in": int(self.token_ttl_s)})

    def _search(self, asked: Dict[str, Any]) -> Answer:
        words = str(asked.get("query") or "").strip("*").lower()
        found = [
            {
                "resourceId": "/".join(filter(None, (org, team, name))), "name": name, "orgName": org, "teamName": team,
                "displayName": name, "attributes": [{"key": "latestVersionIdStr", "value": max(versions)}],
            }
            for (kind, org, team, name), versions in self.models.items()
            if kind == "models" and words in name
        ]  # fmt: skip
        group = {"groupValue": "MODEL", "totalCount": len(found), "resources": found}
        return document({"results": [group], "resultTotal": len(found), "resultPageTotal": 1})

    def _route(self, request: Request, segments: List[str], query: Dict[str, str]) -> Tuple[str, Answer]:
        caller, found = self._caller(request), _address(segments)
        if caller == "refused" or (segments[:1] == ["org"] and caller is None):
            return "list", error(401, "UNAUTHORIZED", "Invalid or expired token")
        if found is None:
            return "list", error(404, "NOT_FOUND", "no such route")
        key, rest = found
        versions = self.models.get(key)
        listing = rest == ["versions"]
        if versions is None:
            return "versions" if listing else "list", _not_found(key)
        one = _KINDS[key[0]][0]
        model = {"name": key[3], "orgName": key[1], "teamName": key[2], "latestVersionIdStr": max(versions)}
        envelope = {"requestStatus": {"statusCode": "SUCCESS", "requestId": "1"}, one: {**model, "licenseTerms": []}}
        if not rest:
            return "model", document(envelope)
        if listing:
            return "versions", document({**envelope, f"{one}Versions": [_version(v, versions[v]) for v in versions]})
        return self._of_version((key, rest, caller), versions, query, envelope)

    def _of_version(
        self, asked: Any, versions: Dict[str, Version], query: Dict[str, str], envelope: Dict[str, Any]
    ) -> Tuple[str, Answer]:
        key, rest, caller = asked
        manifest, one = rest[0] != "versions", _KINDS[key[0]][0]
        name, after = (rest[0], rest[1:]) if manifest else (rest[1], rest[2:])
        version = versions.get(name)
        if version is None:
            return "list", _not_found((*key, name))
        if caller is None and not version.guest:
            return "list", error(403, "FORBIDDEN", "Access Denied")
        envelope = {**envelope, f"{one}Version": _version(name, version)}
        if not after:
            return "version", document(envelope)
        if version.licence:
            return "list", error(412, "PRECONDITION_FAILED", "licence not accepted")
        if manifest:
            return "file", self._manifest(key, name, version, query, envelope)
        if after == ["files"]:
            return "list", _listing(one, version, query, envelope)
        return "file", self._redirect(key, name, version, "/".join(after[1:]))

    def _caller(self, request: Request) -> Optional[str]:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if not kind:
            return None
        with self._guard:
            if kind == "Bearer" and (token == PERSONAL_KEY or self._tokens.get(token, 0) > time.monotonic()):
                return "user"
        return "refused"

    def _manifest(
        self, key: Any, name: str, version: Version, query: Dict[str, str], envelope: Dict[str, Any]
    ) -> Answer:
        if query.get("redirect") == "true":
            return self._redirect(key, name, version, query.get("path", ""))
        paths = [query["path"]] if "path" in query else list(version.files)
        if any(path not in version.files for path in paths):
            return _not_found((*key, name, query.get("path")))
        urls = [self._signed(key, name, path) for path in paths]
        digests = [_digest(version.files[path]) for path in paths]
        if int(query.get("page-number", 0)) > 0:
            urls, paths, digests = [], [], []
        pages = {"index": 0, "size": 100, "totalPages": 1, "totalResults": len(version.files)}
        return document(
            {**envelope, "urls": urls, "filepath": paths, "sha256_base64": digests, "paginationInfo": pages}
        )

    def _redirect(self, key: Any, name: str, version: Version, path: str) -> Answer:
        if path not in version.files:
            return _not_found((*key, name, path))
        return Answer(status=302, headers={"Location": self._signed(key, name, path)})

    def _signed(self, key: Any, name: str, path: str) -> str:
        kind, org, team, model = key
        owner = f"/org/{quote(org)}" + (f"/team/{quote(team)}" if team else "")
        where = f"{owner}/{kind}/{quote(model)}/versions/{quote(name, safe='')}/files/{quote(path)}"
        query = f"ssec-algo=AES256&versionId=x&ssec-key=a%2Bb%2F%3D&Expires={int(time.time() + self.url_ttl_s)}"
        return f"{self._cdn.url}{where}?{query}&Signature={self._sign(f'{where}?{query}')}&Key-Pair-Id=K1"

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def _decide_cdn(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        signed, _, tail = query.partition("&Signature=")
        expires = float(dict(parse_qsl(query)).get("Expires", 0))
        good = tail.partition("&")[0] == self._sign(f"{path}?{signed}") and expires > time.time()
        if not good:
            body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>"
            return self._faulty("cdn", Answer(body, 403, {"Content-Type": "text/xml"}))
        content = self._content(path)
        etag = f'"{hashlib.md5(b"x" + content).hexdigest()}"'
        return self._faulty("cdn", Answer(content, ranged=True, etag=etag, rate=self.rate, delay_s=self.delay_s))

    def _content(self, path: str) -> bytes:
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        team = segments[3] if segments[2] == "team" else None
        kind, name, _, version, _, *file = segments[4 if team else 2 :]
        return self.models[kind, segments[1], team, name][version].files["/".join(file)]


def document(raw: Dict[str, Any]) -> Answer:
    """Return a JSON answer."""
    return Answer(json.dumps(raw).encode(), headers={"Content-Type": "application/json"})


def error(status: int, code: str, description: str) -> Answer:
    """Return an error as NGC words it."""
    told = {"requestStatus": {"statusCode": code, "statusDescription": description, "requestId": "abcd-1"}}
    return dataclasses.replace(document(told), status=status)


def page(status: int = 200) -> Answer:
    """Return what a captive portal says."""
    return Answer(
        b"<!DOCTYPE html><html><body>Sign in to the network</body></html>", status, {"Content-Type": "text/html"}
    )


def _address(segments: List[str]) -> "Optional[Tuple[Tuple[str, str, Optional[str], str], List[str]]]":
    kind = None
    if segments[:1] and segments[0] in _KINDS:
        kind, segments = segments[0], segments[1:]
    if segments[:1] == ["org"]:
        org, team, rest = segments[1], None, segments[2:]
        if rest[:1] == ["team"]:
            team, rest = rest[1], rest[2:]
        if kind is None:
            if not rest or rest[0] not in _KINDS:
                return None
            kind, rest = rest[0], rest[1:]
        return (kind, org, team, rest[0]), rest[1:]
    if kind is None or len(segments) < 2:
        return None
    at = segments.index("versions") if "versions" in segments[2:4] else len(segments)
    team = segments[1] if at == 3 else None
    return (kind, segments[0], team, segments[at - 1]), segments[at:]


def _listing(one: str, version: Version, query: Dict[str, str], envelope: Dict[str, Any]) -> Answer:
    size, number = int(query.get("page-size", _PAGE)), int(query.get("page-number", 0))
    names = list(version.files)
    shown = [_file(path, version) for path in names[number * size : (number + 1) * size]]
    pages = {"index": number, "size": size, "totalPages": -(-len(names) // size), "totalResults": len(names)}
    return document({**envelope, f"{one}Files": shown, "paginationInfo": pages})


def _file(path: str, version: Version) -> Dict[str, Any]:
    content = version.files[path]
    told = {"path": path, "sizeInBytes": len(content), "createdDate": "2022-01-19T08:53:20.000Z"}
    if version.digests:
        told["sha256_base64"] = _digest(content)
    return {**told, **version.listed.get(path, {})}


def _version(name: str, version: Version) -> Dict[str, Any]:
    total = sum(map(len, version.files.values()))
    return {
        "versionId": name, "status": version.status, "totalFileCount": len(version.files), "totalSizeInBytes": total,
        "createdDate": "2022-01-19T08:53:20.000Z", "storageVersion": "V1",
    }  # fmt: skip


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _not_found(what: Any) -> Answer:
    return error(404, "NOT_FOUND", f"{'/'.join(str(part) for part in what if part)} was not found")
