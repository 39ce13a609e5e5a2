"""What a run with nothing to do costs: wall time of 100 models, cost per model up to 2,000, and what it starts.

An audit hook counts processes, sockets and host names: a warm run needs none. In containers it asks the container
engine once which image a name means, and never for an image given by id. A double of the container engine answers here,
whose image describes itself like this Python. ``--check`` fails if a limit is exceeded.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import limits
import yaml
from networks import NETWORKS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.doubles.image_engine import ImageEngine  # noqa: E402  # after the path to it is set

from prepare_models.executors.local import LocalPython  # noqa: E402  # after the path to it is set
from prepare_models.machine import environments, platforms  # noqa: E402  # after the path to it is set

COMMAND = str(Path(sys.executable).parent / "prepare-models")
SIZES = (1, 100, 2000)
IMAGE_ID = f"sha256:{'1' * 64}"
ONE_QUESTION = {"socket.__new__": 1, "socket.connect": 1}

# Runs the command, counting every event that starts a process or uses a network.
AUDITED = """
import json, os, sys
seen = {}
def hook(event, arguments):
    if event.partition(".")[0] in ("subprocess", "socket") or event in (
        "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "os.spawn", "pty.spawn"
    ):
        seen[event] = seen.get(event, 0) + 1
sys.addaudithook(hook)
from prepare_models.__main__ import main
status = main(sys.argv[2:])
open(sys.argv[1], "w").write(json.dumps(seen))
sys.exit(status)
"""


def lay_out(folder: Path, count: int) -> list[str]:
    """Create ``count`` models, each with its own source and engine, and return the command that finds them good.

    One engine is really built. The others are copies of it under their own names, with everything that a run looks at.
    """
    manifest, models = folder / f"{count}.yaml", folder / f"models-{count}"
    sources = folder / "sources"
    names = [f"model-{index:04}" for index in range(count)]
    entries = [{"name": name, "source": str(sources / f"{name}.onnx"), "precision": "fp32"} for name in names]
    manifest.write_text(yaml.safe_dump({"version": 1, "models": entries}), encoding="utf-8")
    for name in names[1:]:
        if not (sources / f"{name}.onnx").exists():
            shutil.copyfile(sources / f"{names[0]}.onnx", sources / f"{name}.onnx")
    command = [COMMAND, "run", str(manifest), "--models-dir", str(models), "--executor", "local"]
    subprocess.run([*command, names[0]], check=True, capture_output=True)
    for name in names[1:]:
        shutil.copytree(models / names[0], models / name, copy_function=os.link)
        (models / name / "report.json").unlink()
        report = json.loads((models / names[0] / "report.json").read_text(encoding="utf-8"))
        report["name"], report["engine"]["path"] = name, str(models / name / "1" / "model.plan")
        (models / name / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return command


def wall(command: list[str]) -> float:
    """Run a command, which must succeed, and return its wall time in seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def all_good(command: list[str], count: int) -> None:
    """Run once, so that digests are remembered, and check that nothing was left to do."""
    summary = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)["summary"]
    if summary["up-to-date"] != count:
        raise SystemExit(f"not warm: {summary}")


def audit(command: list[str], folder: Path) -> dict[str, int]:
    """Return how often a run started a process or used a network, by name of event."""
    seen = folder / "seen.json"
    subprocess.run([sys.executable, "-c", AUDITED, str(seen), *command[1:]], check=True, capture_output=True)
    found: dict[str, int] = json.loads(seen.read_text(encoding="utf-8"))
    return found


@contextlib.contextmanager
def containers(folder: Path) -> Iterator[dict[str, list[str]]]:
    """Yield the options of a run in containers, by name and id of its image; a container engine answers meanwhile."""
    platform = platforms.named("rtx")
    runtime = LocalPython().describe()
    environments.remember(environments.image_facts(IMAGE_ID, environments.this_machine(), "none"), runtime)
    os.environ["DOCKER_HOST"] = f"unix://{folder}/engine.sock"
    by_name = ["--executor", "docker", "--platform", platform.name]
    with ImageEngine(folder / "engine.sock", platform.image, IMAGE_ID):
        yield {"by_name": by_name, "by_id": [*by_name, "--image", IMAGE_ID]}


def in_containers(command: list[str], folder: Path, rounds: int) -> limits.Result:
    """Measure a run whose models were built in containers."""
    with containers(folder) as ways:
        commands = {way: [*command[:-2], *options] for way, options in ways.items()}
        for each in commands.values():
            all_good(each, SIZES[1])
        seconds = min(wall(commands["by_name"]) for _ in range(rounds))
        asked = {way: audit(each, folder) for way, each in commands.items()}
    return {"wall_s": round(seconds, 3), "started_or_asked": asked}


def measure(folder: Path, rounds: int) -> limits.Result:
    """Measure every size, alternating, and return the shortest times, which are the least disturbed."""
    os.environ["PREPARE_MODELS_CACHE_DIR"] = str(folder / "cache")
    (folder / "sources").mkdir()
    NETWORKS["small"](folder / "sources" / "model-0000.onnx")
    commands = {count: lay_out(folder, count) for count in SIZES}
    time.sleep(0.1)  # digests of files that changed within a tick of the clock are not remembered
    for count, command in commands.items():
        all_good(command, count)
    times = [{count: wall(command) for count, command in commands.items()} for _ in range(rounds)]
    seconds = {count: min(each[count] for each in times) for count in SIZES}
    each = {count: (seconds[count] - seconds[1]) / (count - 1) for count in SIZES[1:]}
    return {
        "wall_s": {str(count): round(value, 3) for count, value in seconds.items()},
        "per_model_ms": {str(count): round(value * 1000, 3) for count, value in each.items()},
        "per_model_ratio": round(each[SIZES[2]] / each[SIZES[1]], 2),
        "started_or_asked": audit(commands[SIZES[1]], folder),
        "in_containers": in_containers(commands[SIZES[1]], folder, rounds),
    }


def violations(result: limits.Result) -> list[str]:
    """Return what exceeds a limit."""
    found = []
    if result["wall_s"]["100"] > 0.5:
        found.append(f"100 models take {result['wall_s']['100']} s, limit 0.5")
    if result["per_model_ratio"] > 1.5:
        found.append(f"a model among 2,000 costs {result['per_model_ratio']} times one among 100, limit 1.5")
    if result["started_or_asked"]:
        found.append(f"a warm run starts or asks something: {result['started_or_asked']}")
    docker = result["in_containers"]
    if docker["wall_s"] > 0.5:
        found.append(f"100 models in containers take {docker['wall_s']} s, limit 0.5")
    if docker["started_or_asked"] != {"by_name": ONE_QUESTION, "by_id": {}}:
        found.append(f"a warm run in containers starts or asks more: {docker['started_or_asked']}")
    return found


if __name__ == "__main__":
    sys.exit(limits.main(__doc__, measure, violations))
