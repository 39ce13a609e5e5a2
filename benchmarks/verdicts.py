"""How soon a verdict comes: wall time of ``check`` and ``run`` on each defect, and of the check of good models.

Run it on a quiet machine, in an environment with the project, TensorRT-RTX and NVIDIA's codec: it prints each number
with its limit, and ends with status 1 when one is exceeded. A check in another precision than fp32 rewrites the model,
and may run it on one sample: that may take three times as long as ``onnx.load`` and ``onnx.save`` of the same file do
in the same run. These can't save 3 GB, so that model is checked in fp32 only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from prepare_models_entrypoint.contract import converters

if not converters.has_codec():
    sys.exit(
        "benchmarks/verdicts.py makes encrypted models: it needs NVIDIA's codec, which exists for Python 3.10 and 3.12 "
        "on x86_64\n  -> nox -s engine-3.12 --install-only, then .nox/engine-3-12/bin/python benchmarks/verdicts.py"
    )

import networks
import rewriting
from tests.command import Workplace
from tests.defects import DEFECTS, KEY, external, too_large

from prepare_models_entrypoint.onnx_graph import calibration_cache, graph, model_file

DEFECT_LIMIT_S = 2.0
CHECK_LIMIT_S = 1.0  # in fp32
COPIES = 3  # as long as which rewriting may take
ROUNDS = 3


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="the best of so many counts")
    rounds = arguments.parse_args().rounds
    exceeded = False
    for what, seconds, limit in itertools.chain(defects(rounds), checks(rounds)):
        exceeded |= seconds > limit
        print(f"{what:58} {seconds:6.2f} s, limit {limit:.1f} s{'  EXCEEDED' if seconds > limit else ''}", flush=True)
    return int(exceeded)


def defects(rounds: int) -> Iterator[tuple[str, float, float]]:
    """Yield the wall time of the whole command for each defect."""
    for code, make in DEFECTS:
        with tempfile.TemporaryDirectory() as folder:
            place = Workplace(Path(folder))
            place.write({"name": "model", **make(place.folder)})
            commands: dict[str, tuple[str, ...]] = {"check": ("check", str(place.manifest), "--json")}
            if make is not too_large:  # run looks for the engine in the store first, and so reads all the weights
                commands["run"] = tuple(place.command("--json")[1:])
            for name, command in commands.items():
                best = min(timed(place, command, code) for _ in range(rounds))
                yield f"{name}: {make.__name__} -> {code}", best, DEFECT_LIMIT_S


def timed(place: Workplace, command: tuple[str, ...], code: str) -> float:
    started = time.monotonic()
    result = place.call(*command, MODEL_KEY=KEY)
    seconds = time.monotonic() - started
    error = json.loads(result.stdout)["models"][0]["error"]
    if error["code"] != code or not error["hint"]:
        raise SystemExit(f"expected {code}, found {error}")
    return seconds


def checks(rounds: int) -> Iterator[tuple[str, float, float]]:
    """Yield the time of the stage that checks a good model, in each precision."""
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder))
        for name, write in {"3 GB": three_gigabytes, **networks.NETWORKS}.items():
            write(place.folder / "model.onnx")
            cache(place.folder / "model.onnx", place.folder / "cal.bin")
            limit, whole = CHECK_LIMIT_S, write is not three_gigabytes
            for precision in ("fp32", "fp16", "int8") if whole else ("fp32",):
                more = {"calibration_cache": "cal.bin"} if precision == "int8" else {}
                place.write({"name": "model", "source": "model.onnx", "precision": precision, **more})
                best = min(stage(place) for _ in range(rounds))
                yield f"check stage: {name} {precision}", best, limit
                if precision == "fp32" and whole:
                    copies = (rewriting.child("baseline", place.folder)["seconds"] for _ in range(rounds))
                    limit = best + COPIES * min(copies)


def three_gigabytes(model: Path) -> None:
    external(model.parent, 3 << 30)


def cache(model: Path, target: Path) -> None:
    """Write a calibration cache with a scale for every tensor; a check reads only their names."""
    names = graph.tensor_names(model_file.load(model))
    target.write_bytes(calibration_cache.write(dict.fromkeys(names, 0.1)))


def stage(place: Workplace) -> float:
    model: dict[str, Any] = json.loads(place.call("check", str(place.manifest), "--json").stdout)["models"][0]
    if model["error"] is not None:
        raise SystemExit(f"expected a good model, found {model['error']}")
    return next(float(one["seconds"]) for one in model["stages"] if one["name"] == "check")


if __name__ == "__main__":
    sys.exit(main())
