"""Models whose weights are in other files: fetched from beside the model, verified, and put together with it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Iterator, List, Optional

import pytest

from prepare_models_entrypoint.contract.external_data import check, files
from prepare_models_entrypoint.contract.fetch import Pins
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.sources import access

from .children import environment
from .fetching import get, refusal
from .model_server import Answer, ModelServer

WEIGHTS = bytes(range(256)) * 4


def field(number: int, data: bytes) -> bytes:
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 0x7F | 0x80, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def model(*locations: str, size: int = len(WEIGHTS)) -> bytes:
    """Return an ONNX model with a tensor in each of the files, as bytes: this Python may have no onnx."""
    graph = b""
    for location in locations:
        entries = (("location", location), ("offset", "0"), ("length", str(size)))
        told = b"".join(field(13, field(1, key.encode()) + field(2, value.encode())) for key, value in entries)
        dims = bytes([1 << 3, size // 4 & 0x7F | 0x80, size // 4 >> 7])
        graph += field(5, dims + b"\x10\x01" + field(8, location.encode()) + told + b"\x70\x01")
    return b"\x08\x08" + field(7, graph)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    access.access_of.cache_clear()
    with ModelServer() as running:
        yield running


@pytest.mark.parametrize("query", ["", "?token=s3cret"])
def test_weights_beside_a_model_on_a_web_server(server: ModelServer, tmp_path: Path, query: str) -> None:
    locations = ("model.onnx_data", "parts/w 1#.bin", "./x.bin")
    url = server.serve(f"/nets/model.onnx{query}", Answer(model(*locations)))
    for path in ("model.onnx_data", "parts/w%201%23.bin", "x.bin"):
        server.serve(f"/nets/{path}{query}", Answer(WEIGHTS))
    fetched = get(url, tmp_path)
    assert fetched.path.name == "model.onnx"
    assert [file.read_bytes() for file in files(fetched.path)] == [WEIGHTS] * 3
    assert check(fetched.path) == 3 * len(WEIGHTS)
    assert [each.location for each in fetched.external] == list(locations)
    asked = len(server.asked)
    assert get(url, tmp_path).path == fetched.path
    assert len(server.asked) == asked
    offline = get(url, tmp_path, offline=True)
    assert files(offline.path) == files(fetched.path)


def test_other_weights_under_the_same_model_do_not_mix(server: ModelServer, tmp_path: Path) -> None:
    content = model("w.bin")
    one = server.serve("/one/model.onnx", Answer(content))
    two = server.serve("/two/model.onnx", Answer(content))
    server.serve("/one/w.bin", Answer(WEIGHTS))
    server.serve("/two/w.bin", Answer(WEIGHTS[::-1]))
    paths = [get(url, tmp_path).path for url in (one, two, one)]
    assert [files(path)[0].read_bytes() for path in paths] == [WEIGHTS, WEIGHTS[::-1], WEIGHTS]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_weights_in_the_same_archive(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tar" if mode == "w" else "a.tar.gz")
    for name, content in (("model.onnx", model("data/w.bin")), ("w.bin", WEIGHTS)):
        (tmp_path / name).write_bytes(content)
    with tarfile.open(str(path), mode) as archive:  # type: ignore[call-overload]  # the mode is one of several
        archive.add(str(tmp_path / "model.onnx"), "./nets/model.onnx")
        archive.add(str(tmp_path / "w.bin"), "nets/data/w.bin")
    fetched = get(f"{path}!nets/model.onnx", tmp_path)
    assert files(fetched.path)[0].read_bytes() == WEIGHTS


def test_weights_are_held_to_their_digests(server: ModelServer, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", Answer(model("w.bin")))
    weights = Source.of(server.serve("/w.bin", Answer(WEIGHTS))).id
    good, bad = hashlib.sha256(WEIGHTS).hexdigest(), "0" * 64
    assert refusal(url, tmp_path, pins=Pins(sha256={weights: bad})).code == "digest-mismatch"
    assert get(url, tmp_path, pins=Pins(sha256={weights: good})).external[0].fetched.promised == "manifest"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("absent.bin", "which are not next to it"),
        ("../w.bin", "is outside"),
        ("/etc/passwd", "is outside"),
        ("a/../../w.bin", "is outside"),
    ],
)
def test_weights_that_are_missing_or_elsewhere(server: ModelServer, tmp_path: Path, location: str, told: str) -> None:
    error = refusal(server.serve("/nets/model.onnx", Answer(model(location))), tmp_path)
    assert error.code == "onnx-external-data"
    assert told in error.message
    assert [path for path in server.asked if "passwd" in path or path == "/w.bin"] == []


def test_a_url_whose_query_names_the_file_says_what_to_do(server: ModelServer, tmp_path: Path) -> None:
    error = refusal(server.serve("/get?path=model.onnx", Answer(model("w.bin"))), tmp_path)
    assert (error.code, "into one folder" in error.hint) == ("onnx-external-data", True)


def fetched_to(folder: Path, *sources: str, pins: Optional[List[Optional[str]]] = None) -> List[Any]:
    job = folder / "job.json"
    pairs = [{"source": source, "sha256": pin} for source, pin in zip(sources, pins or [None] * len(sources))]
    job.write_text(
        json.dumps(
            {
                "contract": 1, "sources": pairs, "cache_dir": str(folder / "cache"), "output_dir": str(folder / "out"),
                "connections": 2, "revalidate": True, "network": {}, "offline": False,
            }
        )
    )  # fmt: skip
    (folder / "out").mkdir(exist_ok=True)
    events = [json.loads(line) for line in _output("fetch", str(job)).splitlines()]
    return [event["data"] for event in events if event["kind"] == "source-finished"]


def _output(*arguments: str) -> str:
    argv = [sys.executable, "-m", "prepare_models_entrypoint", *arguments]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, env=environment(), check=False).stdout


def test_weights_are_delivered_beside_the_model(server: ModelServer, tmp_path: Path) -> None:
    content = model("parts/w.bin")
    url = server.serve("/model.onnx", Answer(content))
    server.serve("/parts/w.bin", Answer(WEIGHTS))
    for _ in range(2):
        results = fetched_to(tmp_path, url, pins=[hashlib.sha256(content).hexdigest()])
        assert {result["status"] for result in results} <= {"fetched", "present"}
        assert len(results) == 2
        assert (tmp_path / "out/parts/w.bin").read_bytes() == WEIGHTS
        assert check(tmp_path / "out/model.onnx") == len(WEIGHTS)
        (tmp_path / "out/parts/w.bin").unlink()


def test_weights_of_one_name_and_other_bytes_do_not_replace_each_other(server: ModelServer, tmp_path: Path) -> None:
    urls = []
    for name, weights in (("one", WEIGHTS), ("two", WEIGHTS[::-1])):
        urls.append(server.serve(f"/{name}/{name}.onnx", Answer(model("w.bin"))))
        server.serve(f"/{name}/w.bin", Answer(weights))
    results = fetched_to(tmp_path, *urls)
    (failed,) = [result for result in results if result["status"] == "failed"]
    assert failed["error"]["code"] == "output-name-taken"
