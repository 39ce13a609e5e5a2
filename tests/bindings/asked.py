"""What the product's own code says and does with a real module; it prints JSON. For a process of its own."""

from __future__ import annotations

import ast
import inspect
import json
import tempfile
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.settings import Setting, rows
from prepare_models_entrypoint.converters import backend, builder, by_api
from prepare_models_entrypoint.converters.request import BuildRequest, empty_result
from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph.calibration_cache import CalibrationCache
from tests import networks

trt: Any = backend.trt
REQUESTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
    "same-compute-capability": {"builder": BuilderConfig(hardware_compatibility="same-compute-capability")},
    "refit-identical": {"builder": BuilderConfig(refit="identical")},
    "strict-types": {"builder": BuilderConfig(strict_types=True)},
}


def main() -> None:
    """Print what is found."""
    print(
        json.dumps(
            {
                "version": backend.info()["version"],
                "weakly_typed": backend.weakly_typed(),
                "creation_flags": [backend._creation_flags(strongly_typed=strongly) for strongly in (False, True)],
                "dtypes": sorted(set(trt.DataType.__members__) - set(backend._DTYPES)),
                "dims": backend.dims(trt.Dims([1, 3, -1])),
                "layers": sorted(name for name in layer_names() if name not in trt.LayerType.__members__),
                "settings": {row.key: lacking(row) for row in rows(BuilderConfig)},
                "calibrators": calibrators() if backend.weakly_typed() else [],
                "monitors": monitors() if hasattr(trt, "IProgressMonitor") else [],
                "built": {name: outcome_of(**asked) for name, asked in REQUESTS.items()},
            }
        )
    )


def layer_names() -> set[str]:
    """Return the types of layers that the code compares with."""
    tree = ast.parse(inspect.getsource(backend))
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare) and ".type.name" in ast.unparse(node)]
    found = {each.value for node in compared for each in ast.walk(node) if isinstance(each, ast.Constant)}
    return {str(name) for name in found} | set(backend._COMPUTE)


def lacking(row: Setting) -> list[object]:
    """Return the values of an option for which the module lacks what the table of settings names; None for any."""
    option, config = row.option, trt.IBuilderConfig
    wanted = [(value, trt.BuilderFlag, name) for value, name in option.flags.items()]
    wanted += [(None, trt.MemoryPoolType, option.pool[0])] if option.pool[0] else []
    wanted += [(None, config, option.attribute)] if option.attribute else []
    if option.enumeration:
        kind = getattr(trt, option.enumeration, None)
        wanted += [(value, kind, name) for value, name in option.members.items()]
    return [value for value, kind, name in wanted if not hasattr(kind, name)]


def calibrators() -> list[str]:
    """Return what calibrators of each algorithm hand out."""
    names = ("EntropyCalibration2", "MinMaxCalibration", "EntropyCalibration")
    caches = [CalibrationCache(f"TRT-8601-{name}", name, {}, b"x: 3c010a14\n") for name in names]
    return [builder._calibrator(cache).read_calibration_cache().decode() for cache in caches]


def monitors() -> list[str]:
    """Return the names of the monitors' methods that take what the base class hands them."""
    told: list[str] = []
    made: list[Any] = [builder._monitor(lambda phase, done, total: told.append(phase)), builder._rehearsal(whole=False)]
    for monitor in made:
        monitor.phase_start("phase", None, 2)
        assert monitor.step_complete("phase", 0)
        monitor.phase_finish("phase")
    return told


def outcome_of(**asked: Any) -> str:
    """Return the code of the error that a build ends with, which has no device: only before that it is another."""
    with tempfile.TemporaryDirectory() as folder:
        source = networks.conv(Path(folder) / "net.onnx")
        model = ModelJob(name="net", source=str(source), output_dir=folder, deploy_dir=folder, **asked)
        plan, result = (Path(folder) / name for name in ("plan", "result"))
        request = BuildRequest(model, source, plan, Path(folder), result, capability="9.0")
        try:
            by_api.convert(request, empty_result(), lambda phase, done, total: None)
        except ConvertError as error:
            return error.code
    return "none"


main()
