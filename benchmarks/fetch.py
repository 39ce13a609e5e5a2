"""What ``prepare-models fetch`` costs over curl and sha256sum, as ratios within one run on one machine.

``python benchmarks/fetch.py [NAME...]``: big, small, limited, split, resume, twice, again. Without names, all of them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "prepare-models")
SERVER = Path(__file__).with_name("file_server.py")
MIB = 1 << 20
ROUNDS = 3


class Server:
    """A server process and its address."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/stats") as answer:
            found: dict[str, int] = json.load(answer)
        return found


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    process = subprocess.Popen([sys.executable, str(SERVER), str(folder), *options], stdout=subprocess.PIPE, text=True)
    try:
        yield Server(int((process.stdout or sys.stdin).readline()))
    finally:
        process.kill()
        process.communicate()


class Place:
    """Folders that are new for each measurement.

    Earlier ones stay if small: ext4 takes long to find a free inode just after many were freed.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._number = root, 0
        self.out, self.cache = root / "out", root / "cache"

    def clear(self) -> None:
        for folder in (self.out, self.cache):
            for blob in folder.rglob("*"):
                if blob.is_file() and blob.stat().st_size > MIB:
                    blob.unlink()
        self._number += 1
        self.out, self.cache = (self._root / f"{name}-{self._number}" for name in ("out", "cache"))

    def argv(self, *sources: str) -> list[str]:
        return [COMMAND, "fetch", *sources, "--output", str(self.out), "--quiet"]

    def start(self, *sources: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.argv(*sources), env={**os.environ, "PREPARE_MODELS_CACHE_DIR": str(self.cache)})

    def fetch(self, *sources: str) -> None:
        assert self.start(*sources).wait() == 0


def timed(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def best(work: Callable[[], Any], before: Callable[[], Any] = lambda: None, rounds: int = ROUNDS) -> float:
    seconds = []
    for _ in range(rounds):
        before()
        seconds.append(timed(work))
    return min(seconds)


def write(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for _ in range(max(1, size // MIB)):
            block = os.urandom(min(size, MIB))
            stream.write(block)
            digest.update(block)
    return digest.hexdigest()


def tree_rss(pid: int) -> dict[int, int]:
    """Return the highest resident size of a process and its descendants so far, in bytes."""
    found = {}
    for child in [pid, *_children(pid)]:
        with contextlib.suppress(OSError, IndexError):
            text = Path(f"/proc/{child}/status").read_text(encoding="utf-8")
            found[child] = int(text.split("VmHWM:")[1].split()[0]) * 1024
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        direct = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return direct + [deep for child in direct for deep in _children(child)]
    return []


def curl_each(urls: list[str], target: Path) -> None:
    for number, url in enumerate(urls):
        subprocess.run(["curl", "-s", "-o", f"{target}-{number}", url], check=True)


def big(root: Path) -> dict[str, Any]:
    folder, place = root / "files", Place(root)
    digest = write(folder / "big.bin", 1024 * MIB)
    with serving(folder) as server:
        url = f"{server.url}/big.bin"
        curl = best(lambda: subprocess.run(["curl", "-s", "-o", str(root / "curl.bin"), url], check=True))
        sha256sum = best(
            lambda: subprocess.run(["sha256sum", str(folder / "big.bin")], check=True, capture_output=True)
        )
        ours = best(lambda: place.fetch(f"{url}#sha256={digest}"), place.clear)
        place.clear()
        process, peak = place.start(f"{url}#sha256={digest}"), {}
        while process.poll() is None:
            peak.update(tree_rss(process.pid))
            time.sleep(0.05)
    (root / "curl.bin").unlink()
    return {
        "curl_s": curl, "sha256sum_s": sha256sum, "ours_s": ours, "ratio": ours / max(curl, sha256sum), "limit": 1.25,
        "peak_rss_mb": [round(size / 1e6) for size in peak.values()], "limit_mb": 80,
    }  # fmt: skip


def resume(root: Path) -> dict[str, Any]:
    folder, place = root / "files", Place(root)
    size = (folder / "big.bin").stat().st_size if (folder / "big.bin").exists() else 0
    if not size:
        size = 1024 * MIB
        write(folder / "big.bin", size)
    with serving(folder, "--rate", str(400 * MIB)) as server:
        process = place.start(f"{server.url}/big.bin")
        while sum(part.stat().st_size for part in place.cache.rglob("*.part")) < 0.9 * size:
            time.sleep(0.005)
        process.kill()
        process.wait()
        time.sleep(0.5)
        before = server.stats()["bytes"]
        place.fetch(f"{server.url}/big.bin")
        again = server.stats()["bytes"] - before
    return {"share_fetched_again": again / size, "limit": 0.15}


def small(root: Path) -> dict[str, Any]:
    folder, place = root / "files", Place(root)
    names = [f"small-{index}.bin" for index in range(200)]
    for name in names:
        write(folder / name, 20_000)
    found: dict[str, Any] = {"at_least": 4}
    for label, delay in (("loopback", "0"), ("with 2 ms of latency", "0.002"), ("with 20 ms of latency", "0.02")):
        with serving(folder, "--delay", delay) as server:
            urls = [f"{server.url}/{name}" for name in names]
            curl = best(functools.partial(curl_each, urls, root / "x"))
            ours = best(lambda: place.fetch(*urls), place.clear)  # noqa: B023  # called here
        found[label] = {"curl_s": curl, "ours_s": ours, "times_faster": curl / ours}
    return found


def limited(root: Path) -> dict[str, Any]:
    folder, place = root / "files", Place(root)
    names = [f"medium-{index}.bin" for index in range(8)]
    for name in names:
        write(folder / name, 64 * MIB)
    with serving(folder, "--rate", str(20 * MIB)) as server:
        urls = [f"{server.url}/{name}" for name in names]
        place.clear()
        one = 8 * timed(lambda: subprocess.run(["curl", "-s", "-o", str(root / "x"), urls[0]], check=True))
        ours = timed(lambda: place.fetch(*urls))
    return {"one_stream_s": one, "ours_s": ours, "times_faster": one / ours, "at_least": 3}


def split(root: Path) -> dict[str, Any]:
    folder, place = root / "files", Place(root)
    size = 256 * MIB
    digest = write(folder / "large.bin", size)
    found: dict[str, Any] = {}
    for label, options in (("20 MiB/s for each connection", ("--rate", str(20 * MIB))), ("no limit", ())):
        with serving(folder, *options) as server:
            url = f"{server.url}/large.bin"
            curl = timed(lambda: subprocess.run(["curl", "-s", "-o", str(root / "x"), url], check=True))  # noqa: B023  # called here
            place.clear()
            before = server.stats()
            process, peak = place.start(f"{url}#sha256={digest}"), {}
            began = time.monotonic()
            while process.poll() is None:
                peak.update(tree_rss(process.pid))
                time.sleep(0.02)
            ours, after = time.monotonic() - began, server.stats()
        found[label] = {
            "curl_s": curl, "ours_s": ours, "times_faster": curl / ours,
            "requests": after["requests"] - before["requests"],
            "bytes_served_per_byte": (after["bytes"] - before["bytes"]) / size,
            "peak_rss_mb": [round(rss / 1e6) for rss in peak.values()],
        }  # fmt: skip
    return found


def twice(root: Path) -> dict[str, Any]:
    folder, place = root / "files", Place(root)
    names = [f"shared-{index}.bin" for index in range(4)]
    for name in names:
        write(folder / name, 32 * MIB)
    place.clear()
    with serving(folder, "--rate", str(100 * MIB)) as server:
        both = [place.start(*(f"{server.url}/{name}" for name in names)) for _ in range(2)]
        assert [process.wait() for process in both] == [0, 0]
        served = server.stats()["bytes"]
    return {"bytes_served_per_byte": served / (4 * 32 * MIB), "limit": 1.0}


def again(root: Path) -> dict[str, Any]:
    folder, place = root / "files", Place(root)
    pins = {f"again-{index}.bin": write(folder / f"again-{index}.bin", 20_000) for index in range(100)}
    place.clear()
    with serving(folder) as server:
        sources = [f"{server.url}/{name}#sha256={digest}" for name, digest in pins.items()]
        place.fetch(*sources)
        before = server.stats()["requests"]
        command = best(lambda: place.fetch(*sources))
        from prepare_models_entrypoint.download.fetch import fetch

        def ask() -> None:
            for name, digest in pins.items():
                fetch(f"{server.url}/{name}", sha256=digest, cache_dir=place.cache, on_progress=lambda _: None)

        seconds = best(ask)
        requests = server.stats()["requests"] - before
    return {"requests": requests, "ms_for_100_files": seconds * 1000, "limit_ms": 50, "whole_command_s": command}


BENCHMARKS = {
    "big": big, "resume": resume, "small": small, "limited": limited, "split": split, "twice": twice, "again": again,
}  # fmt: skip


def main(names: list[str]) -> None:
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            root = Path(folder)
            (root / "files").mkdir()
            print(json.dumps({name: BENCHMARKS[name](root)}, default=str), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
