"""What a farm costs and gains: two workers against one on CPU-bound builds, and 1,000 tasks that do nothing.

Run it in the environment of ``nox -s farm``, on a machine that is free: python benchmarks/farm.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import networks  # beside this file
from tests.farm.processes import Farm, farm  # after the path to it is set

from prepare_models.farm.cluster import Cluster, Want  # after the path to it is set
from prepare_models.options import FarmOptions

BUILDS, TASKS, THREADS = 6, 1000, 128
ONE, TWO = "one-worker", "two-workers"  # device classes


def nothing(order: int) -> int:
    return order


def builds_s(site: Farm, device: str, seed: int) -> float:
    """Return the seconds from the first build to the end of the last, without the client's start."""
    models = []
    for number in range(seed, seed + BUILDS):
        networks.deep(site.folder / f"net{number}.onnx", seed=number)
        models.append({"name": f"net{number}", "source": f"net{number}.onnx"})
    site.manifest(*models, targets={"t": device})
    run = site.run(f"client{seed}")
    run.until(lambda text: '"on ' in text)
    started = time.monotonic()
    assert run.wait() == 0, run.text()
    return time.monotonic() - started


def task_ms(site: Farm) -> list[float]:
    """Return the milliseconds of a task that does nothing, three times."""
    cluster, found = Cluster(FarmOptions(site.address)), []
    for turn in range(3):
        start = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            wants = [Want(f"nothing-{turn}-{index}", ONE, -index) for index in range(TASKS)]
            assert list(pool.map(lambda want: cluster.perform(nothing, 1, want, print), wants)) == [1] * TASKS
        found.append((time.monotonic() - start) / TASKS * 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="farm-") as name, farm(Path(name), f"file://{name}/store") as site:
        for worker, device in (("a", ONE), ("b", TWO), ("c", TWO)):
            site.worker(worker, "--target", device)
        site.ready()
        ratios = []
        for turn in range(rounds):
            one, two = (builds_s(site, device, 10 * (2 * turn + half)) for half, device in enumerate((ONE, TWO)))
            ratios.append(one / two)
            sys.stdout.write(
                f"{BUILDS} builds on {len(os.sched_getaffinity(0))} cores at load {os.getloadavg()[0]:.1f}: "
                f"1 worker {one:.1f} s, 2 workers {two:.1f} s, ratio {ratios[-1]:.2f}\n"
            )
        sys.stdout.write(f"ratio {statistics.median(ratios):.2f}, median of {rounds}\n")
        sys.stdout.write(f"a task that does nothing: {statistics.median(task_ms(site)):.1f} ms, median of 3\n")


if __name__ == "__main__":
    main()
