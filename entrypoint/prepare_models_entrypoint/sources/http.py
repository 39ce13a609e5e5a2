"""``https://`` sources, and what applies to answers of all web servers."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import re
import unicodedata
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Optional, Tuple
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from ..contract.source import Source
from ..errors import FetchError
from .body import HTML, Body, RangeLostError, Remote, intercepted

if TYPE_CHECKING:
    import requests

    from .access import Access
    from .web import Web

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 20  # like wget
_PLAIN = ("", "identity", "none", "binary", "utf-8", "aws-chunked")  # encodings that change no byte of a file
_CONTENT_RANGE = r"bytes (\d+)-(\d+)/(\d+|\*)"
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_UNPRINTED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, direction marks, line breaks
_NUMBER = r"[0-9]{1,18}"
_STATUS_HINTS = {
    401: ("source-refused", "this server needs credentials: give them in a file of headers (docs/fetch.md)"),
    403: (
        "source-refused",
        "this server refuses you the file: check its headers file, or the URL's signature",
    ),
    404: ("source-not-found", "check the URL"),
    407: ("source-unreachable", "the proxy needs a user and a password: put them in HTTP_PROXY and HTTPS_PROXY"),
    408: ("source-unreachable", "try again later"),
    410: ("source-not-found", "the file was removed; look for its successor"),
    412: ("source-refused", "accept the terms on the file's page first"),
    425: ("source-unreachable", "try again later"),
    429: ("source-rate-limited", "wait, then run again: what arrived is kept, and the download resumes"),
    511: ("network-intercepted", "sign in to the network with a browser, then run again"),
}


class HttpSource(Remote):
    """A file at a URL. The user's headers go only to the URL's own host and port, not to redirect targets."""

    ranged = True

    def __init__(self, url: str, access: Access) -> None:
        super().__init__(file_name(url), Source.of(url).public, url)
        self._url, self._access = url, access
        self._answered_by = url

    def is_current(self, mark: Optional[str]) -> bool:
        """Return whether a conditional request finds this mark still valid."""
        if mark is None:
            return False
        header = "If-None-Match" if mark.endswith('"') else "If-Modified-Since"
        with self._get(self._url, {header: mark}) as answer:
            return answer.status_code == 304

    @contextlib.contextmanager
    def open(self, offset: int, validator: Optional[str], end: Optional[int] = None) -> Iterator[Body]:
        """Request the bytes from ``offset`` on."""
        with self._get(self._url, range_headers(offset, validator, end)) as answer:
            yield body_of(answer, self._access.web, self, offset=offset, validator=validator)

    def impostor(self, what: str) -> FetchError:
        """Return the error for a page instead of the file: only the host itself can answer over its TLS."""
        own = self._answered_by.lower().startswith("https:") and origin(self._answered_by) == origin(self._url)
        if what != HTML or own:
            return super().impostor(what)
        return intercepted(self.label, what, urlsplit(self._url).hostname)

    @contextlib.contextmanager
    def _get(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        def headers_for(hop: str) -> Mapping[str, str]:
            own = self._credentials() if origin(hop) == origin(self._url) else {}
            return {**own, **headers}

        with followed(self._access.web, url, headers_for, self.label) as (self._answered_by, answer):
            yield answer

    def _credentials(self) -> Mapping[str, str]:
        """Return the headers for the source's own host."""
        return self._access.secrets.headers


@contextlib.contextmanager
def followed(
    web: Web, url: str, headers_for: Callable[[str], Mapping[str, str]], label: str
) -> Iterator[Tuple[str, requests.Response]]:
    """Send a GET, follow redirects with the cookies that they set, and yield the last URL and its answer.

    Args:
        web: the connections.
        url: where to begin.
        headers_for: returns the headers for each URL on the way.
        label: the file's name in messages.

    Raises:
        FetchError: no answer came, or there are too many redirects.
    """
    cookies = web.cookies()
    for _ in range(_MOST_REDIRECTS + 1):
        with web.get(url, headers=headers_for(url), cookies=cookies) as answer:
            target = location(answer, url)
            if target is None:
                yield url, answer
                return
        url = target
    raise FetchError("source-unreachable", f"{label}: more than {_MOST_REDIRECTS} redirects", hint="check the URL")


def location(answer: requests.Response, url: str) -> Optional[str]:
    """Return where an answer redirects to, or None.

    Raises:
        FetchError: the redirect has no valid target.
    """
    target = answer.headers.get("Location")
    if answer.status_code not in _REDIRECTS or not target:
        return None
    try:
        joined = urljoin(url, target)
        usable = Source.of(joined).scheme in ("https", "http") and Source.of(joined).problem is None
    except ValueError:
        joined, usable = target, False
    if not usable:
        what = (
            f"{Source.of(url).public} redirects to something that is not the URL of a file: {Source.of(joined).public}"
        )
        raise FetchError("source-unreachable", what, hint="check the URL, and any proxy in between", retryable=True)
    return joined


def origin(url: str) -> Tuple[str, str]:
    """Return scheme, and host with port, of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def range_headers(offset: int, validator: Optional[str], end: Optional[int]) -> Mapping[str, str]:
    """Return the headers that request a file from ``offset`` on, if it still matches ``validator``."""
    if offset == 0:
        return {}
    headers = {"Range": f"bytes={offset}-{'' if end is None else end - 1}"}
    if validator is not None:
        headers["If-Range"] = validator
    return headers


def body_of(answer: requests.Response, web: Web, remote: Remote, *, offset: int, validator: Optional[str]) -> Body:
    """Return the bytes of a server's answer.

    Raises:
        FetchError: the answer doesn't contain the file, or not the requested part.
    """
    status, label = answer.status_code, remote.label
    if status == 416:
        raise RangeLostError(f"{label}: the server has no bytes from {offset} on")
    if status not in (200, 203, 206):
        raise refusal(answer, label)
    doubt = _doubt(answer, remote)
    mark = _validator(answer)
    if status != 206:
        length = answer.headers.get("Content-Length", "")
        return Body(0, int(length) if re.fullmatch(_NUMBER, length) else None, mark, web.chunks(answer), doubt)
    match = re.fullmatch(_CONTENT_RANGE, answer.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != offset:
        raise RangeLostError(f"{label}: asked for the bytes from {offset} on, the server sends others")
    if offset and validator is not None and mark is not None and mark != validator:
        raise RangeLostError(f"{label}: the file changed on the server")
    return Body(offset, None if match[3] == "*" else int(match[3]), mark, web.chunks(answer), doubt)


def refusal(answer: requests.Response, label: str) -> FetchError:
    """Return the error for a status that is not a success."""
    status = answer.status_code
    refused = ("source-refused", "the server does not accept this request: check the URL, and any proxy in between")
    usual = refused if 400 <= status < 500 else ("source-unreachable", "try again later")
    code, hint = _STATUS_HINTS.get(status, usual)
    again = status in (408, 425, 429) or status >= 500
    text = f"{label}: the server answers {status} {answer.reason or ''}".rstrip()
    wait_s = _retry_after(answer) if again else None
    if wait_s:
        text += f", and asks for no request for {_duration(wait_s)}"
    error = FetchError(code, text, hint=hint, retryable=again)
    error.retry_after_s = wait_s
    return error


def _duration(seconds: float) -> str:
    units = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
    size, name = next(((size, name) for size, name in units if seconds >= 2 * size), (1.0, "s"))
    return f"{seconds / size:.3g} {name}" if name != "s" else f"{seconds:.0f} s"


def file_name(url: str) -> str:
    """Return the base name of a URL's file; a ``path`` in the query takes precedence over the URL's own."""
    parts = urlsplit(url)
    in_query = parse_qs(parts.query).get("path", [""])[0]
    return safe_name(in_query or unquote(parts.path))


def safe_name(path: str) -> str:
    """Return the last part of a server's path as a one-line name that can't leave its directory."""
    name = path.rstrip("/").rpartition("/")[2].replace("\0", "")
    if not name.isprintable():
        name = "".join("_" if unicodedata.category(each) in _UNPRINTED else each for each in name)
    return "download" if name in ("", ".", "..") else name


def _doubt(answer: requests.Response, remote: Remote) -> Optional[FetchError]:
    """Return the error that the headers suggest, if they say that this is not the file."""
    kind, name = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower(), remote.name.lower()
    if kind in _HTML_TYPES and not name.endswith((".html", ".htm", ".xhtml")):
        return remote.impostor(HTML)
    if (kind == "application/json" or kind.endswith("+json")) and not name.endswith("json"):
        return remote.impostor("a JSON document")
    encodings = answer.headers.get("Content-Encoding", "").lower().split(",")
    strange = ", ".join(each.strip() for each in encodings if each.strip() not in _PLAIN)
    if not strange:
        return None
    return FetchError(
        "source-unreachable",
        f"{remote.label}: something on the way compressed the file ({strange}) although the request excluded it",
        hint="exempt the host from the proxy's transformations",
    )


def _validator(answer: requests.Response) -> Optional[str]:
    """Return the strong ETag, else the date: a weak ETag doesn't promise equal bytes."""
    etag = answer.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag if etag.endswith('"') else None
    return answer.headers.get("Last-Modified")


def _retry_after(answer: requests.Response) -> Optional[float]:
    text = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(_NUMBER, text):
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    if at.tzinfo is None:
        return None
    return max(0.0, (at - dt.datetime.now(dt.timezone.utc)).total_seconds())


def remote(source: str, access: Access) -> Remote:
    """Return the file that a source names; an NGC URL is an NGC source."""
    from .ngc import remote_at

    return remote_at(source, access) or HttpSource(source, access)
