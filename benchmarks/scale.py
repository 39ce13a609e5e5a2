"""A fleet and its shared store: 10,000 devices, 200 models for 12 targets, and an update of TensorRT.

Every build key changes at once. Build hosts build what the fleet wants most first; each device comes by its timer,
takes what is there, and comes again for the rest. The same seed gives the same numbers. ``--measure`` measures what
single operations cost with this tree, a local S3 server and TensorRT-RTX; ``Assumed`` has what differs from site to
site.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOUR = 3600.0


@dataclass(frozen=True)
class Measured:
    """What ``--measure`` found, see docs/scale.md. Times in seconds.

    requests: to pull one engine from S3, without those for parts of a large one. part: bytes of one of these.
    misses: requests to find that it is not there. extra_bytes: entry and record of it.
    restore_s: to publish one engine that is in the local store. push_s: to put one there, without its bytes.
    """

    requests: int = 5
    part: int = 5 << 20
    misses: int = 1
    extra_bytes: int = 6_801
    restore_s: float = 0.107
    push_s: float = 0.053


@dataclass(frozen=True)
class Assumed:
    """What is assumed. Times in seconds, sizes in bytes.

    per_device: models that a device runs. popularity, spread: exponents of Zipf's law, for models and targets.
    engine_bytes, build_s: medians of log-normal distributions. sigma: of both. timer_s: between two provisionings.
    bytes_per_s: ``--bandwidth`` of a device. round_trip_s: to the store.
    """

    devices: int = 10_000
    models: int = 200
    targets: int = 12
    per_device: int = 20
    popularity: float = 1.0
    spread: float = 0.7
    engine_bytes: float = 20e6
    build_s: float = 300.0
    sigma: float = 0.8
    timer_s: float = HOUR
    jitter_s: float = 600.0
    same_minute: bool = False
    bytes_per_s: float = 2 * 2.0**20
    round_trip_s: float = 0.05


@dataclass(frozen=True)
class Result:
    """What came of it. Times in seconds after the update; traffic by minutes."""

    last_built: float
    converged: list[float]
    pulled_bytes: float
    requests: int
    peak_bytes_per_s: float
    peak_requests_per_s: float

    def at(self, share: float) -> float:
        """Return when a share of the devices had all their engines."""
        return self.converged[min(len(self.converged) - 1, int(share * len(self.converged)))]


class Fleet:
    """Devices, what they want, and what it costs to build that."""

    def __init__(self, assumed: Assumed, seed: int = 18) -> None:
        self.assumed = assumed
        dice = random.Random(seed)  # a simulation
        popular = [1 / (1 + rank) ** assumed.popularity for rank in range(assumed.models)]
        common = [1 / (1 + rank) ** assumed.spread for rank in range(assumed.targets)]
        self.size = [assumed.engine_bytes * dice.lognormvariate(0, assumed.sigma) for _ in popular]
        self.build = [assumed.build_s * dice.lognormvariate(0, assumed.sigma) for _ in popular]
        self.target = dice.choices(range(assumed.targets), common, k=assumed.devices)
        self.wanted = [sorted(_some(dice, popular, assumed.per_device)) for _ in self.target]
        self.phase = [0.0 if assumed.same_minute else dice.uniform(0, assumed.timer_s) for _ in self.target]
        self.dice = dice

    def built(self, hosts: int, push_s: float) -> dict[tuple[int, int], float]:
        """Return when each (target, model) is in the store. ``hosts``: of each target; the most wanted goes first."""
        demand: dict[tuple[int, int], int] = {}
        for target, models in zip(self.target, self.wanted, strict=True):
            for model in models:
                demand[target, model] = demand.get((target, model), 0) + 1
        ready: dict[tuple[int, int], float] = {}
        for target in range(self.assumed.targets):
            free = [0.0] * hosts
            pairs = [(target, model) for model in range(self.assumed.models)]
            for pair in sorted(pairs, key=lambda pair: -demand.get(pair, 0)):
                ready[pair] = heapq.heappop(free) + self.build[pair[1]] + push_s
                heapq.heappush(free, ready[pair])
        return ready


def _some(dice: random.Random, weights: list[float], count: int) -> set[int]:
    """Return so many different ranks, the heavy ones rather than others."""
    keys = {rank: dice.random() ** (1 / weight) for rank, weight in enumerate(weights)}
    return set(heapq.nlargest(count, keys, key=lambda rank: keys[rank]))


def simulate(fleet: Fleet, measured: Measured, hosts: int) -> Result:
    """Return what becomes of an update with so many build hosts for each target."""
    assumed, ready = fleet.assumed, fleet.built(hosts, measured.push_s)
    traffic: dict[int, float] = {}
    asked: dict[int, int] = {}
    converged = []
    pulled, requests = 0.0, 0
    for target, models, phase in zip(fleet.target, fleet.wanted, fleet.phase, strict=True):
        missing, timer, now = list(models), phase, 0.0
        while missing:
            now = max(now, timer + fleet.dice.uniform(0, assumed.jitter_s))
            begun, later = now, []
            for model in missing:
                there = ready[target, model] <= now
                count = measured.requests + int(fleet.size[model]) // measured.part if there else measured.misses
                requests, asked[int(now // 60)] = requests + count, asked.get(int(now // 60), 0) + count
                now += count * assumed.round_trip_s
                if not there:
                    later.append(model)
                    continue
                size = fleet.size[model] + measured.extra_bytes
                pulled += size
                _spread(traffic, now, size, assumed.bytes_per_s)
                now += size / assumed.bytes_per_s + measured.restore_s
            missing = later
            timer = max(timer + assumed.timer_s, begun)
        converged.append(now)
    peak = max(traffic.values()) / 60
    return Result(max(ready.values()), sorted(converged), pulled, requests, peak, max(asked.values()) / 60)


def _spread(traffic: dict[int, float], now: float, size: float, rate: float) -> None:
    """Note the bytes of a pull in the minutes that it takes."""
    while size > 0:
        minute = int(now // 60)
        part = min(size, max(((minute + 1) * 60 - now) * rate, 1.0))
        traffic[minute] = traffic.get(minute, 0.0) + part
        now, size = max((minute + 1) * 60.0, now), size - part


def tables(measured: Measured) -> Iterator[str]:
    """Yield what docs/scale.md shows."""
    assumed = Assumed()
    fleet = Fleet(assumed)
    whole = sum(fleet.build) * assumed.targets
    alone = sum(fleet.build[model] for models in fleet.wanted for model in models)
    largest = max(sum(fleet.build[model] for model in models) for models in fleet.wanted)
    yield f"engines {assumed.models * assumed.targets}, {sum(fleet.size) * assumed.targets / 1e9:.0f} GB"
    yield f"to build each once: {whole / HOUR:.0f} hours of machines"
    yield f"to build on every device: {alone / HOUR:.0f} hours of machines, the last after {largest / HOUR:.1f} hours"
    yield ""
    yield "hosts of each target  last engine  50 %    95 %    all     peak       peak       pulled  requests"
    for hosts in (1, 2, 4, 8):
        yield _line(f"{hosts} ({hosts * assumed.targets} in all)", simulate(fleet, measured, hosts))
    yield ""
    yield "4 hosts of each target, and devices that"
    for label, changed in (
        ("come in the same minute", replace(assumed, same_minute=True, jitter_s=0.0)),
        ("do so, with --jitter 3600", replace(assumed, same_minute=True, jitter_s=HOUR)),
        ("pull with 16 MiB/s", replace(assumed, bytes_per_s=2.0**24)),
        ("come once a day", replace(assumed, timer_s=24 * HOUR)),
    ):
        yield _line(f"  {label}", simulate(Fleet(changed), measured, 4))


def _line(label: str, of: Result) -> str:
    hours = "  ".join(f"{each / HOUR:4.1f} h" for each in (of.last_built, of.at(0.5), of.at(0.95), of.at(1.0)))
    peaks = f"{of.peak_bytes_per_s * 8 / 1e9:5.1f} Gbit/s  {of.peak_requests_per_s:5.0f} /s"
    return f"{label:27}{hours}  {peaks}  {of.pulled_bytes / 1e12:.1f} TB  {of.requests / 1e6:.1f} M"


def measure(rounds: int) -> Iterator[tuple[str, str]]:
    """Yield what single operations cost here, the best of some rounds."""
    sys.path.insert(0, str(ROOT))
    from tests.farm.store_server import BUCKET, s3
    from tests.farm.test_shared_store import built

    from prepare_models.store.local import open_store
    from prepare_models.store.shared import SharedStore
    from prepare_models_entrypoint.contract.files import sha256_file

    with s3() as server, tempfile.TemporaryDirectory() as folder:
        os.environ.update(server.variables)
        os.environ["PREPARE_MODELS_CACHE_DIR"] = f"{folder}/cache"
        entry, shared, store = built(Path(folder) / "host"), SharedStore(server.url), open_store()
        keys = [f"{number:064x}" for number in range(1000)]
        content = b"{}"
        server.files().pipe({f"{BUCKET}/site/engines/{key}.json": content for key in keys[::2]})
        yield "lookup of 1,000 keys, 500 of them there", _best(rounds, lambda: shared.keys() & set(keys))
        yield "push of an engine", _best(rounds, lambda: shared.push(entry, replace=True))
        locked = {entry.key: sha256_file(entry.plan)}
        yield "pull of an engine", _best(rounds, lambda: shared.pull(entry.key, store, locked=locked))
        calls: dict[str, Callable[[], object]] = {
            "pull": lambda: shared.pull(entry.key, store, locked=locked),
            "miss": lambda: shared.pull("f" * 64, store),
        }
        for what, call in calls.items():
            before = server.requests
            call()
            yield f"requests of a {what}", str(server.requests - before)
        record = shared.offers([entry.key])[entry.key].files["record.json"]
        places = (f"{BUCKET}/site/engines/{entry.key}.json", f"{BUCKET}/site/objects/{record}")
        yield "bytes of an entry and a record", str(sum(server.files().info(place)["size"] for place in places))
    yield from _runs(rounds)


def _runs(rounds: int) -> Iterator[tuple[str, str]]:
    """Yield what building and restoring cost through ``run``, the start of the process left out."""
    from tests.command import Workplace

    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder))
        shutil.copy(ROOT / "examples/quickstart/model.onnx", place.folder / "net.onnx")
        seconds: dict[int, list[float]] = {1: [], 41: []}
        place.write({"name": "net0", "source": "net.onnx", "precision": "fp16"})
        built = place.run().model("net0")
        yield "build of the quickstart's network, fp16", f"{sum(stage['seconds'] for stage in built['stages']):.1f} s"
        for count, _ in itertools.product(seconds, range(rounds)):
            shutil.rmtree(place.models_dir)
            place.write(*({"name": f"net{n}", "source": "net.onnx", "precision": "fp16"} for n in range(count)))
            started = time.monotonic()
            assert place.run().report["summary"]["restored"] == count
            seconds[count].append(time.monotonic() - started)
        yield "restore of an engine", f"{(min(seconds[41]) - min(seconds[1])) / 40 * 1000:.0f} ms"


def _best(rounds: int, call: Callable[[], object]) -> str:
    found = []
    for _ in range(rounds):
        started = time.monotonic()
        call()
        found.append(time.monotonic() - started)
    return f"{min(found) * 1000:.0f} ms (median {statistics.median(found) * 1000:.0f})"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--measure", action="store_true", help="measure what operations cost, too")
    arguments.add_argument("--rounds", type=int, default=7, help="the best of so many counts")
    given = arguments.parse_args()
    for what, cost in measure(given.rounds) if given.measure else ():
        print(f"{what:42} {cost}", flush=True)
    for line in tables(Measured()) if not given.measure else ():
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
