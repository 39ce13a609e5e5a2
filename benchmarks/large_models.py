"""A model over 2 GiB through the tool: peak memory over its size, wall time over that of hashing its bytes.

Its weights, different in each layer, are next to it: in one file, behind a hard link, behind symbolic links as in
Hugging Face's cache, and in shards. ``--check`` fails if a limit is exceeded. It takes 8 GiB of disk and memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import limits

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import layouts  # after its path is set
from tests.command import Workplace  # after its path is set

from prepare_models_entrypoint.contract import external_data  # after its path is set
from prepare_models_entrypoint.onnx_graph import calibration_cache, graph, model_file

WIDTH, LAYERS = 4096, 36  # 2.25 GiB
PEAK_LIMIT = 2.5  # times the model's size
KINDS = ("hugging-face", "hard-link", "shards", "plain")
CASES: dict[str, dict[str, Any]] = {
    "fp16": {},
    "int8": {"calibration_cache": "cal.bin"},
    "fp16, verified": {"verify": {"random": {"count": 1}}},
}


def measure(folder: Path, _: int) -> limits.Result:
    """Return the numbers of each layout and precision."""
    result: limits.Result = {}
    for kind in KINDS:
        source = layouts.write(folder / kind, kind, width=WIDTH, layers=LAYERS)
        size = layouts.size(source)
        hashing = hashed(source)
        for case, more in CASES.items():
            if case == "fp16, verified" and kind != "hugging-face":
                continue
            place = Workplace(folder / "place")
            place.folder.mkdir()
            names = graph.tensor_names(model_file.load(source))
            (place.folder / "cal.bin").write_bytes(calibration_cache.write(dict.fromkeys(names, 0.04)))
            place.write({"name": "large", "source": str(source), "precision": case.partition(",")[0], **more})
            result[f"{kind} {case}"] = built(place, size, hashing)
            print(json.dumps({f"{kind} {case}": result[f"{kind} {case}"]}), file=sys.stderr, flush=True)
            shutil.rmtree(place.folder)
        shutil.rmtree(folder / kind)
    return result


def hashed(source: Path) -> float:
    """Return the seconds that hashing a model's bytes takes."""
    started = time.perf_counter()
    for file in (source, *external_data.files(source)):
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return time.perf_counter() - started


def built(place: Workplace, size: int, hashing: float) -> limits.Result:
    """Run the manifest, and return its cost."""
    started = time.perf_counter()
    process = subprocess.Popen(
        place.command("--json"), stdout=subprocess.PIPE, cwd=place.folder, env=place.environment()
    )
    stdout, _ = process.communicate()
    seconds = time.perf_counter() - started
    model = json.loads(stdout)["models"][0]
    if model["error"] is not None:
        raise SystemExit(f"{model['error']}")
    peaks = {stage["name"]: stage["peak_rss_bytes"] or 0 for stage in model["stages"]}
    return {
        "size_gib": round(size / 2**30, 2),
        "engine_over_size": round(model["engine"]["bytes"] / size, 3),
        "delivered": model["precision_proof"]["delivered"],
        "peak_over_size": round(max(peaks.values()) / size, 2),
        "peaks": {name: round(peak / size, 2) for name, peak in peaks.items()},
        "seconds_over_hashing": round(seconds / hashing, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def violations(result: limits.Result) -> list[str]:
    """Return what exceeds a limit."""
    return [
        f"{name}: {row['peak_over_size']} times the model's size in memory, limit {PEAK_LIMIT}"
        for name, row in result.items()
        if row["peak_over_size"] > PEAK_LIMIT
    ]


if __name__ == "__main__":
    sys.exit(limits.main(__doc__, measure, violations))
