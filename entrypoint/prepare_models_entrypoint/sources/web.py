"""HTTP sessions: which credentials go where, whose certificates are trusted, and what network errors mean."""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import Dict, Iterator, Mapping, Optional, Tuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.cookies import RequestsCookieJar

from ..contract.source import Source
from ..download.retries import RetryLimits
from ..errors import FetchError
from ..masking import mask

_POOL = 32
_AGENT = "prepare-models"
# identity: length and digest are those of the file itself, not of a compressed form
_HEADERS = {"User-Agent": _AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Web:
    """All connections of a process.

    There is no ``requests`` session: it would keep cookies, read ``.netrc``, and take half the time of a small file.
    Credentials are passed with each request and belong only to that request.
    """

    def __init__(self, retry_limits: RetryLimits) -> None:
        self._adapter = HTTPAdapter(pool_connections=_POOL, pool_maxsize=_POOL)
        self._verify = next(filter(None, (os.environ.get(name) for name in _CA_VARIABLES)), True)
        self._proxies: Dict[Tuple[str, Optional[str]], Dict[str, str]] = {}
        self._timeout = (retry_limits.connect_s, retry_limits.stall_s)
        self._stall_s = retry_limits.stall_s

    @contextlib.contextmanager
    def get(
        self, url: str, *, headers: Optional[Mapping[str, str]] = None, auth: Optional[AuthBase] = None,
        cookies: Optional[RequestsCookieJar] = None, head: bool = False,
    ) -> Iterator[requests.Response]:  # fmt: skip
        """Send a GET request and yield the answer with its body unread. Redirects are not followed.

        ``cookies`` are sent where they belong, and receive those that the answer sets. ``head``: request only the
        headers.

        Raises:
            FetchError: no answer came, or the block failed while reading the body.
        """
        with self._translated(url):
            request = _prepared(url, {**_HEADERS, **(headers or {})}, auth, "HEAD" if head else "GET")
            if cookies:
                request.prepare_cookies(cookies)
            answer = self._adapter.send(
                request,
                stream=True,
                timeout=self._timeout,
                verify=self._verify if url.lower().startswith("https:") else True,  # looked up on each request
                proxies=self._proxies_for(url),
            )
            with answer:
                if cookies is not None:
                    cookies.update(answer.cookies)
                yield answer

    def disconnect(self) -> None:
        """Close idle connections: of forks, each needs its own."""
        self._adapter.close()

    @staticmethod
    def cookies() -> RequestsCookieJar:
        """Return an empty jar: cookies belong to one download."""
        return RequestsCookieJar()

    def _proxies_for(self, url: str) -> Dict[str, str]:
        """Return the environment's proxies for a host, looked up once."""
        parts = urlsplit(url)
        host = (parts.scheme, parts.hostname)
        if host not in self._proxies:
            self._proxies[host] = dict(requests.utils.get_environ_proxies(url, no_proxy=None))
        return self._proxies[host]

    def chunks(self, answer: requests.Response, size: int = 1 << 18) -> Iterator[bytes]:
        """Yield the body as it arrives, without waiting for chunks to be full."""
        while True:
            left = answer.raw.length_remaining  # a small file needs no large buffer
            chunk: bytes = answer.raw.read1(size if left is None else min(size, left + 1), decode_content=False)
            if not chunk:
                return
            yield chunk

    @contextlib.contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        try:
            yield
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError) as error:
            raise _tls(url, error) from None
        except requests.exceptions.ProxyError as error:
            failure = _unreachable(url, f"the proxy does not serve: {_reason(error)}", _proxy_hint(url))
            failure.retryable = "Tunnel connection failed: 4" not in str(error)  # a refusal, not a temporary failure
            raise failure from None
        except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
            what = f"no data arrived for {self._stall_s:g} s"
            raise _unreachable(url, what, "check the network, then run again: what arrived is kept") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
            if requests.utils.select_proxy(url, self._proxies_for(url)):  # its address and kind are checked first
                what = f"{Source.of(url).public}: the proxy can't be used: {_reason(error)}"
                raise FetchError("source-unreachable", what, hint=_proxy_hint(url)) from None
            raise FetchError(
                "source-not-found", f"{Source.of(url).public}: {_reason(error)}", hint="check the URL"
            ) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
            raise _unreachable(url, _reason(error), _network_hint(url)) from None
        except OSError as error:
            if "CA certificate" in str(error) or "certificate" in str(error).lower():
                raise _tls(url, error) from None
            raise


def _prepared(url: str, headers: Mapping[str, str], auth: Optional[AuthBase], method: str) -> requests.PreparedRequest:
    """Return a request, skipping what ``requests`` prepares for other kinds, which takes three quarters of its time."""
    request = requests.PreparedRequest()
    request.prepare_method(method)
    request.prepare_url(url, None)
    request.prepare_headers(headers)
    if auth is not None or "@" in url:  # user and password may be in the URL
        request.prepare_auth(auth, url)
    return request


def _tls(url: str, error: Exception) -> FetchError:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" not in text and "certificate" not in text.lower():
        return _unreachable(url, f"the TLS connection broke: {_reason(error)}", "check the network, then run again")
    used = [f"{name}={os.environ[name]}" for name in _CA_VARIABLES if os.environ.get(name)]
    now = f"; now {used[0]}" if used else "; now the certificates that come with certifi"
    return FetchError(
        "tls-untrusted",
        f"{Source.of(url).public}: the server's certificate is not trusted: {_reason(error)}",
        hint=f"set REQUESTS_CA_BUNDLE (or SSL_CERT_FILE) to a PEM file with the CA of this network or server{now}",
    )


def _unreachable(url: str, what: str, hint: str) -> FetchError:
    return FetchError("source-unreachable", f"{Source.of(url).public}: {what}", hint=hint, retryable=True)


def _proxy_hint(url: str) -> str:
    proxy = getproxies().get(urlsplit(url).scheme) or getproxies().get("all") or ""
    name = f"{urlsplit(url).scheme.upper()}_PROXY"
    return f"{name} is {mask(proxy)}: correct it, or list {urlsplit(url).hostname} in NO_PROXY"


def _network_hint(url: str) -> str:
    if getproxies().get(urlsplit(url).scheme):
        return _proxy_hint(url)
    return f"check the network; a proxy is set with {urlsplit(url).scheme.upper()}_PROXY; then run again"


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):  # requests' errors about a URL quote all of it, secrets included
        return type(error).__name__
    inner = error.args[0] if error.args else error
    text = f"{type(error).__name__}: {getattr(inner, 'reason', inner)}".replace("\n", " ")
    return mask(text)[:300]
