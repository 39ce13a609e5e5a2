"""What NGC's answers mean, and what the user should do next."""

from __future__ import annotations

import json
from typing import List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

import requests

from ...contract.source import Source
from ...errors import FetchError
from ..body import intercepted
from ..http import refusal
from .address import Address

Document = Mapping[str, object]


def object_in(document: Document, *keys: str) -> Document:
    """Return the object under the first of the keys that has a value; empty if none has.

    Raises:
        TypeError: it is not an object.
    """
    return _object(next(filter(None, map(document.get, keys)), {}))


def objects_in(document: Document, *keys: str) -> Optional[List[Document]]:
    """Return the list of objects under the first of the keys that has a value; None if none has.

    Raises:
        TypeError: it is not a list of objects.
    """
    found = next((document[key] for key in keys if document.get(key) is not None), None)
    if found is None:
        return None
    if not isinstance(found, list):
        raise TypeError(f"{keys[0]} is not a list")
    return list(map(_object, found))


def _object(value: object) -> Document:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def document_of(answer: requests.Response, url: str) -> Document:
    """Return the JSON object of an answer.

    Raises:
        FetchError: it isn't JSON: something between here and NGC answered.
    """
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        document = json.loads(answer.content.decode("utf-8"))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise not_json(url, kind or "bytes")
    return document


def not_json(url: str, what: str) -> FetchError:
    """Return the error for an answer that can't be the server's own."""
    return intercepted(Source.of(url).public, f"{what} in place of a JSON object", urlsplit(url).hostname)


def not_understood(address: Address, what: str) -> FetchError:
    """Return the error for a JSON answer in an unknown form."""
    return FetchError(
        "source-unreachable",
        f"{address}: NGC's answer is not understood: {what}",
        hint="check NGC_CLI_API_URL and any proxy in between; a newer prepare-models may also know this answer",
    )


def api_error(answer: requests.Response, address: Address, *, guest: bool) -> FetchError:
    """Return the error for an API status that is not a success."""
    status = answer.status_code
    if 300 <= status < 400:
        return not_json(
            answer.url or "", f"a redirect to {Source.of(answer.headers.get('Location', 'nowhere')).public}"
        )
    meanings = {
        401: _unauthorised(guest=guest),
        403: _forbidden(guest=guest),
        404: ("source-not-found", "see what exists: prepare-models ngc search NAME" + _renamed(address)),
        412: (
            "licence-not-accepted",
            f"read and accept the licence at {address.page} while signed in, then run again",
        ),
    }
    if status not in meanings:
        return refusal(answer, str(address))
    code, hint = meanings[status]
    return FetchError(code, f"{address}: NGC answers {status}{_reason(answer)}", hint=hint)


def refused_token(answer: requests.Response, url: str) -> FetchError:
    """Return the error for a token service that refuses a token."""
    status = answer.status_code
    if status in (408, 425, 429) or status >= 500:
        return refusal(answer, Source.of(url).public)
    return FetchError(
        "source-key-refused", f"{Source.of(url).public} answers {status}{_reason(answer)}: NGC does not accept the key"
    )


def _unauthorised(*, guest: bool) -> Tuple[str, str]:
    if guest:
        return (
            "source-refused",
            "this model needs an account: set NGC_API_KEY to a key from https://org.ngc.nvidia.com/setup",
        )
    return "source-key-refused", "make a new key at https://org.ngc.nvidia.com/setup and set NGC_API_KEY"


def _forbidden(*, guest: bool) -> Tuple[str, str]:
    if guest:
        return "source-refused", "no key was sent: if you have access to this model, set NGC_API_KEY"
    return (
        "source-refused",
        "a key was sent, but has no access to this model: check its organisation, and that it was made for NGC Catalog",
    )


def _renamed(address: Address) -> str:
    """Return a hint about teams that NVIDIA renamed: tlt_* became tao."""
    if (address.team or "").startswith("tlt_") or address.name.startswith("tlt_"):
        name = address.name[4:] if address.name.startswith("tlt_") else address.name
        return f"; NVIDIA renamed the tlt_* models, try ngc://{address.org}/tao/{name}"
    return ""


def _reason(answer: requests.Response) -> str:
    """Return the server's own message, if there is one."""
    try:
        document = json.loads(answer.content[:65536].decode("utf-8"))
        status = object_in(document, "requestStatus")
        words = status.get("statusDescription") or document.get("detail") or document.get("message") or ""
        request = status.get("requestId")
    except (ValueError, AttributeError, TypeError):
        return ""
    words = " ".join(str(words).split())[:200]
    return (f" ({words})" if words else "") + (f" [request {request}]" if request else "")
