"""A store that machines share, in a real S3 server: what is there is whole, what lies is found out and named."""

from __future__ import annotations

import base64
import concurrent.futures
import functools
import getpass
import http.server
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from prepare_models.errors import SharedStoreError, UsageError
from prepare_models.manifest.model import ModelSpec
from prepare_models.signing import trust
from prepare_models.store import CALIBRATION, PLAN
from prepare_models.store.local import Entry, Store, open_store
from prepare_models.store.shared import SharedStore
from prepare_models.support import paths
from tests.farm import store_server
from tests.farm.store_server import BUCKET, S3
from tests.unit.records import PLAN_BYTES, RUNTIME, digest, report_of

from .test_robot import write_key

PREFIX = f"{BUCKET}/site"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with store_server.s3() as started:
        yield started


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    yield server
    server.refuse(0)
    files = server.files()
    if files.exists(PREFIX):
        files.rm(PREFIX, recursive=True)


def built(folder: Path, number: int = 0) -> Entry:
    """Return an engine in the local store of this machine."""
    folder.mkdir(exist_ok=True)
    spec = ModelSpec(name=f"net{number}", source="/a.onnx", line=1)
    record = report_of(spec, folder, {"model": digest(b"model %d" % number)}, RUNTIME)
    files = {PLAN: folder / "plan", CALIBRATION: folder / "cache"}
    files[PLAN].write_bytes(PLAN_BYTES)
    files[CALIBRATION].write_bytes(b"calibration")
    return open_store().put(record, files)


def robot(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Store:
    """Go to another machine, and return its store."""
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(folder))
    return open_store()


def refusal(shared: SharedStore, key: str, store: Store, **locked: str) -> tuple[str, str]:
    with pytest.raises(SharedStoreError) as caught:
        shared.pull(key, store, locked=locked)
    assert not store.has(key), "nothing of it came here"
    return caught.value.code, caught.value.message


def test_an_engine_comes_back_as_it_was_put_for_those_who_trust_its_signer(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, shared = built(tmp_path / "host"), SharedStore(s3.url)
    signer = write_key(tmp_path)
    assert shared.push(entry), "unsigned"
    assert not shared.push(entry), "it is there"
    store = robot(monkeypatch, tmp_path / "robot")
    assert shared.pull("0" * 64, store) is None
    code, told = refusal(shared, entry.key, store)
    assert (code, entry.key[:16] in told, "it is not signed" in told) == ("shared-engine-untrusted", True, True), told
    assert refusal(shared, entry.key, store, **{entry.key: "f" * 64})[0] == "shared-engine-untrusted"

    assert shared.push(entry, signer), "now signed"
    assert not shared.push(entry, signer)
    assert not shared.push(entry), "a signature stays"
    assert "is not trusted here" in refusal(shared, entry.key, store)[1]
    trusted, keyid = trust.KeyList().with_key(tmp_path / "key.pub", "depot", None, (trust.CONTENTS,))
    trust.save(paths.keys_file(), trusted)
    found = shared.pull(entry.key, store)
    assert found is not None
    assert store.find(entry.key) == found
    assert {name: file.read_bytes() for name, file in found.files.items()} == {
        PLAN: PLAN_BYTES, CALIBRATION: b"calibration",
    }  # fmt: skip
    origin = {"bundle": None, "store": s3.url, "signed_by": keyid}
    assert found.record == {**entry.record, "origin": origin}
    assert [(each.offer.model, each.offer.signed_by) for each in shared.listed()] == [("net0", keyid)]


def test_a_locked_digest_needs_no_signature(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, shared = built(tmp_path / "host"), SharedStore(s3.url)
    shared.push(entry)
    store = robot(monkeypatch, tmp_path / "robot")
    assert shared.pull(entry.key, store, locked={entry.key: digest(PLAN_BYTES)}) is not None
    with pytest.raises(SharedStoreError) as caught:  # it is of a store that this machine does not trust
        SharedStore(f"{s3.url}/other").push(store.find(entry.key) or entry)
    assert caught.value.code == "shared-engine-untrusted"


def test_a_store_that_lies_is_found_out(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, other, shared = built(tmp_path / "host"), built(tmp_path / "host", 1), SharedStore(s3.url)
    signer = write_key(tmp_path)
    trust.save(paths.keys_file(), trust.KeyList().with_key(tmp_path / "key.pub", "", None, (trust.CONTENTS,))[0])
    shared.push(entry, signer)
    shared.push(other, signer)
    store, files = robot(monkeypatch, tmp_path / "robot"), s3.files()
    place = f"{PREFIX}/engines/{entry.key}.json"
    true = files.cat_file(place)
    names = shared.offers([entry.key])[entry.key].files
    objects = {name: f"{PREFIX}/objects/{sha256}" for name, sha256 in names.items()}

    for name, path in objects.items():
        content = files.cat_file(path)
        for wrong in (content[:-1] + b"!", content[:-1]):
            files.pipe_file(path, wrong)
            code, why = refusal(shared, entry.key, store)
            assert (code, name in why, entry.key[:16] in why) == ("shared-engine-damaged", True, True), why
        files.rm_file(path)
        assert f"{name} is missing" in refusal(shared, entry.key, store)[1]
        files.pipe_file(path, content)

    def forged(**changes: object) -> bytes:
        envelope = json.loads(true)
        statement = json.loads(base64.b64decode(envelope["payload"]))
        payload = json.dumps({**statement, **changes}).encode()
        return json.dumps({**envelope, "payload": base64.b64encode(payload).decode()}).encode()

    record = json.loads(files.cat_file(objects["record.json"]))
    for changes in ({"identity": {"precision": "int8"}}, {"engine": {**record["engine"], "bytes": 99}}, {"io": 1}):
        lie = json.dumps({**record, **changes}).encode()
        files.pipe_file(f"{PREFIX}/objects/{digest(lie)}", lie)
        told = {**names, "record.json": digest(lie)}
        unsigned = forged(subject=[{"name": name, "digest": {"sha256": each}} for name, each in told.items()])
        files.pipe_file(place, json.dumps({**json.loads(unsigned), "signatures": []}).encode())
        assert refusal(shared, entry.key, store, **{entry.key: digest(PLAN_BYTES)})[0] == "shared-engine-damaged"

    elsewhere = [{"name": "1/model.plan", "digest": {"sha256": "../../etc/passwd"}}]
    more = [{"name": name, "digest": {"sha256": digest(b"")}} for name in ("1/model.plan", "record.json", "../x")]
    for entry_of_a_liar, why in (
        (files.cat_file(f"{PREFIX}/engines/{other.key}.json"), "belongs to another engine"),
        (forged(subject=elsewhere), "is damaged"),
        (forged(subject=more), "names other files"),
        (true[: len(true) // 2], "is damaged"),
        (b"", "is damaged"),
        (b"[" * 1000, "is damaged"),
    ):
        files.pipe_file(place, entry_of_a_liar)
        assert why in refusal(shared, entry.key, store)[1]
    files.pipe_file(place, forged(_type="changed"))
    assert refusal(shared, entry.key, store) == ("shared-engine-untrusted", refusal(shared, entry.key, store)[1])
    assert "does not match" in refusal(shared, entry.key, store)[1]

    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(tmp_path / "cache"))
    assert shared.push(entry, signer, replace=True), "its maker mends it"
    assert shared.pull(entry.key, robot(monkeypatch, tmp_path / "robot")) is not None


def test_many_writers_readers_and_refusals_at_once(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, locked = built(tmp_path / "host"), {}
    locked[entry.key] = digest(PLAN_BYTES)
    store = robot(monkeypatch, tmp_path / "robot")
    done = threading.Event()

    def write(_: int) -> None:
        SharedStore(s3.url).push(entry, replace=True)

    def read() -> int:
        whole = 0
        while not done.is_set() or not whole:
            found = SharedStore(s3.url).pull(entry.key, store, locked=locked)
            whole += found is not None and found.plan.read_bytes() == PLAN_BYTES
        return whole

    s3.refuse(5)
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
        reader = pool.submit(read)
        list(pool.map(write, range(6)))
        done.set()
        assert reader.result() >= 1
    assert s3.refusals == 0, "every client met some"
    assert len(SharedStore(s3.url).listed()) == 1
    assert len(s3.files().find(f"{PREFIX}/objects")) == 3


def test_an_upload_that_did_not_end_is_not_seen_and_goes(s3: S3, tmp_path: Path) -> None:
    first, second, shared = built(tmp_path / "host"), built(tmp_path / "host", 1), SharedStore(s3.url)
    shared.push(first)
    shared.push(second)
    assert shared.keys() == {first.key, second.key}
    files = s3.files()
    files.rm_file(f"{PREFIX}/engines/{second.key}.json")
    files.pipe_file(f"{PREFIX}/engines/..{second.key}.json.partial", b"{")
    assert shared.keys() == {first.key}
    assert shared.collect(unused_s=None, margin_s=3600.0, dry_run=False) == ([], [], 0), "it may be under way"
    gone = shared.collect(unused_s=None, margin_s=0.0, dry_run=True)
    assert (gone.engines, len(gone.objects)) == ([], 2), (
        "the record and half an entry; the engine is the first one's, too"
    )
    assert shared.collect(unused_s=None, margin_s=0.0, dry_run=False) == gone
    assert shared.offers([first.key])[first.key].problem is None
    odd = f"engines/{second.key}.json"
    files.pipe_file(f"{PREFIX}/{odd}", b"{}")
    with pytest.raises(SharedStoreError, match="its objects are unknown") as refused:
        shared.collect(unused_s=None, margin_s=0.0, dry_run=False)
    assert odd in refused.value.hint
    files.rm_file(f"{PREFIX}/{odd}")
    assert shared.collect(unused_s=0.0, margin_s=0.0, dry_run=False).engines == [first.key]
    assert not files.exists(PREFIX)


@pytest.fixture
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an SSH server, which lets this user in."""
    command = [str(Path(__file__).parents[2] / ".ci/ssh_server.sh"), str(tmp_path / "ssh"), "none"]
    port = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    monkeypatch.setitem(fsspec.config.conf, "sftp", {"key_filename": str(tmp_path / "ssh/home/.ssh/id_ed25519")})
    yield f"sftp://{getpass.getuser()}@127.0.0.1:{port}"
    os.kill(int((tmp_path / "ssh/pid").read_text()), signal.SIGTERM)


@pytest.mark.parametrize("kind", ["file", "http", "sftp"])
def test_other_kinds_of_stores(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    entry, folder = built(tmp_path / "host"), tmp_path / "a store"
    url = f"{request.getfixturevalue('sftp') if kind == 'sftp' else 'file://'}{folder}"
    assert SharedStore(url).push(entry)
    assert not [file for file in folder.rglob("*") if "partial" in file.name]
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        web_url = f"http://user:secret@127.0.0.1:{web.server_port}"
        shared = SharedStore(web_url if kind == "http" else url, bytes_per_s=8000)
        store = robot(monkeypatch, tmp_path / "robot")
        assert set(shared.offers([entry.key, "0" * 64])) == {entry.key}
        started = time.monotonic()
        found = shared.pull(entry.key, store, locked={entry.key: digest(PLAN_BYTES)})
        assert found is not None
        assert time.monotonic() - started >= 0.25, "no faster than it may"
        assert "secret" not in json.dumps(found.record)
        if kind == "http":
            for write in (lambda: shared.push(entry), lambda: shared.collect(unused_s=1, margin_s=1, dry_run=False)):
                with pytest.raises(UsageError, match="can only be read"):
                    write()
        web.shutdown()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/engines", "sftp://127.0.0.1:9/engines"])
def test_a_store_that_can_not_be_reached_is_told_with_its_url(url: str) -> None:
    shared = SharedStore(url)
    with pytest.raises(SharedStoreError) as caught:
        shared.offers(["0" * 64])
    assert (caught.value.code, url in caught.value.message) == ("shared-store-unreachable", True)
