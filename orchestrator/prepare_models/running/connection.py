"""How sources are reached: NGC's servers and key, and headers of private servers. Read here, used by the entrypoint."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from prepare_models_entrypoint.contract.fetch import Connection
from prepare_models_entrypoint.contract.files import read_line, read_small

from ..errors import UsageError

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r"[\t -~]*"
_NO_KEY = ("", "no-apikey")


class ConnectionSpec(NamedTuple):
    """What a manifest's ``defaults`` or the command line say. Environment variables take precedence.

    ngc_api, ngc_auth: base URLs. ngc_key_file: file with the key.
    headers_file: file with a ``Name: value`` line for each header that https sources get.
    """

    ngc_api: str | None = None
    ngc_auth: str | None = None
    ngc_key_file: Path | None = None
    headers_file: Path | None = None
    stall_s: float | None = None
    attempts: int | None = None

    def settings(self) -> Connection:
        """Return the settings for the entrypoint's job, without secrets."""
        return Connection(
            ngc_api=os.environ.get("NGC_CLI_API_URL") or self.ngc_api,
            ngc_auth=os.environ.get("NGC_CLI_AUTH_URL") or self.ngc_auth,
            stall_s=self.stall_s,
            attempts=self.attempts,
            hf_endpoint=os.environ.get("HF_ENDPOINT") or None,
        )

    def with_secrets(self, secrets_file: Path | None) -> Connection:
        """Return the settings with the path of the file with the ``secrets``."""
        return replace(self.settings(), secrets_file=str(secrets_file) if secrets_file else None)

    def secrets(self) -> str | None:
        """Return the content of the entrypoint's secrets file, or None without secrets.

        Raises:
            UsageError: a file of the manifest or command line can't be read.
        """
        key, token, headers = ngc_key(self.ngc_key_file), hf_token(), _headers(self.headers_file)
        if key is None and token is None and not headers:
            return None
        return json.dumps({"ngc_api_key": key, "hf_token": token, "headers": headers})


def ngc_key(file: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the NGC key from ``file``, the environment or NVIDIA's own client; None for a guest."""
    if file is not None:
        return _secret(file)
    for name in ("NGC_API_KEY", "NGC_CLI_API_KEY", "NGC_APP_KEY"):
        if environ.get(name, "").strip() not in _NO_KEY:
            return environ[name].strip()
    if environ.get("NGC_API_KEY_FILE"):
        return _secret(Path(environ["NGC_API_KEY_FILE"]))
    return _configured(Path(environ.get("NGC_CLI_HOME") or os.path.expanduser("~")) / ".ngc" / "config")


def hf_token(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the Hugging Face token: from the environment, or from the file of its own client.

    Raises:
        UsageError: the file that ``HF_TOKEN_PATH`` names can't be read.
    """
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environ.get(name, "").strip():
            return environ[name].strip()
    if environ.get("HF_TOKEN_PATH"):
        return _secret(Path(environ["HF_TOKEN_PATH"]))
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "/", ".cache"))
    file = Path(environ.get("HF_HOME") or cache / "huggingface", "token")
    return _secret(file) if os.access(file, os.R_OK) and file.is_file() else None


def _configured(config: Path) -> str | None:
    if not config.is_file():
        return None
    import configparser  # only needed if there is such a file

    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(read_small(config).decode("utf-8"))
    except (OSError, ValueError, configparser.Error):
        return None
    for section in ("CURRENT", "DEFAULT"):
        for option in ("apikey", "appkey"):
            key = parser.get(section, option, fallback="").strip()
            if key not in _NO_KEY:
                return key
    return None


def _headers(file: Path | None) -> list[tuple[str, str]]:
    if file is None:
        return []
    lines = [line for line in _read(file).splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.partition(":") for line in lines]
    if not all(
        colon and re.fullmatch(_NAME, name.strip()) and re.fullmatch(_VALUE, value) for name, colon, value in pairs
    ):
        raise UsageError(f"{file}: every line must be a header", hint="write  Name: value  in plain ASCII")
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _secret(file: Path) -> str | None:
    try:
        return read_line(file) or None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{file}: {reason}", hint="give the path of a readable file that holds the key") from None


def _read(file: Path) -> str:
    try:
        return read_small(file).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise UsageError(f"{file} can't be read: {reason}", hint="give the path of a readable text file") from None
