"""Downloads: streamed, hashed on the way, checked, and kept under a final name only when whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Optional, Tuple
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import requests
import tenacity

from ..contract.files import partial_file, remove_partials, replace, sync, write_atomic
from ..errors import FetchError
from . import mismatch

OnProgress = Callable[[Dict[str, Any]], None]

_CHUNK = 1 << 20
_CONNECT_TIMEOUT_S = 20
_STALL_TIMEOUT_S = 60
_ATTEMPTS = 4
_RETRY_WAIT_S = 0.5  # before the second attempt, at most; it doubles with each further one

_STATUS_HINTS = {
    401: ("source-refused", "this source wants credentials; download it yourself and use its path"),
    403: ("source-refused", "this source is not open to guests; download it yourself and use its path"),
    404: ("source-not-found", "check the URL; on NGC, models of the tlt_* teams moved to tao/*"),
    412: ("source-refused", "accept the licence on the model's NGC page, download it there and use its path"),
}


def download(
    url: str, *, downloads: Path, sha256: Optional[str], on_progress: OnProgress, offline: bool = False
) -> Tuple[Path, str]:
    """Return the local file and its sha256, downloading it unless an earlier run did.

    A download is known by its URL; a URL whose bytes may change should be pinned in the manifest.
    """
    folder = downloads / hashlib.sha256(url.encode("utf-8")).hexdigest()[:32]
    known = read_record(folder)
    if known is not None and (sha256 is None or known["sha256"] == sha256.lower()):
        return folder / known["name"], known["sha256"]
    if offline:
        raise FetchError(
            "source-not-found",
            f"{public_url(url)} is not in {downloads}, and this job may not use the network",
            hint="run the fetch stage first",
        )
    folder.mkdir(parents=True, exist_ok=True)
    remove_partials(folder)
    name = _file_name(url)
    digest = _retrying()(_download_once, url, folder / name, sha256, on_progress)
    record = {"name": name, "url": public_url(url), "sha256": digest, "bytes": (folder / name).stat().st_size}
    write_atomic(folder / "download.json", json.dumps(record, indent=2).encode("utf-8"))
    return folder / name, digest


def read_record(folder: Path) -> Optional[Dict[str, Any]]:
    """Return what an earlier download wrote down about its file, or None where there is none."""
    try:
        record = json.loads((folder / "download.json").read_text(encoding="utf-8"))
        return dict(record) if (folder / record["name"]).stat().st_size == record["bytes"] else None
    except (OSError, ValueError, KeyError):
        return None


def public_url(url: str) -> str:
    """Return a URL without what may be secret: user, password, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _retrying() -> tenacity.Retrying:
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, FetchError) and error.retryable),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=_RETRY_WAIT_S, max=10),
        reraise=True,
    )


def _download_once(url: str, target: Path, sha256: Optional[str], on_progress: OnProgress) -> str:
    try:
        # identity: a length and a digest are of the file's own bytes, not of a compressed form of them
        with requests.get(
            url,
            stream=True,
            timeout=(_CONNECT_TIMEOUT_S, _STALL_TIMEOUT_S),
            headers={"Accept-Encoding": "identity", "User-Agent": "prepare-models"},
        ) as answer:
            _check_answer(url, answer)
            with partial_file(target) as (stream, partial):
                digest = _receive(answer, stream, url, on_progress)
                if sha256 is not None and digest != sha256.lower():
                    raise mismatch(public_url(url), expected=sha256, found=digest)
                sync(stream)
                replace(partial, target)
                return digest
    except requests.exceptions.SSLError as error:
        raise FetchError(
            "source-unreachable",
            f"{public_url(url)}: the server's certificate is not trusted: {_reason(error)}",
            hint="behind a proxy with its own certificate set REQUESTS_CA_BUNDLE to its CA file",
        ) from None
    except requests.RequestException as error:
        raise FetchError(
            "source-unreachable",
            f"{public_url(url)}: {_reason(error)}",
            hint="check the network and the proxy variables (HTTPS_PROXY), then run again",
            retryable=True,
        ) from None


def _check_answer(url: str, answer: requests.Response) -> None:
    status = answer.status_code
    if status == 200:
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/json"):
            raise FetchError(
                "source-not-a-model",
                f"{public_url(url)} answers with {kind}, not with a model",
                hint="open the URL in a browser: it may be a login page, an error or a captive portal",
            )
        return
    code, hint = _STATUS_HINTS.get(status, ("source-unreachable", "try again later"))
    message = f"{public_url(url)}: the server answers {status} {answer.reason}"
    raise FetchError(code, message, hint=hint, retryable=status == 429 or status >= 500)


def _receive(answer: requests.Response, stream: BinaryIO, url: str, on_progress: OnProgress) -> str:
    total = int(answer.headers.get("Content-Length") or 0)
    digest, done = hashlib.sha256(), 0
    for chunk in answer.iter_content(_CHUNK):
        stream.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        on_progress({"phase": "download", "done": done, "total": total})
    if total and done != total:
        raise FetchError(
            "source-unreachable",
            f"{public_url(url)}: {done} of {total} bytes came",
            hint="check the network, then run again",
            retryable=True,
        )
    if not done:
        raise FetchError("source-not-a-model", f"{public_url(url)} is empty", hint="check the URL")
    return digest.hexdigest()


def _file_name(url: str) -> str:
    parts = urlsplit(url)
    in_query = parse_qs(parts.query).get("path", [""])[0]
    name = unquote(in_query or parts.path).rstrip("/").rpartition("/")[2]
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in name).lstrip(".") or "download"


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):  # requests refuses a URL in words that quote the whole of it, secrets included
        return type(error).__name__
    inner = error.args[0] if error.args else error
    return f"{type(error).__name__}: {getattr(inner, 'reason', inner)}".replace("\n", " ")[:300]
