"""How this process reaches sources: sessions, keys, headers and limits, created once."""

from __future__ import annotations

import json
import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, NamedTuple, Optional

from ..confinement import note_secret
from ..contract.fetch import Connection
from ..download.retries import RetryLimits
from ..download.streams import Streams
from ..errors import FetchError
from ..masking import register

if TYPE_CHECKING:
    from .ngc.client import Client
    from .web import Web


class Secrets(NamedTuple):
    """The NGC key, headers for https sources, and the Hugging Face token."""

    ngc_api_key: Optional[str] = None
    headers: Mapping[str, str] = {}
    hf_token: Optional[str] = None


class Access:
    """Creates clients when the first source needs them: importing requests takes a tenth of a second.

    retry_limits: how long a fetch continues. streams: the files being fetched. ngc_api, ngc_auth, hf_endpoint: base
    URLs of NGC's API, its token service and the Hugging Face hub.
    """

    def __init__(self, network: Connection) -> None:
        self.network = network
        self.secrets = read_secrets(network.secrets_file)
        self.retry_limits = RetryLimits(attempts=network.attempts, stall_s=network.stall_s)
        self.streams = Streams()
        self.ngc_api = _base(network.ngc_api, "NGC_CLI_API_URL", "https://api.ngc.nvidia.com")
        self.ngc_auth = _base(network.ngc_auth, "NGC_CLI_AUTH_URL", "https://authn.nvidia.com")
        self.hf_endpoint = _base(network.hf_endpoint, "HF_ENDPOINT", "https://huggingface.co")
        self._guard = threading.RLock()
        self._web: Optional[Web] = None
        self._ngc: Optional[Client] = None

    @property
    def web(self) -> Web:
        """Return the HTTP sessions."""
        with self._guard:
            if self._web is None:
                from .web import Web

                self._web = Web(self.retry_limits)
            return self._web

    @property
    def ngc(self) -> Client:
        """Return the client of the NGC API."""
        with self._guard:
            if self._ngc is None:
                from .ngc.client import Client

                self._ngc = Client(
                    self.web, self.retry_limits, api=self.ngc_api, auth=self.ngc_auth, key=self.secrets.ngc_api_key
                )
            return self._ngc


@lru_cache(maxsize=None)
def access_of(network: Connection) -> Access:
    """Return this process's access with these settings."""
    return Access(network)


def _base(given: Optional[str], variable: str, usual: str) -> str:
    """Return a base URL; like NVIDIA's own client, this takes a bare host name as https."""
    url = given or os.environ.get(variable) or usual
    return (url if "://" in url else f"https://{url}").rstrip("/")


def refuse_odd(secret: str, code: str, what: str) -> None:
    """Refuse a key or token that no header can carry, before a server or a library does in other words."""
    if not (secret.isascii() and secret.isprintable()):
        raise FetchError(
            code, f"{what} holds characters that no key has",
            hint="look for quotes, line ends or other text that was copied along with it",
        )  # fmt: skip


def read_secrets(file: Optional[str]) -> Secrets:
    """Read the file of secrets.

    Raises:
        FetchError: it can't be read.
    """
    if file is None:
        return Secrets()
    try:
        note_secret(file)
        raw = json.loads(Path(file).read_text(encoding="utf-8"))
        headers = {str(name): str(value) for name, value in raw.get("headers") or ()}
        secrets = Secrets(raw.get("ngc_api_key"), headers, raw.get("hf_token"))
    except (OSError, ValueError, AttributeError) as error:
        raise FetchError(
            "internal", f"the secrets file can't be read: {type(error).__name__}", hint="please report this"
        ) from None
    for secret in filter(None, (secrets.ngc_api_key, secrets.hf_token, *secrets.headers.values())):
        register(secret)
        register(secret.rpartition(" ")[2])  # in ``Bearer TOKEN``, a server may repeat only the token
    return secrets
