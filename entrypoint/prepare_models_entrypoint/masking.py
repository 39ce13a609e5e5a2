"""Secrets never show: registered ones, and the queries of URLs, are masked in all outgoing text."""

from __future__ import annotations

import base64
import re
from typing import Set
from urllib.parse import quote, urlsplit

MASK = "***"
_SHORTEST = 6  # a shorter secret would mask words in ordinary text
# A query with only the version of a page stays: the user has to open that page.
_QUERY = r"(?P<url>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s?#'\"<>]*)\?(?!version=[^\s&]*(?:\s|$))[^\s'\"<>]*"
_QUERY_OF_A_PATH = r"(?P<path>/[^\s?'\"<>]*)\?(?!version=[^\s&]*(?:\s|$))[^\s'\"<>)]*=[^\s'\"<>)]*"
_USER = r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\"]+@"
_BEARER = r"(?P<kind>\b(?:Bearer|Basic) )[A-Za-z0-9._~+/=-]{6,}"

_secrets: Set[str] = set()


def register(secret: str) -> None:
    """Mask a secret from now on, including its encoded forms."""
    if len(secret) >= _SHORTEST:
        _secrets.add(secret)
        _secrets.add(quote(secret, safe="", errors="surrogateescape"))
        _secrets.add(base64.b64encode(f"$oauthtoken:{secret}".encode("utf-8", "surrogateescape")).decode("ascii"))


def register_query(url: str) -> None:
    """Mask the query of a signed URL from now on, even without its URL."""
    query = urlsplit(url).query
    if query:
        register(query)


def mask(text: str) -> str:
    """Return a text without secrets."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = re.sub(_QUERY, lambda match: f"{match['url']}?{MASK}", text)
    text = re.sub(_QUERY_OF_A_PATH, lambda match: f"{match['path']}?{MASK}", text)
    text = re.sub(_USER, lambda match: f"{match['scheme']}{MASK}@", text)
    return re.sub(_BEARER, lambda match: f"{match['kind']}{MASK}", text)
