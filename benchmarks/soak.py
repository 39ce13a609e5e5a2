"""What hundreds of models in one run do to the orchestrator: memory, descriptors, and what is written per model.

Every tenth model fails. Growth counts from the fiftieth model that is finished. ``--check`` fails past a limit.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import limits
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests import networks  # noqa: E402  # after the path to it is set

COMMAND = str(Path(sys.executable).parent / "prepare-models")
SETTLED = 50  # models
FAILS = 10  # one in so many
PAGE = os.sysconf("SC_PAGE_SIZE")
MAX_GROWTH = 10_000_000
MAX_PER_MODEL = {"report_bytes": 12_000, "log_bytes": 4_000, "stderr_bytes": 2_000}


@dataclass(frozen=True)
class Sample:
    """The orchestrator after ``finished`` models: resident bytes, and descriptors."""

    finished: int
    rss: int
    fds: int


def lay_out(folder: Path, count: int) -> Path:
    """Make ``count`` different tiny models, some of which nothing can build, and return their manifest."""
    entries = []
    for index in range(count):
        name = f"model-{index:03}"
        source = folder / f"{name}.onnx"
        networks.unsupported(source) if index % FAILS == FAILS - 1 else networks.conv(source, seed=index)
        entries.append({"name": name, "source": str(source)})
    manifest = folder / "models.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "models": entries}), encoding="utf-8")
    return manifest


def observe(process: subprocess.Popen[bytes], models: Path) -> list[Sample]:
    """Sample a run until it ends, with the number of engines that are there."""
    found, place = [], Path(f"/proc/{process.pid}")
    while process.poll() is None:
        try:
            rss, fds = int((place / "statm").read_text().split()[1]) * PAGE, len(os.listdir(place / "fd"))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            break
        found.append(Sample(len(list(models.glob("model-*"))), rss, fds))
        time.sleep(0.2)
    return found


def measure(folder: Path, count: int) -> limits.Result:
    """Run ``count`` models once."""
    manifest, models, log = lay_out(folder, count), folder / "models", folder / "run.log"
    os.environ["PREPARE_MODELS_CACHE_DIR"] = str(folder / "cache")
    command = [COMMAND, "run", str(manifest), "--models-dir", str(models), "--executor", "local"]
    started = time.perf_counter()
    with log.open("wb") as stderr:
        process = subprocess.Popen([*command, "--log-format", "json"], stdout=subprocess.DEVNULL, stderr=stderr)
        samples = observe(process, models)
    seconds = time.perf_counter() - started
    summary = json.loads((models / "report.json").read_text(encoding="utf-8"))["summary"]
    failed = count // FAILS
    if (summary["built"], summary["failed"]) != (count - failed, failed):
        raise SystemExit(f"not as laid out: {summary}")
    done = max(each.finished for each in samples)
    early = [each for each in samples if each.finished == min(SETTLED, count // 2)]
    late = [each for each in samples if each.finished > early[0].finished]
    logs = sum(file.stat().st_size for file in (folder / "cache" / "logs").rglob("*") if file.is_file())
    return {
        "models": count,
        "seconds": round(seconds, 1),
        "rss_bytes": {str(at): next(e.rss for e in samples if e.finished >= at) for at in range(0, done, SETTLED)},
        "rss_growth_bytes": max(each.rss for each in late) - max(each.rss for each in early),
        "fds": [statistics.median(each.fds for each in part) for part in (early, late)],  # more while a child starts
        "per_model": {
            "report_bytes": (models / "report.json").stat().st_size // count,
            "log_bytes": logs // count,
            "stderr_bytes": log.stat().st_size // count,
        },
    }


def violations(result: limits.Result) -> list[str]:
    """Return what passes a limit."""
    found = [
        f"{name}: {result['per_model'][name]}"
        for name, most in MAX_PER_MODEL.items()
        if result["per_model"][name] > most
    ]
    if result["rss_growth_bytes"] > MAX_GROWTH:
        found.append(f"memory grew by {result['rss_growth_bytes']} bytes")
    if result["fds"][1] > result["fds"][0]:
        found.append(f"descriptors grew from {result['fds'][0]} to {result['fds'][1]}")
    return found


if __name__ == "__main__":
    sys.exit(limits.main(__doc__, measure, violations, ("--models", 300, "models")))
