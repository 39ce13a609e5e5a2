"""Every name, member, keyword and signature that the entrypoint uses of TensorRT, held against each real version.

What it uses is not listed here: a type checker follows the product's code through stubs that each module's own
docstrings give, and the product's code runs with the module in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.settings import rows

from . import stubs
from .stand_ins import Bindings

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "entrypoint" / "prepare_models_entrypoint"
# What code reaches only where builder flags choose the types, which ``weakly_typed`` decides.
BY_FLAGS = {
    "precision", "set_output_type", "int8_calibrator", "IInt8EntropyCalibrator2", "IInt8MinMaxCalibrator",
    "IInt8EntropyCalibrator",
}  # fmt: skip
MONITORED = {"IProgressMonitor", "progress_monitor"}  # only where the module has the first
LOADING = ("converters/engine_loading.py", "inspect/engine_worker.py", "verify/lean_runner.py")
INI = """[mypy]
strict = True
ignore_missing_imports = True
follow_imports = silent
warn_unused_ignores = False
disable_error_code = misc, override, no-any-return, redundant-cast
[mypy-tensorrt.*]
ignore_errors = True
"""


def users() -> list[str]:
    """Return the modules of the entrypoint that see TensorRT."""
    files = sorted(PRODUCT.rglob("*.py"))
    return [str(file.relative_to(PRODUCT)) for file in files if re.search(r"\btrt\b", file.read_text("utf-8"))]


def objections(bindings: Bindings, folder: Path, files: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return what mypy has against files of the entrypoint when TensorRT is this one."""
    stubs.write(bindings, folder / "stubs")
    config = folder / "mypy.ini"
    config.write_text(INI, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(config),
        "--cache-dir",
        str(folder / "cache"),
        "-O",
        "json",
    ]
    path = os.pathsep.join(map(str, (folder / "stubs", ROOT / "entrypoint")))
    done = subprocess.run(
        [*command, *(str(PRODUCT / file) for file in files)],
        cwd=folder, env={**os.environ, "MYPYPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    found = [json.loads(line) for line in done.stdout.split("\n") if line]
    return [each for each in found if each["severity"] == "error"]


def absent(objection: Mapping[str, Any]) -> str:
    """Return the name of an attribute that is not there."""
    match = re.search(r'has no attribute "(\w+)"|Name "trt\.(\w+)" is not defined', objection["message"])
    return match[1] or match[2] if match and objection["code"] in ("attr-defined", "name-defined") else str(objection)


@pytest.fixture(scope="session")
def answer(bindings: Bindings) -> Mapping[str, Any]:
    command = [sys.executable, "-m", "tests.bindings.asked"]
    done = subprocess.run(command, env=bindings.environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: Mapping[str, Any] = json.loads(done.stdout)
    return document


def test_everything_that_is_used_is_there(bindings: Bindings, tmp_path: Path) -> None:
    files = users()
    assert {"converters/backend.py", "converters/builder.py", *LOADING} <= set(files)
    missing = {absent(each) for each in objections(bindings, tmp_path, files)}
    assert missing == {8: MONITORED, 10: set(), 11: BY_FLAGS}[bindings.version[0]]


def test_a_runtime_that_loads_alone_has_what_loading_uses(loader: Bindings, tmp_path: Path) -> None:
    assert [absent(each) for each in objections(loader, tmp_path, LOADING)] == []


def test_the_module_is_the_version_and_chooses_types_as_it_should(
    bindings: Bindings, answer: Mapping[str, Any]
) -> None:
    assert answer["version"].startswith(".".join(map(str, bindings.version[:3])))
    assert answer["weakly_typed"] is (bindings.version < (11,))
    # EXPLICIT_BATCH is the first bit, and left with 10.0 by its name; STRONGLY_TYPED came with it, and left by need.
    wanted = {8: [1, 1], 10: [1, 3]}.get(bindings.version[0], [0, 0])
    assert answer["creation_flags"] == wanted


def test_types_dimensions_and_layers_have_their_names(bindings: Bindings, answer: Mapping[str, Any]) -> None:
    assert answer["dtypes"] == []
    assert answer["dims"] == [1, 3, -1]
    assert answer["layers"] == (["FULLY_CONNECTED"] if bindings.version >= (10,) else [])


@pytest.mark.parametrize("key", [row.key for row in rows(BuilderConfig)])
def test_the_table_of_settings_is_right(bindings: Bindings, answer: Mapping[str, Any], key: str) -> None:
    row = next(row for row in rows(BuilderConfig) if row.key == key)
    option = row.option
    there = bindings.version >= option.since and (not option.until or bindings.version < option.until)
    if there and not option.rtx_only:
        later = [value for value, since in option.values_since.items() if bindings.version < since]
        assert answer["settings"][key] == later
    elif option.flags or option.pool[0] or option.attribute:
        assert answer["settings"][key], f"{key} is refused, and this version has it"


def test_what_the_backend_calls_back_can_be_called(bindings: Bindings, answer: Mapping[str, Any]) -> None:
    assert len(answer["calibrators"]) == (3 if bindings.version < (11,) else 0)
    assert answer["monitors"] == (["phase"] * 2 if bindings.version >= (10,) else [])


def test_what_the_version_lacks_is_refused_before_its_builder_starts(
    bindings: Bindings, answer: Mapping[str, Any]
) -> None:
    no_device, version = "backend-unusable", bindings.version
    assert answer["built"] == {
        "fp32": no_device,
        "fp16": no_device,
        "bf16": no_device if version >= (10,) else "precision-unavailable",
        "same-compute-capability": no_device if version >= (10, 9) else "builder-option-unavailable",
        "refit-identical": no_device if version >= (10,) else "builder-option-unavailable",
        "strict-types": no_device if version < (11,) else "builder-option-unavailable",
    }


def test_the_double_of_10_3_knows_what_10_3_has(doubled: Bindings) -> None:
    command = [sys.executable, "-m", "tests.bindings.names", "tensorrt"]
    done = subprocess.run(command, env=doubled.environment(), cwd=ROOT, capture_output=True, text=True, check=True)
    known = ROOT / "tests" / "doubles" / "tensorrt10" / "tensorrt" / "api.json"
    assert json.loads(known.read_text(encoding="utf-8")) == json.loads(done.stdout)


def test_a_runtime_that_loads_alone_is_found_and_asks_nothing_of_a_machine_without_a_gpu(
    loader: Bindings, tmp_path: Path
) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"ftrt" + bytes(12) + (64).to_bytes(8, "little") + bytes([8, 6, 0, 1]) + bytes(36))
    code = "import json, sys; from pathlib import Path; from prepare_models_entrypoint.inspect import plan_file; "
    code += "print(json.dumps(plan_file.describe(Path(sys.argv[1]), layers=False)))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(plan)],
        env=loader.environment(), cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    document = json.loads(done.stdout)
    kind, version = loader.module.partition("_")[2], ".".join(map(str, loader.version))
    assert document["told"].startswith("built by TensorRT 8.6.0.1 for a GPU that neither the plan nor a record")
    assert document["told"].endswith(
        f"TensorRT's {kind} runtime {version}, which loads only version-compatible engines"
    )
    assert document["runs_here"] is not True, "nothing has the engine's word"
