"""Downloads from a real HTTP server: whole, checked, remembered, and never wrong under a final name."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from prepare_models_entrypoint.download import retries
from prepare_models_entrypoint.download.content_store import key_of
from prepare_models_entrypoint.download.fetch import fetch
from prepare_models_entrypoint.download.transfer import Progress
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.sources import access

from .children import first_line, kill, start
from .fetching import get, refusal
from .model_server import Answer, ModelServer

MODEL = bytes(range(256)) * 12_000  # three chunks
SHA256 = hashlib.sha256(MODEL).hexdigest()
SECRET = "topsecret"
DOWNLOAD = """
    import sys
    from pathlib import Path
    from prepare_models_entrypoint.download.fetch import fetch
    fetch(sys.argv[1], sha256=None, cache_dir=Path(sys.argv[2]), on_progress=lambda _: print("coming", flush=True))
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.001)
    access.access_of.cache_clear()
    with ModelServer() as running:
        yield running


def files(cache: Path) -> List[str]:
    """Return the digests of the contents that are kept as whole files."""
    return sorted(path.name for path in (cache / "downloads/blobs").glob("*"))


def test_a_download_is_whole_and_hashed(server: ModelServer, tmp_path: Path) -> None:
    fetched = get(server.serve("/nets/model.onnx", Answer(MODEL)), tmp_path)
    assert fetched.path.read_bytes() == MODEL
    assert fetched.path.name == "model.onnx"
    assert (fetched.bytes, fetched.digest.result(), fetched.pinned) == (len(MODEL), SHA256, False)


def test_progress_rises_to_the_length_of_the_file(server: ModelServer, tmp_path: Path) -> None:
    told: List[Progress] = []
    url = server.serve("/model.onnx", Answer(MODEL))
    fetch(url, sha256=None, cache_dir=tmp_path, on_progress=told.append)
    done = [step["done"] for step in told]
    assert done == sorted(done)
    assert done[-1] == len(MODEL)
    assert {step["total"] for step in told} == {len(MODEL)}


def test_a_second_fetch_asks_nobody(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(MODEL))
    first, second = get(url, tmp_path), get(url, tmp_path, SHA256)
    assert server.asked == ["/model.onnx"]
    assert (second.path, second.digest.result()) == (first.path, SHA256)


def test_a_damaged_download_is_fetched_again(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(MODEL))
    get(url, tmp_path).path.write_bytes(b"cut off")
    assert get(url, tmp_path).path.read_bytes() == MODEL
    assert len(server.asked) == 2


@pytest.mark.parametrize("size", [1000, len(MODEL)])
def test_a_use_is_noted_and_leaves_the_time_of_the_content(server: ModelServer, tmp_path: Path, size: int) -> None:
    url = server.serve("/nets/model.onnx", Answer(MODEL[:size]))
    blob = get(url, tmp_path).path.resolve()
    record = tmp_path / f"downloads/records/{blob.name}.json"
    day_ago = time.time() - 86_400
    os.utime(str(blob), (day_ago, blob.stat().st_mtime))
    if record.exists():
        os.utime(str(record), (day_ago, day_ago))
    before = blob.stat().st_mtime_ns
    get(url, tmp_path)
    used = record.stat().st_mtime if record.exists() else blob.stat().st_atime
    assert used > day_ago + 3600
    assert record.exists() == (size == len(MODEL))
    assert blob.stat().st_mtime_ns == before


def test_a_file_that_just_came_was_used_now_whatever_became_of_its_part(server: ModelServer, tmp_path: Path) -> None:
    day_ago = time.time() - 86_400
    url = server.serve("/nets/model.onnx", Answer(MODEL[:1000]))
    part = tmp_path / f"downloads/parts/{key_of(url)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    os.utime(str(part), (day_ago, day_ago))
    assert get(url, tmp_path).path.resolve().stat().st_atime > day_ago + 3600


def test_a_new_pin_fetches_again(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(b"the old model"), Answer(MODEL))
    get(url, tmp_path)
    assert get(url, tmp_path, SHA256).path.read_bytes() == MODEL


def test_two_urls_of_one_file_name_are_two_downloads(server: ModelServer, tmp_path: Path) -> None:
    first = get(server.serve("/a/model.onnx", Answer(b"one")), tmp_path)
    second = get(server.serve("/b/model.onnx", Answer(b"two")), tmp_path)
    assert (first.path.read_bytes(), second.path.read_bytes()) == (b"one", b"two")


def test_a_redirect_is_followed(server: ModelServer, tmp_path: Path) -> None:
    server.serve("/storage/1234", Answer(MODEL))
    url = server.serve("/model.onnx", Answer(status=302, headers={"Location": "/storage/1234"}))
    assert get(url, tmp_path).path.read_bytes() == MODEL


@pytest.mark.parametrize(
    ("status", "code", "attempts"),
    [
        (401, "source-refused", 1),
        (403, "source-refused", 1),
        (404, "source-not-found", 1),
        (410, "source-not-found", 1),
        (412, "source-refused", 1),
        (429, "source-rate-limited", 5),
        (500, "source-unreachable", 5),
        (503, "source-unreachable", 5),
    ],
)
def test_a_refusal_is_named_and_asked_again_only_where_it_helps(
    server: ModelServer, tmp_path: Path, status: int, code: str, attempts: int
) -> None:
    error = refusal(server.serve("/model.onnx", Answer(b"no", status=status)), tmp_path)
    assert (error.code, error.retryable, len(server.asked)) == (code, attempts > 1, attempts)
    assert str(status) in error.message
    assert error.hint
    assert files(tmp_path) == []


def test_a_server_that_recovers_is_asked_again(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(status=500), Answer(MODEL[:99], declared=len(MODEL)), Answer(MODEL))
    assert get(url, tmp_path, SHA256).path.read_bytes() == MODEL
    assert len(server.asked) == 3


def test_a_truncated_body_is_never_taken_for_the_file(server: ModelServer, tmp_path: Path) -> None:
    error = refusal(server.serve("/model.onnx", Answer(MODEL[:-1], declared=len(MODEL))), tmp_path)
    assert (error.code, error.retryable) == ("source-unreachable", True)
    assert files(tmp_path) == []


def test_a_body_longer_than_declared_does_not_pass_a_pin(server: ModelServer, tmp_path: Path) -> None:
    error = refusal(server.serve("/model.onnx", Answer(MODEL, declared=100)), tmp_path, SHA256)
    assert error.code == "digest-mismatch"
    assert files(tmp_path) == []


def test_other_bytes_than_the_pinned_ones_leave_nothing(server: ModelServer, tmp_path: Path) -> None:
    error = refusal(server.serve("/model.onnx", Answer(b"tampered")), tmp_path, SHA256)
    assert (error.code, error.retryable, len(server.asked)) == ("digest-mismatch", False, 1)
    assert SHA256 in error.message
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"<html>please log in</html>", "text/html; charset=utf-8", "network-intercepted"),
        (b"\n<!doctype HTML><body>please log in", "application/octet-stream", "network-intercepted"),
        (b'{"error": "no"}', "application/problem+json", "source-not-a-model"),
        (b'{"error": "no"}', "application/octet-stream", "source-not-a-model"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "text/xml", "source-not-a-model"),
        (b"", "application/octet-stream", "source-not-a-model"),
    ],
)
def test_an_answer_that_is_no_model_is_refused(
    server: ModelServer, tmp_path: Path, body: bytes, kind: str, code: str
) -> None:
    error = refusal(server.serve("/model.onnx", Answer(body, headers={"Content-Type": kind})), tmp_path)
    assert error.code == code
    assert files(tmp_path) == []


def test_a_document_may_be_what_its_name_says_and_a_model_may_begin_like_one(
    server: ModelServer, tmp_path: Path
) -> None:
    for name, body in (
        ("labels.json", b'{"a": 1}'),
        ("model.bin", b'{"\xff\xfe' + bytes(range(256)) * 4),
        ("model.etlt", b"{ \0\0" + b"x" * 600),
        ("net.xml", b"<?xml version='1.0'?><net/>"),
        ("x.html", b"<html>"),
    ):
        assert get(server.serve(f"/{name}", Answer(body)), tmp_path).path.read_bytes() == body


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


@pytest.mark.parametrize("encoding", ["aws-chunked", "utf-8", "none", "binary", "Identity", "aws-chunked, utf-8", ""])
def test_a_coding_that_changes_no_byte_is_no_obstacle(server: ModelServer, tmp_path: Path, encoding: str) -> None:
    url = server.serve("/model.onnx", Answer(MODEL, headers={"Content-Encoding": encoding}))
    assert get(url, tmp_path).path.read_bytes() == MODEL


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/html"}, {"Content-Encoding": "gzip"}, {"Content-Type": "application/json"}]
)
def test_a_digest_outranks_headers(server: ModelServer, tmp_path: Path, headers: Dict[str, str]) -> None:
    url = server.serve("/model.onnx", Answer(MODEL, headers=headers))
    told = refusal(url, tmp_path).code
    assert told in ("network-intercepted", "source-unreachable", "source-not-a-model")
    assert get(url, tmp_path, SHA256).path.read_bytes() == MODEL
    assert refusal(url, tmp_path, "0" * 64).code == told, "the headers say better what came in place of the file"


@pytest.mark.parametrize("pinned", [False, True])
def test_a_git_lfs_pointer_is_never_a_model(server: ModelServer, tmp_path: Path, pinned: bool) -> None:
    url, local = server.serve("/model.onnx", Answer(POINTER)), tmp_path / "local.onnx"
    local.write_bytes(POINTER)
    sha256 = hashlib.sha256(POINTER).hexdigest() if pinned else None
    for source in (url, str(local)):
        error = refusal(source, tmp_path, sha256)
        assert error.code == "source-not-a-model"
        assert "Git LFS pointer" in error.message
        assert "git lfs pull" in error.hint


def test_as_many_redirects_are_followed_as_wget_follows(server: ModelServer, tmp_path: Path) -> None:
    for hop in range(20):
        server.serve(f"/{hop}", Answer(status=302, headers={"Location": f"/{hop + 1}"}))
    server.serve("/20", Answer(MODEL))
    assert get(f"{server.url}/0", tmp_path).path.read_bytes() == MODEL
    server.serve("/loop", Answer(status=302, headers={"Location": "/loop"}))
    assert "more than 20 redirects" in refusal(f"{server.url}/loop", tmp_path).message


def test_a_cookie_of_a_redirect_is_sent_and_belongs_to_one_download(server: ModelServer, tmp_path: Path) -> None:
    cookies: List[Any] = []
    send = server.send

    def decide(request: Any, answer: Answer) -> None:
        cookies.append(request.headers.get("Cookie"))
        again = Answer(status=302, headers={"Location": request.path, "Set-Cookie": "seen=1; Path=/"})
        send(request, answer if cookies[-1] else again)

    server.send = decide  # type: ignore[method-assign]
    for name in ("/one.onnx", "/two.onnx"):
        assert get(server.serve(name, Answer(MODEL)), tmp_path).path.read_bytes() == MODEL
    assert cookies == [None, "seen=1", None, "seen=1"]


def test_an_answer_that_a_proxy_changed_the_headers_of_is_the_file(server: ModelServer, tmp_path: Path) -> None:
    assert get(server.serve("/model.onnx", Answer(MODEL, status=203)), tmp_path).path.read_bytes() == MODEL


@pytest.mark.parametrize(("wait", "told"), [("86400", "24 hours"), ("604800", "7 days"), ("400", "6.67 minutes")])
def test_how_long_a_server_wants_to_be_left_alone_is_said(
    server: ModelServer, tmp_path: Path, wait: str, told: str
) -> None:
    error = refusal(server.serve("/model.onnx", Answer(status=429, headers={"Retry-After": wait})), tmp_path)
    assert (error.code, len(server.asked)) == ("source-rate-limited", 1)
    assert f"asks for no request for {told}" in error.message


def test_a_line_break_in_a_name_is_not_one_in_the_file_system(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/a%0Ab%1B%5B31m%E2%80%AE.onnx", Answer(MODEL))
    assert get(url, tmp_path).path.name == "a_b_[31m_.onnx"


def test_a_killed_download_leaves_no_wrong_file_and_the_next_one_cleans_up(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(MODEL, stall=True), Answer(MODEL))
    child = start(DOWNLOAD, url, tmp_path)
    assert first_line(child) == "coming"
    kill(child)
    assert files(tmp_path) == []
    assert get(url, tmp_path).path.read_bytes() == MODEL
    assert files(tmp_path) == [SHA256]
    assert list(tmp_path.rglob("*.part")) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_not_there_is_unreachable(server: ModelServer, tmp_path: Path) -> None:
    error = refusal(f"http://127.0.0.1:{free_port()}/model.onnx", tmp_path)
    assert (error.code, error.retryable) == ("source-unreachable", True)
    assert "proxy" in error.hint


@pytest.mark.parametrize("status", [200, 401, 404, 412, 500])
def test_secrets_in_a_url_stay_out_of_errors(server: ModelServer, tmp_path: Path, status: int) -> None:
    path = f"/model.onnx?token={SECRET}"
    server.serve(path, Answer(b"<html>", status=status, headers={"Content-Type": "text/html"}))
    error = refusal(server.url.replace("//", f"//user:{SECRET}@") + path, tmp_path)
    assert SECRET not in f"{error.message} {error.hint}"
    assert "/model.onnx" in error.message


def test_secrets_in_a_url_stay_out_of_errors_without_a_server(server: ModelServer, tmp_path: Path) -> None:
    gone = f"http://user:{SECRET}@127.0.0.1:{free_port()}/model.onnx?token={SECRET}"
    no_host = f"http:///model.onnx?token={SECRET}"
    elsewhere = server.serve("/r", Answer(status=302, headers={"Location": f"ftp://x/y?token={SECRET}"}))
    for url in (gone, no_host, elsewhere):
        error = refusal(url, tmp_path)
        assert SECRET not in f"{error.message} {error.hint}"


def test_the_secret_in_a_url_is_not_written_beside_the_download(server: ModelServer, tmp_path: Path) -> None:
    fetched = get(server.serve(f"/model.onnx?token={SECRET}", Answer(MODEL)), tmp_path)
    for file in fetched.path.parent.iterdir():
        assert SECRET not in file.name
        assert SECRET.encode() not in file.read_bytes()


@pytest.mark.parametrize("source", ["ngc://nvidia/tao/net", "ngc://net:1/file", "ngc://a/b/c/d:1/file"])
def test_a_malformed_ngc_source_shows_a_good_one(tmp_path: Path, source: str) -> None:
    error = refusal(source, tmp_path)
    assert error.code == "source-not-found"
    assert "ngc://nvidia/tao/" in error.hint


def test_without_a_network_an_earlier_download_serves(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(MODEL))
    get(url, tmp_path)
    asked = len(server.asked)
    fetched = fetch(url, sha256=SHA256, cache_dir=tmp_path, on_progress=lambda _: None, offline=True)
    assert fetched.digest.result() == SHA256
    assert len(server.asked) == asked


def test_without_a_network_and_a_download_nothing_is_asked(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(MODEL))
    with pytest.raises(FetchError, match="may not use the network") as caught:
        fetch(url, sha256=None, cache_dir=tmp_path, on_progress=lambda _: None, offline=True)
    assert caught.value.code == "source-not-found"
    assert server.asked == []
