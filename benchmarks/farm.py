"""What a farm costs and gains: two workers against one on CPU-bound builds, and 1,000 tasks that do nothing.

Each worker has a core of its own: a build would use the other's, too.

Run it in the environment of ``nox -s farm``, on a machine that is free: python benchmarks/farm.py
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import networks  # after the path to it is set
from tests.farm.processes import Farm, farm  # after the path to it is set

from prepare_models.executors.options import FarmOptions  # after the path to it is set
from prepare_models.farm.cluster import Cluster, Want  # after the path to it is set

BUILDS, TASKS, THREADS = 8, 1000, 128
CLASS = "bench"


def nothing(order: int) -> int:
    return order


def builds_s(site: Farm, client: str) -> float:
    """Return the seconds from the first build to the end of the last, without the client's start."""
    started: list[float] = []
    run = site.run(client)
    run.until(lambda text: '"on ' in text)
    started.append(time.monotonic())
    assert run.wait() == 0, run.text()
    return time.monotonic() - started[0]


def task_ms(site: Farm) -> list[float]:
    """Return the milliseconds of a task that does nothing, three times."""
    cluster, found = Cluster(FarmOptions(site.address)), []
    for turn in range(3):
        start = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            wants = [Want(f"nothing-{turn}-{index}", CLASS, -index) for index in range(TASKS)]
            assert list(pool.map(lambda want: cluster.perform(nothing, 1, want, print), wants)) == [1] * TASKS
        found.append((time.monotonic() - start) / TASKS * 1000)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="farm-") as name, farm(Path(name), f"file://{name}/store") as site:
        folder = Path(name)
        times: dict[int, float] = {}
        for workers in (1, 2):
            cores = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {sorted(cores)[workers - 1]})  # the worker inherits it
            site.worker(f"w{workers}", "--target", CLASS)
            os.sched_setaffinity(0, cores)
            site.ready()
            models = []
            for index in range(BUILDS):
                model = f"net{workers}-{index}"
                networks.heavy(folder / f"{model}.onnx", layers=60 + workers + 2 * index)
                models.append({"name": model, "source": f"{model}.onnx"})
            site.manifest(*models, targets={"t": CLASS})
            times[workers] = builds_s(site, f"client{workers}")
        sys.stdout.write(f"{BUILDS} builds: 1 worker {times[1]:.1f} s, 2 workers {times[2]:.1f} s\n")
        sys.stdout.write(f"ratio {times[1] / times[2]:.2f}\n")
        sys.stdout.write(f"a task that does nothing: {statistics.median(task_ms(site)):.1f} ms, median of 3\n")


if __name__ == "__main__":
    main()
