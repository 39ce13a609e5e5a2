"""NGC keys: a legacy key is exchanged for a token; an ``nvapi-`` key or a JWT is sent as it is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Callable, Dict, Optional, Tuple
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from ... import masking
from ..access import refuse_odd
from .address import Address
from .answers import Document

_RENEW_EARLY_S = 60.0
_DEFAULT_LIFE_S = 600.0

Exchange = Callable[[str, AuthBase], Document]


class Bearer(AuthBase):
    """Sends a token: as an auth object, not as a header, so that ``.netrc`` can't replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@dataclass
class _Token:
    bearer: Bearer
    until: float


class Credentials:
    """What to send for an address.

    Args:
        key: the user's key, None for a guest.
        auth: base URL of the token service.
        exchange: queries the token service and returns its answer.
    """

    def __init__(self, key: Optional[str], auth: str, exchange: Exchange) -> None:
        self._key, self._auth, self._exchange = key, auth.rstrip("/"), exchange
        self._tokens: Dict[Tuple[str, Optional[str]], _Token] = {}
        self._guard = threading.Lock()
        if key:
            masking.register(key)
            refuse_odd(key, "source-key-refused", "the NGC key")

    @property
    def guest(self) -> bool:
        """Whether there is no key."""
        return self._key is None

    @property
    def renewable(self) -> bool:
        """Whether a refused token can be replaced by a new one."""
        return self._key is not None and not _is_sent_as_is(self._key)

    def of(self, address: Address) -> Optional[AuthBase]:
        """Return what to send with a request, or None for a guest."""
        if self._key is None:
            return None
        if _is_sent_as_is(self._key):
            return Bearer(self._key)
        with self._guard:
            token = self._tokens.get((address.org, address.team))
            if token is None or token.until < time.monotonic():
                token = self._tokens[address.org, address.team] = self._fetch(self._key, address)
            return token.bearer

    def renew(self, address: Address, refused: Optional[AuthBase]) -> None:
        """Forget a token that was refused, unless another thread has already replaced it."""
        with self._guard:
            token = self._tokens.get((address.org, address.team))
            if token is not None and token.bearer is refused:
                del self._tokens[address.org, address.team]

    def _fetch(self, key: str, address: Address) -> _Token:
        scopes = [f"group/ngc:{address.org}"]
        if address.team:
            scopes.append(f"group/ngc:{address.org}/{address.team}")
        query = urlencode([("service", "ngc"), *(("scope", scope) for scope in scopes)], safe="/:")
        answer = self._exchange(f"{self._auth}/token?{query}", HTTPBasicAuth("$oauthtoken", key))
        token = str(answer.get("token") or "")
        masking.register(token)
        life = answer.get("expires_in")
        life_s = float(life) if isinstance(life, (int, float)) else _DEFAULT_LIFE_S
        return _Token(Bearer(token), time.monotonic() + max(life_s - _RENEW_EARLY_S, life_s / 2))


def _is_sent_as_is(key: str) -> bool:
    return key.startswith("nvapi-") or (key.startswith("eyJ") and key.count(".") == 2)
