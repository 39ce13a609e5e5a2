"""What the files of one call share: room on the disk, and the time that may be spent waiting."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest

from prepare_models_entrypoint.contract.fetch import Connection, FetchJob, Wanted
from prepare_models_entrypoint.download import retries
from prepare_models_entrypoint.download.batch import fetch_all
from prepare_models_entrypoint.download.fetch import fetch
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.events import Events
from prepare_models_entrypoint.sources import access
from tests.simulators.ngc import NgcSimulator
from tests.simulators.web import Answer, Request, Server

MODEL = b"model" * 100_000


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    access.access_of.cache_clear()
    yield
    access.access_of.cache_clear()


def told_of(folder: Path, *sources: str, output: Optional[Path] = None, **network: Any) -> List[Dict[str, Any]]:
    """Fetch sources in one call and return the outcomes, in the order of their names."""
    stream = io.StringIO()
    for made in (folder, output or folder):
        made.mkdir(exist_ok=True)
    job = FetchJob(
        sources=tuple(Wanted(source=source) for source in sources), cache_dir=str(folder),
        output_dir=str(output) if output else None, network=Connection(**network),
    )  # fmt: skip
    fetch_all(job, Events(stream))
    outcomes = [json.loads(line) for line in stream.getvalue().splitlines()]
    return sorted((each["data"] for each in outcomes if each["kind"] == "source-finished"), key=lambda of: of["source"])


def free(folder: Path) -> int:
    status = os.statvfs(str(folder))
    return status.f_bavail * status.f_frsize


@pytest.mark.parametrize("copied", [False, True])
def test_listed_files_that_have_no_room_together_are_refused_before_the_first_byte(
    tmp_path: Path, copied: bool
) -> None:
    output = Path(f"/dev/shm/{os.getpid()}-out") if copied else None
    with NgcSimulator() as sim:
        version = sim.publish("nvidia/tao/net", "1", {"a.bin": MODEL, "b.bin": b"b" + MODEL, "c.bin": b"c" + MODEL})
        room = free(Path("/dev/shm") if copied else tmp_path)
        for name in ("a.bin", "b.bin"):
            version.listed[name] = {"sizeInBytes": int(0.6 * room)}
        sources = [f"ngc://nvidia/tao/net:1/{name}" for name in ("a.bin", "b.bin", "c.bin")]
        try:
            outcomes = told_of(tmp_path, *sources, output=output, ngc_api=sim.url)
        finally:
            if output:
                output.rmdir()
        assert [outcome["error"]["code"] for outcome in outcomes] == ["disk-full"] * 3
        assert "with 2 more" in outcomes[0]["error"]["message"]
        assert sim.fetched == []


def test_what_is_here_needs_no_room(tmp_path: Path) -> None:
    with NgcSimulator() as sim:
        version = sim.publish("nvidia/tao/net", "1", {"a.bin": MODEL, "b.bin": b"b" + MODEL})
        sources = [f"ngc://nvidia/tao/net:1/{name}" for name in ("a.bin", "b.bin")]
        assert [outcome["status"] for outcome in told_of(tmp_path, *sources, ngc_api=sim.url)] == ["fetched"] * 2
        version.listed["a.bin"] = {"sizeInBytes": 10**17}
        access.access_of.cache_clear()
        assert [outcome["status"] for outcome in told_of(tmp_path, *sources, ngc_api=sim.url)] == ["present"] * 2


def test_files_that_come_at_once_need_room_together(tmp_path: Path) -> None:
    size = int(0.6 * free(tmp_path))
    went_on = threading.Event()

    def decide(request: Request) -> Answer:
        went_on.wait(0 if request.target == "/a.bin" else 10)
        return Answer(b"x" * 4_000_000, headers={"Content-Length": str(size)}, rate=2e6)

    def refusal_of(name: str) -> FetchError:
        network = Connection(attempts=1, stall_s=1.0)
        with pytest.raises(FetchError) as caught:
            fetch(
                f"{server.url}/{name}",
                sha256=None, cache_dir=tmp_path, on_progress=lambda _: went_on.set(), network=network,
            )  # fmt: skip
        return caught.value

    with Server(decide) as server:
        first = threading.Thread(target=lambda: refusal_of("a.bin"))
        first.start()
        assert refusal_of("b.bin").code == "disk-full"
    first.join()


def test_the_call_waits_only_so_long_however_many_sources_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BUDGET_S", 2.0)
    with Server(lambda _: Answer(b"no", 429, {"Retry-After": "1"})) as server:
        began = time.monotonic()
        outcomes = told_of(tmp_path, *(f"{server.url}/{number}.bin" for number in range(8)), attempts=1000)
        seconds = time.monotonic() - began
    assert {outcome["error"]["code"] for outcome in outcomes} == {"source-rate-limited"}
    assert seconds < 8
    assert 16 <= len(server.requests) <= 32


def test_a_longer_wait_than_is_left_is_not_begun(tmp_path: Path) -> None:
    with Server(lambda _: Answer(b"no", 503, {"Retry-After": "301"})) as server:
        began = time.monotonic()
        assert told_of(tmp_path, f"{server.url}/a.bin")[0]["error"]["code"] == "source-unreachable"
    assert time.monotonic() - began < 10
    assert len(server.requests) == 1
