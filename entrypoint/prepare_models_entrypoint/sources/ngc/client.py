"""The NGC API as this tool needs it: lists of files and versions, search, and presigned URLs."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import threading
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Union
from urllib.parse import quote, urlencode

import requests
from requests.auth import AuthBase

from ...download.retries import Effort, RetryLimits
from ...errors import FetchError
from ..web import Web
from .address import Address
from .answers import Document, api_error, document_of, not_understood, object_in, objects_in, refused_token
from .credentials import Credentials

_PAGE = 1000
_MOST_PAGES = 1000


@dataclass(frozen=True)
class Entry:
    """A file as listed by NGC. ``sha256`` in hexadecimal digits; old versions have none."""

    path: str
    size: Optional[int]
    sha256: Optional[str]
    created: Optional[str] = None


class Client:
    """Talks to one API server, as a guest or with a key."""

    def __init__(self, web: Web, retry_limits: RetryLimits, *, api: str, auth: str, key: Optional[str]) -> None:
        self._web, self._retry_limits = web, retry_limits
        self.api = api.rstrip("/")
        self.credentials = Credentials(key, auth, self._exchange)
        self._guard = threading.Lock()
        self._listings: Dict[Address, Union[List[Entry], FetchError]] = {}
        self._listing_guards: Dict[Address, threading.Lock] = {}

    def files(self, address: Address) -> List[Entry]:
        """Return the files of a version; each process asks only once, even if that fails.

        Raises:
            FetchError: no such model or version (with the ones that exist), no access, licence not accepted.
        """
        version = address.with_file(None)
        with self._guard:
            guard = self._listing_guards.setdefault(version, threading.Lock())
        with guard:
            if version not in self._listings:
                try:
                    self._listings[version] = self._list(version)
                except FetchError as error:
                    self._listings[version] = error
            listing = self._listings[version]
        if isinstance(listing, FetchError):
            raise listing
        return listing

    def _list(self, address: Address) -> List[Entry]:
        route = f"{self._model_route(address)}/versions/{_quoted(address.version)}/files"
        found: Dict[str, Entry] = {}
        with understood(address):
            for number, page in enumerate(self._pages(route, address)):
                _check_version(page, address)
                listed = objects_in(page, "modelFiles", "recipeFiles")
                if listed is None and number == 0:
                    raise not_understood(address, "it lists no files")
                for raw in listed or ():
                    entry = _entry(raw)
                    found[entry.path] = entry
        return list(found.values())

    def versions(self, address: Address) -> List[Document]:
        """Return the versions of a model as NGC describes them, newest first."""
        route = f"{self._model_route(address)}/versions"
        found: Dict[str, Document] = {}
        with understood(address):
            for page in self._pages(route, address, {"sort-order": "SEMVER_DESC"}):
                for raw in objects_in(page, "modelVersions", "recipeVersions") or ():
                    found[str(raw.get("versionId"))] = raw
        return list(found.values())

    def search(self, query: str, limit: int) -> List[Document]:
        """Return models in the catalog that match a query, best first."""
        asked = {"query": query, "page": 0, "pageSize": limit, "orderBy": [{"field": "score", "value": "DESC"}]}
        route = "/v2/search/catalog/resources/MODEL"
        if not self.credentials.guest:
            route = "/v2/search/subscriber/catalog/resources/MODEL"
        anything = Address("nvidia", None, "")
        page = self._document(f"{route}?{urlencode({'q': json.dumps(asked)})}", anything)
        with understood(anything):
            groups = objects_in(page, "results") or ()
            found = [resource for group in groups for resource in objects_in(group, "resources") or ()]
        return found[:limit]

    @contextlib.contextmanager
    def file_answer(self, address: Address) -> Iterator[requests.Response]:
        """Yield the answer to the request for a file, usually a redirect to a presigned URL."""
        path = address.file or ""
        direct = f"{self._model_route(address)}/versions/{_quoted(address.version)}/files/{quote(path, safe='/')}"
        with self._asked(direct, address) as answer:
            if answer.status_code not in (400, 404):
                yield answer
                return
        with self._asked(self._manifest_route(address), address) as answer:
            yield answer

    def _pages(self, route: str, address: Address, extra: Optional[Mapping[str, str]] = None) -> List[Document]:
        query = {"page-size": str(_PAGE), **(extra or {})}
        pages = [self._document(f"{route}?{urlencode(query)}", address)]
        total = int(str(object_in(pages[0], "paginationInfo").get("totalPages") or 1))
        numbers = map(str, range(1, min(total, _MOST_PAGES)))
        routes = (f"{route}?{urlencode({**query, 'page-number': number})}" for number in numbers)
        return [*pages, *(self._document(later, address) for later in routes)]

    def _model_route(self, address: Address) -> str:
        org, name = _quoted(address.org), _quoted(address.name)
        if self.credentials.guest:
            team = f"/{_quoted(address.team)}" if address.team else ""
            return f"/v2/{address.kind}/{org}{team}/{name}"
        team = f"/team/{_quoted(address.team)}" if address.team else ""
        return f"/v2/org/{org}{team}/{address.kind}/{name}"

    def _manifest_route(self, address: Address) -> str:
        org, name, version = _quoted(address.org), _quoted(address.name), _quoted(address.version)
        team = f"/team/{_quoted(address.team)}" if address.team else ""
        owner = f"/v2/{address.kind}/org/{org}{team}"
        if not self.credentials.guest:
            owner = f"/v2/org/{org}{team}/{address.kind}"
        return f"{owner}/{name}/{version}/files?{urlencode({'redirect': 'true', 'path': address.file or ''})}"

    def _document(self, route: str, address: Address) -> Document:
        def attempt() -> Document:
            with self._asked(route, address) as answer:
                if answer.status_code != 200:
                    raise api_error(answer, address, guest=self.credentials.guest)
                return document_of(answer, self.api)

        return self._patiently(attempt)

    @contextlib.contextmanager
    def _asked(self, route: str, address: Address) -> Iterator[requests.Response]:
        """Yield the answer to a request; a refused token is renewed once."""
        auth = self.credentials.of(address)
        with self._web.get(self.api + route, auth=auth) as answer:
            if answer.status_code != 401 or not self.credentials.renewable:
                yield answer
                return
        self.credentials.renew(address, auth)
        with self._web.get(self.api + route, auth=self.credentials.of(address)) as answer:
            yield answer

    def _exchange(self, url: str, auth: AuthBase) -> Document:
        def attempt() -> Document:
            with self._web.get(url, auth=auth) as answer:
                if answer.status_code != 200:
                    raise refused_token(answer, url)
                document = document_of(answer, url)
                if not document.get("token"):
                    raise refused_token(answer, url)
                return document

        return self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], Document]) -> Document:
        return Effort(self._retry_limits).run(attempt)


@contextlib.contextmanager
def understood(address: Address) -> Iterator[None]:
    """Turn errors from reading an answer into one about its unknown form."""
    try:
        yield
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise not_understood(address, f"{type(error).__name__}: {error}") from None


def _check_version(page: Document, address: Address) -> None:
    version = object_in(page, "modelVersion", "recipeVersion")
    if version.get("status") not in (None, "UPLOAD_COMPLETE"):
        raise FetchError(
            "source-unreadable", f"{address}: its upload is not complete ({version['status']})", hint="try again later"
        )
    if version.get("malwareScanStatus") == "MALICIOUS":
        raise FetchError("source-refused", f"{address}: NGC's scan calls it malicious", hint="look for another version")


def _entry(raw: Document) -> Entry:
    size, encoded = raw.get("sizeInBytes"), raw.get("sha256_base64")
    sha256 = None
    if isinstance(encoded, str):
        with contextlib.suppress(binascii.Error, ValueError):
            digest = base64.b64decode(encoded, validate=True)
            sha256 = digest.hex() if len(digest) == 32 else None
    created = raw.get("createdDate")
    size = size if isinstance(size, int) and size >= 0 else None
    return Entry(str(raw["path"]), size, sha256, created if isinstance(created, str) else None)


def _quoted(text: Optional[str]) -> str:
    return quote(text or "", safe="")
