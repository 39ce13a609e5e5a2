"""One NGC file: listed first, then fetched from the presigned URL that the API redirects to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Iterator, List, Mapping, Optional
from urllib.parse import urlsplit

from ... import masking
from ...contract.spelling import near
from ...errors import FetchError
from ..body import HTML, Body, Promise, Remote, intercepted
from ..http import body_of, followed, location, range_headers, refusal, safe_name
from .address import Address

if TYPE_CHECKING:
    import requests

    from ..access import Access
    from .client import Client, Entry

_SHOWN = 12


class NgcSource(Remote):
    """A file of a version. The presigned URL is requested without credentials."""

    listed = ranged = True

    def __init__(self, address: Address, access: Access) -> None:
        super().__init__(safe_name(address.file or ""), str(address), f"{address.kind} {address}")
        self._address, self._access = address, access
        self._signed: Optional[str] = None
        self._entry: Optional[Entry] = None
        self.licence = address.page

    def promise(self) -> Promise:
        """Return size and digest from the list of the version's files."""
        if self._entry is None:
            self._entry = self._listed()
        return Promise(self._entry.size, self._entry.sha256)

    def mark(self, validator: Optional[str]) -> Optional[str]:
        """Return the file's digest in the list, else its size."""
        del validator  # the CDN's ETag changes whenever storage moves
        promise = self.promise()
        if promise.sha256 is not None:
            return promise.sha256
        return None if promise.size is None else f"size {promise.size}"

    def is_current(self, mark: Optional[str]) -> bool:
        """Return whether the list still has this mark."""
        return mark is not None and mark == self.mark(None)

    @contextlib.contextmanager
    def open(self, offset: int, validator: Optional[str], end: Optional[int] = None) -> Iterator[Body]:
        """Request the bytes from ``offset`` on, with a URL signed for this try; ranges share one that works."""
        signed = self._signed if end is not None else None
        if signed is None:
            with self._access.ngc.file_answer(self._address) as answer:
                signed = location(answer, answer.url)  # unchanged: the signature covers every byte of it
                if signed is None:
                    yield self._direct(answer, offset)
                    return
            masking.register_query(signed)
        with self._from_cdn(signed, range_headers(offset, validator, end)) as answer:
            refused = answer.status_code in (400, 401, 403)
            self._signed = None if refused else signed
            if refused:
                error = refusal(answer, f"{self.label}: the signed URL")
                raise FetchError(error.code, error.message, hint=_EXPIRED_HINT, retryable=True)
            yield body_of(answer, self._access.web, self, offset=offset, validator=validator)

    def impostor(self, what: str) -> FetchError:
        """Return the error for a page instead of the file: NGC itself sends no such pages."""
        if what != HTML:
            return super().impostor(what)
        return intercepted(self.label, what, f"{urlsplit(self._access.ngc_api).hostname} and NGC's file hosts")

    def _direct(self, answer: requests.Response, offset: int) -> Body:
        """Return the body from the API itself, which may send small files without a redirect."""
        if answer.status_code != 200:
            from .answers import api_error

            raise api_error(answer, self._address, guest=self._access.ngc.credentials.guest)
        del offset  # no range was requested from the API: it sends the whole file
        return body_of(answer, self._access.web, self, offset=0, validator=None)

    @contextlib.contextmanager
    def _from_cdn(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        def headers_for(hop: str) -> Mapping[str, str]:
            masking.register_query(hop)
            return headers

        with followed(self._access.web, url, headers_for, self.label) as (_, answer):
            yield answer

    def _listed(self) -> Entry:
        entries = listed(self._address, self._access.ngc)
        for entry in entries:
            if entry.path == self._address.file:
                return entry
        raise _no_such_file(self._address, [entry.path for entry in entries])


_EXPIRED_HINT = "check this machine's clock, and that no proxy changes URLs; then run again"


def listed(address: Address, client: Client) -> List[Entry]:
    """Return the files of a version; if it doesn't exist, the error names those that do."""
    try:
        return client.files(address)
    except FetchError as error:
        if error.code == "source-not-found":
            raise with_versions(error, address, client) from None
        raise


def versioned_files(address: Address, client: Client) -> List[Address]:
    """Return the addresses of all files of a version."""
    return [address.with_file(entry.path) for entry in listed(address, client)]


def with_versions(error: FetchError, address: Address, client: Client) -> FetchError:
    """Return a not-found error that lists the existing versions."""
    try:
        versions = [str(version.get("versionId")) for version in client.versions(address)]
    except FetchError:
        return error
    if not versions or address.version in versions:
        return error
    message = f"ngc://{address.model} has no version {address.version}; it has {_some(versions, address.version or '')}"
    return FetchError("source-not-found", message, hint=f"all of them: prepare-models ngc versions {address.model}")


def _no_such_file(address: Address, paths: List[str]) -> FetchError:
    listing = f"prepare-models ngc files {address.model}:{address.version}"
    return FetchError(
        "source-not-found",
        f"{address.with_file(None)} has no file {address.file}; it has {_some(paths, address.file or '') or 'none'}",
        hint=f"names are literal, with their sub-folders; all of them: {listing}",
    )


def _some(names: List[str], wanted: str) -> str:
    """Return the names most similar to the wanted one, and how many more there are."""
    close = near(wanted, names, 0.5)
    shown = [*close, *(name for name in names if name not in close)][:_SHOWN]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
