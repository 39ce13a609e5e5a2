"""A version-compatible engine where nothing but a lean or dispatch runtime is installed: read, run, compared, judged.

``LEAN_SITE`` names a directory of packages with tensorrt_lean or tensorrt_dispatch of the same or a later TensorRT. It
stays apart from this Python's packages, whose TensorRT builds the engine.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prepare_models_entrypoint.contract import backends
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from tests import networks
from tests.command import Workplace

SITE = os.environ.get("LEAN_SITE", "")
LEAN = [module.name for module in backends.MODULES if not module.builds and Path(SITE, module.name).is_dir()]
pytestmark = pytest.mark.skipif(not SITE or not LEAN, reason="LEAN_SITE names no directory with a lean runtime")


@pytest.fixture(scope="module")
def models(workshop: Workplace, here: RuntimeInfo) -> Workplace:
    """One engine that is version compatible, one that isn't, and one that carries its lean runtime."""
    if here["backend"] is None or here["backend"]["name"] != backends.FULL:
        pytest.skip("only the full TensorRT builds version-compatible engines")
    networks.conv(workshop.folder / "conv.onnx", (1, 3, 64, 64), channels=64)
    networks.conv(workshop.folder / "dynamic.onnx", ("N", 3, 64, 64), channels=64)
    inputs = {"input": {"min": "1x3x64x64", "opt": "4x3x64x64", "max": "8x3x64x64"}}
    slim = {"version_compatible": True, "exclude_lean_runtime": True}
    workshop.write(
        {"name": "slim", "source": "conv.onnx", "builder": slim, "verify": {}},
        {"name": "dynamic", "source": "dynamic.onnx", "inputs": inputs, "builder": slim, "verify": {}},
        {"name": "whole", "source": "conv.onnx", "builder": {"version_compatible": True}, "verify": {}},
        {"name": "plain", "source": "conv.onnx", "verify": {}},
    )
    refused = [model["error"]["code"] for model in workshop.run().report["models"] if model["error"] is not None]
    assert refused in ([], ["builder-option-unavailable"]), refused  # a runtime to carry may not be installed
    return workshop


def carries_its_runtime(models: Workplace) -> bool:
    return (models.models_dir / "whole").exists()


def _take(source: Path, target: Path) -> None:
    """Link the files of a package; its processes, confined to the files of Python, follow no link out of there."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link)
    else:
        _link(source, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # of another file system
        shutil.copy2(source, target)


def lean_python(folder: Path, module: str) -> Path:
    """Return an interpreter with everything that this one has, except that ``module`` is its only TensorRT."""
    site = folder / "site"
    site.mkdir(parents=True)
    packages_here = [place for place in sys.path if any(Path(place).glob("*.dist-info"))]
    for source, keep in (*((place, False) for place in packages_here), (SITE, True)):
        for entry in Path(source).iterdir():
            is_tensorrt = entry.name.startswith("tensorrt")
            needed = keep and entry.name.startswith(module) if is_tensorrt else entry.suffix != ".pth"
            if needed and not (site / entry.name).exists():
                _take(entry, site / entry.name)
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    packages = next((folder / "env" / "lib").glob("python*/site-packages"))
    roots = [
        Path(importlib.import_module(name).__file__ or "").parents[1]
        for name in ("prepare_models", "prepare_models_entrypoint")
    ]
    (packages / "lean.pth").write_text("\n".join(map(str, [site, *roots])) + "\n")
    return python


@dataclass(frozen=True)
class Runtime:
    """An interpreter with one runtime.

    reads: engines that it loads without running code that they carry: those of its own major version.
    """

    python: Path
    version: str
    reads: tuple[str, ...]

    def ask(self, place: Workplace, *arguments: str) -> Mapping[str, Any]:
        """Return what a command prints as JSON."""
        start = "import sys; from prepare_models.__main__ import main; sys.exit(main())"
        done = subprocess.run(
            [str(self.python), "-c", start, *arguments],
            env=place.environment(), cwd=place.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.startswith("{"), done.stderr
        document: Mapping[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture(scope="module", params=LEAN)
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, here: RuntimeInfo) -> Runtime:
    python = lean_python(tmp_path_factory.mktemp("lean"), request.param)
    (version,) = {each.stem.split("-")[1] for each in Path(SITE).glob(f"{request.param}*.dist-info")}
    alike = here["backend"] is not None and here["backend"]["version"].split(".")[0] == version.split(".")[0]
    return Runtime(python, version, ("slim", "dynamic") if request.param == "tensorrt_lean" and alike else ())


def inspected(runtime: Runtime, models: Workplace, name: str) -> Mapping[str, Any]:
    plan = models.models_dir / name / "1" / "model.plan"
    return runtime.ask(models, "inspect", str(plan), "--json")


def test_a_runtime_reads_bindings_from_the_engine(runtime: Runtime, models: Workplace) -> None:
    for name in runtime.reads:
        document = inspected(runtime, models, name)
        assert document["runs_here"] is True, document["told"]
        assert [(b["name"], b["dtype"], b["source"]) for b in document["io"]] == [
            ("input", "float32", "engine"), ("output", "float32", "engine"),
        ]  # fmt: skip
        if name == "dynamic":
            assert [p["max"][0] for p in document["io"][0]["profiles"]] == [8]


def test_code_in_an_engine_is_not_run_to_look_at_it(runtime: Runtime, models: Workplace) -> None:
    if runtime.reads:
        pytest.skip("a lean runtime needs no code of the engine's")
    if not carries_its_runtime(models):
        pytest.skip("this TensorRT has no lean runtime to put into an engine")
    document = inspected(runtime, models, "whole")
    assert document["runs_here"] is False
    assert "The runtime says:" in document["told"]


def test_an_engine_that_is_not_version_compatible_is_refused_with_the_reason(
    runtime: Runtime, models: Workplace, here: RuntimeInfo
) -> None:
    document = inspected(runtime, models, "plain")
    if document["runs_here"]:  # NVIDIA doesn't promise it; the lean runtime 8.6.0 loads engines of 8.6.0
        assert here["backend"] is not None
        assert runtime.version == here["backend"]["version"]
        return
    assert "which loads only version-compatible engines" in document["told"]


def test_engines_are_compared_with_their_source(runtime: Runtime, models: Workplace) -> None:
    wanted = (*(["whole"] if carries_its_runtime(models) else []), *runtime.reads)
    if not wanted:
        pytest.skip("a dispatch runtime needs a runtime in the engine")
    found = runtime.ask(models, "verify", str(models.models_dir), *wanted, "--executor", "local", "--json")
    assert [report["error"] for report in found["models"]] == [None] * len(wanted)
    for verification in (report["verification"] for report in found["models"]):
        assert (verification["verdict"], verification["candidate"]) == ("passed", "engine"), verification["statement"]
        assert verification["latency"]["median_ms"] > 0


def test_status_tells_valid_from_stale(runtime: Runtime, models: Workplace, here: RuntimeInfo) -> None:
    found = runtime.ask(models, "status", str(models.models_dir), "--json")
    (version,) = found["here"]["backends"].values()
    assert here["backend"] is not None
    built = here["backend"]["version"].split(".")[0]
    states = {each["name"]: each["state"] for each in found["models"]}
    states.pop("whole", None)
    alone = "valid" if version.split(".")[0] == built else "stale"
    assert states == {"slim": alone, "dynamic": alone, "plain": "stale"}
