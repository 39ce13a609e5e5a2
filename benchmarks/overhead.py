"""What ``prepare-models run`` costs over a bare TensorRT-RTX script that parses, builds and writes the same model.

Wall time and peak memory as ratios, both measured in this run, alternating. ``--check`` fails if a limit is exceeded.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import limits
from networks import NETWORKS

BARE = str(Path(__file__).with_name("bare.py"))
COMMAND = str(Path(sys.executable).parent / "prepare-models")
PLAN_MAGIC = b"vtrt"


@dataclass(frozen=True)
class Measured:
    """Wall seconds, and peak resident bytes of the largest process among the started one and its descendants."""

    seconds: float
    peak_bytes: int


def measure(argv: list[str], environment: dict[str, str], *, afresh: Path | None = None) -> Measured:
    """Run a command, which must succeed, after removing an earlier one's output ``afresh``."""
    if afresh is not None:
        shutil.rmtree(afresh, ignore_errors=True)
        afresh.mkdir()
    os.sync()  # otherwise an earlier command's unwritten data would count towards this one's fsync
    started = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{argv[0]} ended with {process.returncode}")
    return Measured(seconds, usage.ru_maxrss * 1024)


def orchestrator_rss(argv: list[str], environment: dict[str, str]) -> int:
    """Return the peak resident bytes of only the orchestrator."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            break
        peak = max([peak, *(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.005)
    process.wait()
    return peak


def compare(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Measure one network both ways, ``rounds`` times alternating."""
    model, plan = folder / f"{name}.onnx", folder / "bare" / f"{name}.plan"
    NETWORKS[name](model)
    manifest = folder / f"{name}.yaml"
    manifest.write_text(f"version: 1\nmodels:\n  - name: {name}\n    source: {model.name}\n", encoding="utf-8")
    environment = {**os.environ, "PREPARE_MODELS_CACHE_DIR": str(folder / "cache")}
    models = folder / "models"
    run = [COMMAND, "run", str(manifest), "--models-dir", str(models), "--executor", "local", "--force", "--quiet"]
    bare = [sys.executable, BARE, str(model), str(plan)]
    pairs = [
        (measure(bare, environment, afresh=plan.parent), measure(run, environment, afresh=models))
        for _ in range(rounds + 1)
    ][1:]  # the first warms up
    ours = (models / name / "1" / "model.plan").read_bytes()
    if ours != plan.read_bytes() or not ours.startswith(PLAN_MAGIC):
        raise SystemExit(f"{name}: the two engines differ")
    base, tool = (statistics.median(pair[side].seconds for pair in pairs) for side in (0, 1))
    base_peak, tool_peak = (statistics.median(pair[side].peak_bytes for pair in pairs) for side in (0, 1))
    return {
        "network": name,
        "model_mb": round(model.stat().st_size / 1e6, 1),
        "bare_s": round(base, 3),
        "run_s": round(tool, 3),
        "wall_ratio": round(statistics.median(ours.seconds / base.seconds for base, ours in pairs), 3),
        "wall_added_s": round(tool - base, 3),
        "peak_ratio": round(tool_peak / base_peak, 3),
        "orchestrator_rss_mb": round(orchestrator_rss(run, environment) / 1e6, 1),
    }


def help_cost(rounds: int = 15) -> float:
    """Return the seconds that ``--help`` takes over ``python -c pass``: the median of the differences."""
    environment = dict(os.environ)
    pairs = [
        (measure([sys.executable, "-c", "pass"], environment), measure([COMMAND, "--help"], environment))
        for _ in range(rounds)
    ]
    return round(statistics.median(ours.seconds - bare.seconds for bare, ours in pairs), 3)


def measure_all(folder: Path, rounds: int) -> limits.Result:
    """Measure every network, and the cost of a command that does nothing."""
    networks = [compare(name, folder, rounds) for name in NETWORKS]
    return {"networks": networks, "help_over_python_s": help_cost()}


def violations(result: limits.Result) -> list[str]:
    """Return what exceeds a limit."""
    help_s, results = result["help_over_python_s"], result["networks"]
    found = [f"--help costs {help_s} s, limit 0.15"] if help_s > 0.15 else []
    for network in results:
        name = network["network"]
        if name == "vit" and network["wall_ratio"] > 1.10:
            found.append(f"{name}: wall {network['wall_ratio']}x, limit 1.10x")
        if name == "small" and network["wall_added_s"] > 0.45:
            found.append(f"{name}: {network['wall_added_s']} s more, limit 0.45")
        if network["peak_ratio"] > 1.15:
            found.append(f"{name}: peak memory {network['peak_ratio']}x, limit 1.15x")
        if network["orchestrator_rss_mb"] > 60:
            found.append(f"{name}: orchestrator {network['orchestrator_rss_mb']} MB, limit 60")
    return found


if __name__ == "__main__":
    sys.exit(limits.main(__doc__, measure_all, violations))
