"""An engine that a GPU loads speaks for itself; one that it refuses, or that kills the process, is explained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from prepare_models_entrypoint.contract.conversion import Plugin
from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.report import Binding
from prepare_models_entrypoint.errors import InspectError
from prepare_models_entrypoint.inspect import built_plan, plan_file

from .test_header import tensorrt

DOUBLE = Path(__file__).parents[1] / "doubles" / "engine_runtime.py"
HERE = RuntimeInfo(
    python="3.12",
    machine="x86_64",
    backend=BackendInfo(name="tensorrt", version="10.3.0"),
    gpu=GpuInfo(name="H100", compute_capability="9.0", driver=None, cuda_version="13.0"),
    gpu_reason=None,
)
SHAPES = [[1, 3, 8, 8], [4, 3, 8, 8], [8, 3, 8, 8]]
LAYERS = [
    {
        "Name": "conv1 + relu1",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP16"}],
        "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP32"}],
    }
]
ENGINE: Dict[str, Any] = {
    "name": "Unnamed Network 0",
    "num_optimization_profiles": 2,
    "num_layers": 1,
    "device_memory_size_v2": 4096,
    "streamable_weights_size": 512,
    "tensors": [
        {"name": "x", "mode": "INPUT", "dtype": "HALF", "shape": [-1, 3, 8, 8], "profiles": [SHAPES, SHAPES[::-1]]},
        {"name": "y", "mode": "OUTPUT", "dtype": "BOOL", "shape": [-1, 5]},
    ],
    "layers": LAYERS,
}


@pytest.fixture(autouse=True)
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have child processes find the double as TensorRT's module, and the package."""
    site = tmp_path / "site"
    (site / "tensorrt-10.3.0.dist-info").mkdir(parents=True)
    (site / "tensorrt").mkdir()
    shutil.copy(str(DOUBLE), str(site / "tensorrt" / "__init__.py"))
    root = str(Path(plan_file.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{site}:{root}")


def describe(folder: Path, here: RuntimeInfo = HERE, **told: Any) -> Dict[str, Any]:
    file = folder / "model.plan"
    file.write_bytes(tensorrt() + json.dumps(told).encode("utf-8"))
    return plan_file.describe(file, layers=True, here=here)


def test_code_in_an_engine_runs_only_if_it_was_built_here(tmp_path: Path) -> None:
    document = describe(tmp_path, engine=ENGINE, version_compatible=True)
    assert (document["runs_here"], document["io"]) == (False, None)
    plan = tmp_path / "model.plan"
    for model, why_not in ((None, "engine_host_code_allowed is false"), (job(tmp_path), None)):
        answer, _ = built_plan.load_engine(plan, tmp_path, model=model, module="tensorrt")
        assert answer["why_not"] == why_not


def test_a_loaded_engine_tells_bindings_profiles_memory_and_layers(tmp_path: Path) -> None:
    document = describe(tmp_path, engine=ENGINE)
    assert document["runs_here"] is True
    assert [(b["name"], b["mode"], b["dtype"], b["shape"], b["source"]) for b in document["io"]] == [
        ("x", "input", "float16", [-1, 3, 8, 8], "engine"),
        ("y", "output", "bool", [-1, 5], "engine"),
    ]
    assert document["profiles"] == [
        {"x": dict(zip(("min", "opt", "max"), SHAPES))},
        {"x": dict(zip(("min", "opt", "max"), SHAPES[::-1]))},
    ]
    assert document["details"] == {
        "source": "engine",
        "name": "Unnamed Network 0",
        "device_memory_bytes": 4096,
        "streamable_weights_bytes": 512,
        "layers": [{"name": "conv1 + relu1", "type": "CaskConvolution", "precision": "fp16", "outputs": ["y"]}],
    }
    assert (document["layer_count"], document["note"]) == (1, None)


def test_an_engine_of_tensorrt_8_tells_memory_by_its_older_name(tmp_path: Path) -> None:
    older = {key: value for key, value in ENGINE.items() if not key.endswith(("_v2", "weights_size"))}
    details = describe(tmp_path, engine={**older, "device_memory_size": 21269504, "layers": None})["details"]
    assert (details["device_memory_bytes"], details["streamable_weights_bytes"]) == (21269504, None)
    assert [layer["name"] for layer in details["layers"]] == ["layer 0"], "counted where no information was kept"


def test_names_alone_are_listed_where_the_engine_kept_no_more(tmp_path: Path) -> None:
    layers = describe(tmp_path, engine={**ENGINE, "layers": ["conv1 + relu1", "argmax"]})["details"]["layers"]
    assert [(layer["name"], layer["precision"]) for layer in layers] == [("conv1 + relu1", None), ("argmax", None)]


def test_a_refusal_names_both_sides_and_has_the_runtimes_words(tmp_path: Path) -> None:
    document = describe(tmp_path, refused="expecting compute 8.7 got compute 9.0, please rebuild")
    assert (document["runs_here"], document["io"]) == (False, None)
    assert document["told"].startswith("built by TensorRT 10.3.0.30 for a GPU that neither")
    assert "this machine has sm_90 and TensorRT 10.3.0. The runtime says: expecting compute 8.7" in document["told"]


def test_an_engine_that_kills_its_process_is_explained(tmp_path: Path) -> None:
    document = describe(tmp_path, crash=True)
    assert document["runs_here"] is False
    assert document["told"].endswith("The runtime says: the process that loads it ended with SIGSEGV")


def lean_here(folder: Path, backend: Optional[BackendInfo]) -> RuntimeInfo:
    """Have a lean runtime in place of the full TensorRT, beside a backend or none."""
    for name in ("tensorrt", "tensorrt-10.3.0.dist-info"):
        (folder / "site" / name).rename(folder / "site" / name.replace("tensorrt", "tensorrt_lean"))
    others = [BackendInfo(name="tensorrt_lean", version="10.3.0")]
    return {**HERE, "backend": backend, "others": others}


@pytest.mark.parametrize("backend", [None, BackendInfo(name="tensorrt_rtx", version="1.7.1.116")])
def test_a_lean_runtime_tells_what_the_engine_tells_it(tmp_path: Path, backend: Optional[BackendInfo]) -> None:
    document = describe(tmp_path, lean_here(tmp_path, backend), engine=ENGINE)
    assert document["runs_here"] is True
    assert [(b["name"], b["source"]) for b in document["io"]] == [("x", "engine"), ("y", "engine")]


def test_a_lean_runtime_refuses_with_its_own_words(tmp_path: Path) -> None:
    document = describe(tmp_path, lean_here(tmp_path, None), refused="The plan is not version compatible")
    assert document["runs_here"] is False
    assert "which loads only version-compatible engines. The runtime says: The plan is not" in document["told"]


def test_a_part_that_can_not_be_read_takes_no_other_along(tmp_path: Path) -> None:
    lacking = {key: value for key, value in ENGINE.items() if key != "name"}
    document = describe(tmp_path, engine={**lacking, "layers": "no inspector"})
    assert [b["name"] for b in document["io"]] == ["x", "y"]
    assert document["details"]["device_memory_bytes"] == 4096
    (warning,) = document["warnings"]
    assert warning["code"] == "engine-partly-unknown"
    assert "name: " in warning["message"]
    assert "layers: this engine has no inspector" in warning["message"]


def built(folder: Path, model: ModelJob, **told: Any) -> built_plan.Inspected:
    """Return what is read of an engine that was built here of a model."""
    plan = folder / "model.plan"
    plan.write_bytes(tensorrt() + json.dumps(told).encode("utf-8"))
    network = [
        Binding(name=each["name"], mode=each["mode"].lower(), dtype="float32", shape=[1], profiles=[], source="network")
        for each in ENGINE["tensors"]
    ]
    return built_plan.inspect(plan, network, HERE, folder, model)


def job(folder: Path, *plugins: Plugin) -> ModelJob:
    return ModelJob(name="net", source="net.onnx", output_dir=str(folder), deploy_dir="", plugins=plugins)


def test_an_engine_finds_the_plugins_of_the_standard_library(tmp_path: Path) -> None:
    assert describe(tmp_path, engine=ENGINE, plugin=True)["runs_here"] is True
    assert [binding["name"] for binding in built(tmp_path, job(tmp_path), engine=ENGINE, plugin=True).io] == ["x", "y"]


def test_an_engine_is_loaded_with_the_plugins_that_it_was_built_with(tmp_path: Path) -> None:
    library = tmp_path / "libplugin.so"
    library.write_bytes(b"changed since the build")
    with pytest.raises(InspectError, match=f"plugin library {library} can't be used: it has sha256"):
        built(tmp_path, job(tmp_path, Plugin(file=str(library), sha256="0" * 64)), engine=ENGINE)


def test_an_engine_that_a_program_built_is_good_where_no_module_loads_it(tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(tensorrt())
    network = [Binding(name="x", mode="input", dtype="float32", shape=[1], profiles=[], source="network")]
    here = {**HERE, "backend": None, "others": []}
    found = built_plan.inspect(plan, network, here, tmp_path, job(tmp_path))  # type: ignore[arg-type]  # a copy with other values
    assert found.io == network
    assert [warning["code"] for warning in found.warnings] == ["engine-not-loadable-here"]


def test_nothing_is_loaded_without_a_gpu_or_by_the_other_product(tmp_path: Path) -> None:
    rtx = BackendInfo(name="tensorrt_rtx", version="1.7.1.116")
    for here in ({**HERE, "gpu": None, "gpu_reason": "no driver"}, {**HERE, "backend": rtx}, {**HERE, "backend": None}):
        document = describe(tmp_path, here, crash=True)  # type: ignore[arg-type]  # a copy with other values
        assert "The runtime says" not in document["told"]
        assert document["note"]
