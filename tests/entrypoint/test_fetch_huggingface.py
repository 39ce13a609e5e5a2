"""``hf://`` against a server that answers as Hugging Face's hub does: commits, LFS digests, terms, and moved names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import pytest

from prepare_models_entrypoint.contract.fetch import Connection
from prepare_models_entrypoint.download.fetch import Fetched, fetch
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.sources import access
from tests.simulators.web import Answer, Request, Server

MODEL = bytes(range(256)) * 3_000
SHA256 = hashlib.sha256(MODEL).hexdigest()
COMMITS = {"main": "a" * 40, "v1": "b" * 40}
TOKEN = "hf_topsecret"


class Hub:
    """One repository, ``org/net``: ``model.onnx`` in LFS, ``labels.txt`` not; ``org/old`` moved there."""

    def __init__(self) -> None:
        self.gated, self.digest = False, SHA256
        self.seen: List[Request] = []

    def decide(self, request: Request) -> Answer:
        self.seen.append(request)
        if request.target.startswith("/cdn/"):
            return Answer(MODEL, ranged=True)
        owner, name, _, revision, *path = request.target.strip("/").split("/")
        file = "/".join(path)
        if f"{owner}/{name}" == "org/old":
            return Answer(status=307, headers={"Location": request.target.replace("/old/", "/net/")})
        if f"{owner}/{name}" != "org/net":
            return Answer(status=401, headers={"X-Error-Code": "RepoNotFound"})
        if self.gated and {k.lower(): v for k, v in request.headers.items()}.get("authorization") != f"Bearer {TOKEN}":
            return Answer(status=403, headers={"X-Error-Code": "GatedRepo"})
        commit = COMMITS.get(revision, revision)
        if commit not in COMMITS.values():
            return Answer(status=404, headers={"X-Error-Code": "RevisionNotFound"})
        told = {"X-Repo-Commit": commit}
        if file == "labels.txt":
            return Answer(b"cat\n", headers={**told, "ETag": '"0123"'})
        if file != "onnx/model.onnx":
            return Answer(status=404, headers={**told, "X-Error-Code": "EntryNotFound"})
        linked = {"X-Linked-Etag": f'"{self.digest}"', "X-Linked-Size": str(len(MODEL))}
        return Answer(status=302, headers={**told, **linked, "Location": f"/cdn/{commit}"})


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def server(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    access.access_of.cache_clear()
    with Server(hub.decide) as running:
        yield running


def get(
    server: Server, source: str, folder: Path, token: Optional[str] = None, sha256: Optional[str] = None
) -> Fetched:
    secrets = folder / "secrets.json"
    secrets.write_text(json.dumps({"hf_token": token, "headers": [["X-Own", "canary"]]}), encoding="utf-8")
    network = Connection(hf_endpoint=server.url, secrets_file=str(secrets), attempts=1)
    return fetch(source, sha256=sha256, cache_dir=folder / "cache", on_progress=lambda _: None, network=network)


def refusal(server: Server, source: str, folder: Path, token: Optional[str] = None) -> FetchError:
    with pytest.raises(FetchError) as caught:
        get(server, source, folder, token)
    return caught.value


@pytest.mark.parametrize("source", ["hf://org/net/onnx/model.onnx", "hf://org/old/onnx/model.onnx"])
def test_a_file_in_lfs_is_verified_by_the_hubs_digest(server: Server, tmp_path: Path, source: str) -> None:
    fetched = get(server, source, tmp_path)
    assert fetched.path.read_bytes() == MODEL
    assert (fetched.path.name, fetched.promised) == ("model.onnx", "server")
    assert fetched.revision == COMMITS["main"]


def test_other_bytes_than_the_hub_promises_are_refused(server: Server, hub: Hub, tmp_path: Path) -> None:
    hub.digest = "0" * 64
    assert refusal(server, "hf://org/net/onnx/model.onnx", tmp_path).code == "digest-mismatch"


def test_a_revision_may_be_named(server: Server, hub: Hub, tmp_path: Path) -> None:
    assert get(server, "hf://org/net@v1/onnx/model.onnx", tmp_path).revision == COMMITS["v1"]
    assert hub.seen[-1].target == f"/cdn/{COMMITS['v1']}"


def test_a_small_file_comes_without_a_digest(server: Server, tmp_path: Path) -> None:
    fetched = get(server, "hf://org/net/labels.txt", tmp_path)
    assert (fetched.path.read_bytes(), fetched.promised) == (b"cat\n", None)


def test_the_token_goes_to_the_hub_alone_and_own_headers_to_nobody(server: Server, hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    error = refusal(server, "hf://org/net/onnx/model.onnx", tmp_path)
    assert (error.code, "HF_TOKEN" in error.hint) == ("licence-not-accepted", True)
    access.access_of.cache_clear()
    assert get(server, "hf://org/net/onnx/model.onnx", tmp_path, TOKEN).digest.result() == SHA256
    assert "x-own" not in {name.lower() for request in hub.seen for name in request.headers}


@pytest.mark.parametrize(
    ("source", "code", "told"),
    [
        ("hf://org/net/absent.onnx", "source-not-found", "has no file absent.onnx at main"),
        ("hf://org/net@v9/onnx/model.onnx", "source-not-found", "has no revision v9"),
        ("hf://org/absent/model.onnx", "source-refused", "org/absent is not on the hub, or is private"),
        ("hf://org/net", "source-not-found", "hf://org/net is not a source"),
        ("hf://org/net/../../x", "source-not-found", "is not a source"),
    ],
)
def test_what_is_not_there_is_told(server: Server, tmp_path: Path, source: str, code: str, told: str) -> None:
    error = refusal(server, source, tmp_path)
    assert error.code == code
    assert told in error.message


def test_a_token_that_no_header_can_carry_is_named(server: Server, tmp_path: Path) -> None:
    for token in ("hf_abcdef\udcff", "hf_abc\x1bdef", "hf_\u00e9\u00e9\u00e9"):
        access.access_of.cache_clear()
        error = refusal(server, "hf://org/net/onnx/model.onnx", tmp_path, token)
        assert (error.code, token in str(error)) == ("source-refused", False)
        assert "token holds characters that no key has" in error.message


def test_a_pinned_file_that_is_here_asks_nobody(server: Server, hub: Hub, tmp_path: Path) -> None:
    get(server, "hf://org/net/onnx/model.onnx", tmp_path)
    asked: Dict[str, int] = {"before": len(hub.seen)}
    get(server, "hf://org/net/onnx/model.onnx", tmp_path, sha256=SHA256)
    assert len(hub.seen) == asked["before"]
