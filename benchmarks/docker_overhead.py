"""What the orchestrator costs over ``docker run`` by hand: the same image, entrypoint and jobs, in one session.

Needs a daemon (DOCKER_HOST) with the image: ``prepare-models image build`` first. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import networks
import onnx

COMMAND = str(Path(sys.executable).parent / "prepare-models")
MODELS = 8


def main() -> int:
    """Measure in turns, so that other work on the machine affects all alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True, help="the image, as prepare-models image list names it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=sorted(networks.NETWORKS), default="small")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pm-bench-") as name:
        bench = Bench(Path(name), arguments.image, arguments.network)
        times: dict[str, list[float]] = {"by_hand": [], "jobs_1": [], "jobs_2": []}
        bench.by_hand()  # fills the page cache for all
        for _ in range(arguments.rounds):
            times["by_hand"].append(bench.by_hand())
            times["jobs_1"].append(bench.tool("--jobs", "1"))
            times["jobs_2"].append(bench.tool("--jobs", "2"))
    medians = {key: statistics.median(values) for key, values in times.items()}
    result = {
        "models": MODELS,
        "cpus": os.cpu_count(),
        "seconds": {key: [round(value, 3) for value in values] for key, values in times.items()},
        "overhead_per_model_s": round((medians["jobs_1"] - medians["by_hand"]) / MODELS, 3),
        "jobs_2_speedup": round(medians["jobs_1"] / medians["jobs_2"], 2),
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


class Bench:
    """Eight models, once as a manifest and once as jobs for the entrypoint."""

    def __init__(self, folder: Path, image: str, network: str) -> None:
        self.folder, self.image = folder, image
        self.names = [f"model-{number}" for number in range(MODELS)]
        networks.NETWORKS[network](folder / "model.onnx")
        model = onnx.load(folder / "model.onnx")
        for name in self.names:  # each with its own bytes, or one engine would serve all
            model.producer_name = name
            onnx.save(model, folder / f"{name}.onnx")
        lines = [f"  - {{name: {name}, source: {name}.onnx}}" for name in self.names]
        (folder / "models.yaml").write_text("version: 1\nmodels:\n" + "\n".join(lines) + "\n", encoding="utf-8")

    def tool(self, *options: str) -> float:
        """Return the seconds of one run of the tool over all models."""
        models, cache = self._fresh("tool"), self._fresh("cache")
        command = [COMMAND, "run", "models.yaml", "--models-dir", str(models), "--executor", "docker", "-q", *options]
        environment = {**os.environ, "PREPARE_MODELS_CACHE_DIR": str(cache)}
        started = time.monotonic()
        subprocess.run(command, cwd=self.folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - started

    def by_hand(self) -> float:
        """Return the seconds of ``docker run`` for each model, one after another."""
        commands = [self._docker_run(name, self._fresh(f"hand-{name}")) for name in self.names]
        started = time.monotonic()
        for command in commands:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - started

    def _docker_run(self, name: str, folder: Path) -> list[str]:
        for part in ("job", "out", "cache", "models"):
            (folder / part).mkdir()
        model = {"name": name, "source": str(self.folder / f"{name}.onnx"), "output_dir": "/models/" + name,
                 "deploy_dir": "/models/" + name, "precision": "fp32", "converter": "auto"}  # fmt: skip
        job = {"contract": 1, "run_id": "bench", "models": [model], "cache_dir": "/cache",
               "stages": ["fetch", "convert", "inspect"]}  # fmt: skip
        (folder / "job" / "job.json").write_text(json.dumps(job), encoding="utf-8")
        binds = [f"{folder / part}:/{part}" for part in ("job", "out", "cache", "models")]
        binds.append(f"{self.folder / name}.onnx:{self.folder / name}.onnx:ro")
        options = [word for bind in binds for word in ("-v", bind)]
        user = f"{os.getuid()}:{os.getgid()}"
        entrypoint = ["run", "/job/job.json", "/out"]
        return ["docker", "run", "--rm", "--network", "none", "--user", user, *options, self.image, *entrypoint]

    def _fresh(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


if __name__ == "__main__":
    sys.exit(main())
