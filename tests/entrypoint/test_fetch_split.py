"""Large files from servers that limit each connection: ranges come ahead, and no fault of theirs is one of the file."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

from prepare_models_entrypoint.contract.fetch import Connection
from prepare_models_entrypoint.download import ranges, retries
from prepare_models_entrypoint.download.fetch import Fetched, fetch
from prepare_models_entrypoint.download.transfer import Progress
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.sources import access
from tests.simulators.ngc import NgcSimulator
from tests.simulators.web import Answer, Request, Server

from .children import kill, start

SIZE = 8_000_000
MODEL, OTHER = (random.Random(seed).getrandbits(8 * SIZE).to_bytes(SIZE, "big") for seed in (1, 2))
SHA256 = hashlib.sha256(MODEL).hexdigest()
RATE = 4e6
# What ranges bring is measured, and this machine may be busy: here they always pay, but where a test says otherwise.
SMALL = {"_LEAST": 1 << 20, "_LEAST_S": 0.01, "_LOOK_S": 0.1, "_GROWTH": 0.0}
DOWNLOAD = """
    import sys
    from pathlib import Path
    from prepare_models_entrypoint.download import ranges as split
    from prepare_models_entrypoint.download.fetch import fetch
    split._LEAST, split._LEAST_S, split._LOOK_S, split._GROWTH = 1 << 20, 0.01, 0.1, 0.0
    fetch(sys.argv[1], sha256=sys.argv[3], cache_dir=Path(sys.argv[2]), on_progress=lambda _: None)
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Split files that a test can wait for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.001)
    for name, value in SMALL.items():
        monkeypatch.setattr(ranges, name, value)
    access.access_of.cache_clear()
    yield
    access.access_of.cache_clear()


class Limited:
    """A server that gives each connection the same rate. ``change`` makes other answers to ranges, by their number."""

    def __init__(self, change: Callable[[int, Answer], Optional[Answer]] = lambda _, __: None, **more: Any) -> None:
        self.usual = Answer(MODEL, ranged=True, etag='"one"', rate=RATE)
        self.usual = dataclasses.replace(self.usual, **more)
        self._change = change
        self.server = Server(self._decide)

    def __enter__(self) -> Limited:  # noqa: PYI034  # Self is not in Python 3.8's typing
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    @property
    def ranges(self) -> List[Request]:
        """Return the requests for a part from the middle of the file."""
        return [asked for asked in self.server.requests if _is_range(asked)]

    @property
    def sent(self) -> int:
        """Return how many bytes left the server."""
        return sum(asked.sent for asked in self.server.requests)

    def get(self, folder: Path, sha256: Optional[str] = SHA256) -> Fetched:
        """Fetch the file."""
        url = f"{self.server.url}/model.bin"
        return fetch(url, sha256=sha256, cache_dir=folder, on_progress=lambda _: None)

    def _decide(self, request: Request) -> Answer:
        changed = self._change(len(self.ranges), self.usual) if _is_range(request) else None
        return changed or self.usual


def _is_range(request: Request) -> bool:
    asked = request.headers.get("range", "")
    return bool(asked) and not asked.endswith("-")


def leftovers(folder: Path) -> List[str]:
    return [path.name for path in (folder / "downloads/parts").iterdir()]


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["a digest", "a mark"])
def test_a_limited_server_is_asked_for_ranges(tmp_path: Path, sha256: Optional[str]) -> None:
    with Limited() as limited:
        assert limited.get(tmp_path, sha256).path.read_bytes() == MODEL
    assert len(limited.ranges) > 50
    assert limited.sent < 1.1 * len(MODEL)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "more",
    [
        {"ranged": False},
        {"etag": None},
        {"etag": 'W/"one"'},
    ],
    ids=["no ranges", "no mark", "a weak mark"],
)
def test_what_can_not_be_put_together_safely_is_one_stream(tmp_path: Path, more: Dict[str, Any]) -> None:
    with Limited(rate=2 * RATE, **more) as limited:
        assert limited.get(tmp_path, None).path.read_bytes() == MODEL
    assert not any(asked.status == 206 for asked in limited.server.requests)
    assert leftovers(tmp_path) == []


def test_ranges_that_bring_nothing_more_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_GROWTH", 1000.0)
    with Limited(lambda _, usual: dataclasses.replace(usual, rate=RATE / 40)) as limited:
        assert limited.get(tmp_path).path.read_bytes() == MODEL
    assert len(limited.ranges) <= 8
    assert limited.sent < 1.1 * len(MODEL)


def test_several_files_at_once_are_not_split(tmp_path: Path) -> None:
    streams = access.access_of(Connection()).streams
    with Limited() as limited, streams.one(), streams.one(), streams.one():
        limited.get(tmp_path)
    assert limited.ranges == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 403},
        {"status": 404},
        {"cut_after": 1000},
        {"flip": True},
        {"ranged": False},
        {"headers": {"Content-Range": "bytes 0-99/100"}},
        {"headers": {"Content-Encoding": "gzip"}},
        {"content": b"<html>portal</html>", "headers": {"Content-Type": "text/html"}, "ranged": False},
        {"content": OTHER, "etag": '"two"'},
        {"content": OTHER},
        {"content": MODEL[:-1]},
    ],
    ids=[
        "503",
        "429",
        "403",
        "404",
        "broken",
        "damaged",
        "no ranges",
        "wrong range",
        "compressed",
        "portal",
        "replaced",
        "replaced in secret",
        "cut",
    ],
)
@pytest.mark.parametrize("times", [1, 1000])
def test_a_fault_of_a_range_is_survived(tmp_path: Path, fault: Dict[str, Any], times: int) -> None:
    def change(number: int, usual: Answer) -> Optional[Answer]:
        return dataclasses.replace(usual, **fault) if 10 <= number < 10 + times else None

    with Limited(change, rate=2 * RATE) as limited:
        assert limited.get(tmp_path).path.read_bytes() == MODEL
    assert leftovers(tmp_path) == []


def test_without_a_digest_two_contents_are_never_mixed(tmp_path: Path) -> None:
    replaced: List[float] = []

    def change(number: int, usual: Answer) -> Optional[Answer]:
        if number == 20:
            limited.usual = dataclasses.replace(usual, content=OTHER, etag='"two"')
            replaced.append(time.monotonic())
        return None

    with Limited(change) as limited:
        assert limited.get(tmp_path, None).path.read_bytes() == OTHER
    assert replaced
    assert leftovers(tmp_path) == []


def test_a_server_that_loses_the_file_is_told_as_ever(tmp_path: Path) -> None:
    def change(number: int, usual: Answer) -> Optional[Answer]:
        if number == 20:
            limited.usual = Answer(b"gone", 404)
        return None

    with Limited(change) as limited, pytest.raises(FetchError) as caught:
        limited.get(tmp_path)
    assert caught.value.code == "source-not-found"
    assert list(tmp_path.rglob("blobs/*")) == []
    assert [name for name in leftovers(tmp_path) if name.endswith(".range")] == []


def test_a_killed_download_is_continued_from_its_prefix(tmp_path: Path) -> None:
    with Limited() as limited:
        child = start(DOWNLOAD, f"{limited.server.url}/model.bin", tmp_path, SHA256)
        while not any(part.stat().st_size > 0.5 * len(MODEL) for part in tmp_path.rglob("*.part")):
            time.sleep(0.01)
        kill(child)
        assert limited.ranges
        kept, asked = next(tmp_path.rglob("*.part")).stat().st_size, len(limited.server.requests)
        assert limited.get(tmp_path).path.read_bytes() == MODEL
        assert f"bytes={kept}-" in [each.headers.get("range") for each in limited.server.requests[asked:]]
    assert leftovers(tmp_path) == []


def test_a_url_that_expires_while_ranges_come_is_signed_anew(tmp_path: Path) -> None:
    with NgcSimulator() as sim:
        sim.publish("nvidia/tao/net", "v1.0", {"model.bin": MODEL})
        sim.rate = RATE
        expired: List[int] = []

        def on_progress(step: Progress) -> None:
            if step["done"] > len(MODEL) // 2 and not expired:
                expired.append(step["done"])
                sim.expire_urls()

        network = Connection(ngc_api=sim.url, ngc_auth=sim.url)
        fetched = fetch(
            "ngc://nvidia/tao/net:v1.0/model.bin",
            sha256=None,
            cache_dir=tmp_path,
            on_progress=on_progress,
            network=network,
        )
        assert fetched.path.read_bytes() == MODEL
        refused = [asked for asked in sim.fetched if asked.status == 403]
        assert 1 <= len(refused) <= 5
        assert len([asked for asked in sim.asked if "/files/" in asked.target]) <= 8
        assert sim.bytes_served - sum(asked.sent for asked in refused) < 1.1 * len(MODEL)
        assert sim.leaks == []
