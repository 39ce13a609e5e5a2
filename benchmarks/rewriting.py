"""What rewriting to fp16 and measuring ranges cost, as ratios over baselines of the same run.

Rewriting (read, fold, retype, check, write) is compared with ``onnx.load`` and ``onnx.save`` of the same file, its peak
memory with the model's size, and measuring ranges with one run of the model in ONNX Runtime without optimizations.
Limits in seconds are CPU time, as the machine may be busy. ``--check`` fails if a limit is exceeded.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import limits
import networks
import numpy as np

LIMITS = {"resnet_100mb": 0.5, "normalized_350mb": 2.0, "vit_350mb": 2.0}  # seconds
PEAK_LIMIT = 2.5  # times the model's size
RUNS_LIMIT = 3  # of the source model, for its ranges


def resnet_100mb(path: Path) -> None:
    """Write 43 convolutions with batch normalization."""
    normalized(path, 100, 256)


def normalized_350mb(path: Path) -> None:
    """Write 38 larger ones."""
    normalized(path, 350, 512)


def normalized(path: Path, megabytes: int, width: int) -> None:
    """Write convolutions, each with a batch normalization and a ReLU."""
    graph, random = networks.Graph(seed=4), np.random.default_rng(0)
    weight, bias = graph.weight(width, 3, 7, 7), graph.weight(width)
    x = graph.node("Conv", "input", weight, bias, pads=[3] * 4, strides=[2, 2])
    for _ in range(-(-megabytes * 1_000_000 // (width * width * 9 * 4))):
        x = graph.node("Conv", x, graph.weight(width, width, 3, 3), graph.weight(width), pads=[1] * 4)
        x = graph.node(
            "BatchNormalization", x, *(graph.constant(random.random(width, np.float32) + 0.5) for _ in "gbmv")
        )
        x = graph.node("Relu", x)
    graph.save(path, [1, 3, 64, 64], "output")


NETWORKS: dict[str, Callable[[Path], None]] = {
    "resnet_100mb": resnet_100mb, "normalized_350mb": normalized_350mb, "vit_350mb": networks.vit,
}  # fmt: skip


def measure(folder: Path, rounds: int) -> limits.Result:
    """Return the numbers of each network."""
    result: limits.Result = {}
    for name, write in NETWORKS.items():
        write(folder / "model.onnx")
        size = (folder / "model.onnx").stat().st_size
        rows = {step: [child(step, folder) for _ in range(rounds)] for step in ("baseline", "rewriting", "ranges")}
        seconds = {step: statistics.median(row["seconds"] for row in found) for step, found in rows.items()}
        result[name] = {
            "megabytes": size // 10**6,
            "rewriting_s": round(seconds["rewriting"], 2),
            "rewriting_cpu_s": round(min(row["cpu"] for row in rows["rewriting"]), 2),
            "rewriting_over_load_and_save": round(seconds["rewriting"] / seconds["baseline"], 2),
            "peak_over_size": round(max(row["peak"] for row in rows["rewriting"]) / size, 2),
            "runs_for_ranges": rows["ranges"][0]["runs"],
            "ranges_over_one_run": round(statistics.median(row["ratio"] for row in rows["ranges"]), 1),
        }
    return result


def child(step: str, folder: Path) -> dict[str, Any]:
    """Run a step in a separate process, and return its seconds and peak memory in bytes."""
    done = subprocess.run([sys.executable, __file__, step, str(folder)], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def violations(result: limits.Result) -> list[str]:
    """Return what exceeds a limit."""
    found = []
    for name, row in result.items():
        if row["rewriting_cpu_s"] > LIMITS[name]:
            found.append(f"{name}: rewritten in {row['rewriting_cpu_s']} s of one processor, limit {LIMITS[name]}")
        if row["peak_over_size"] > PEAK_LIMIT:
            found.append(f"{name}: {row['peak_over_size']} times the model's size in memory, limit {PEAK_LIMIT}")
        if row["runs_for_ranges"] > RUNS_LIMIT:
            found.append(f"{name}: {row['runs_for_ranges']} runs of the model, limit {RUNS_LIMIT}")
    return found


def alone(step: str, folder: Path) -> None:
    """Run a step, and print its cost."""
    started, used = time.perf_counter(), time.process_time()
    more = {"baseline": load_and_save, "rewriting": rewrite, "ranges": ranges}[step](folder)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, **more}))


def load_and_save(folder: Path) -> dict[str, Any]:
    """Read and write a model unchanged."""
    import onnx

    onnx.save(onnx.load(str(folder / "model.onnx")), str(folder / "copy.onnx"))
    return {}


def rewrite(folder: Path) -> dict[str, Any]:
    """Write a model in fp16."""
    from prepare_models_entrypoint.onnx_graph import affine, faults, model_file, prepare, retype

    model = prepare.prepare(model_file.load(folder / "model.onnx"))
    affine.fold(model)
    narrow = retype.retype(model, "fp16").model
    faults.of(narrow)
    model_file.save(narrow, folder / "copy.onnx")
    return {}


def ranges(folder: Path) -> dict[str, Any]:
    """Measure the ranges of a model on two samples, and the time of as many runs of the source."""
    from prepare_models_entrypoint.contract.verification import VerifyConfig
    from prepare_models_entrypoint.onnx_graph import affine, model_file, prepare
    from prepare_models_entrypoint.onnx_graph.segments import Segments
    from prepare_models_entrypoint.verify.judging import judge
    from prepare_models_entrypoint.verify.ranges import Source, measure

    model = prepare.prepare(model_file.load(folder / "model.onnx"))
    affine.fold(model)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    random = np.random.default_rng(0)
    feeds = [{"input": random.random(shape, np.float32)} for _ in range(2)]
    started = time.perf_counter()
    source = Segments(model)
    for feed in feeds:
        source.run(feed)
    plain = (time.perf_counter() - started) / len(feeds)
    started = time.perf_counter()
    found = measure(Source(model, feeds), "fp16", judge(VerifyConfig(), "fp16"))
    return {"runs": found.runs, "ratio": (time.perf_counter() - started) / plain}


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in {"baseline", "rewriting", "ranges"}:
        alone(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(limits.main(__doc__, measure, violations))
