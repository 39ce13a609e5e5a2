"""Double of NVIDIA's trtexec, which can't be had here: takes the options of one version, refuses all others.

The engine is a real one, built with TensorRT-RTX. Environment: TRT_DOUBLE_TRT_VERSION (8.6.1), TRT_DOUBLE_ARGV (file
that receives the arguments as JSON), TRT_DOUBLE_MEMORY_MIB (a build whose workspace is not limited to this runs out of
memory), TRT_DOUBLE_NO_INT8 (a build with --int8 reports no int8 layer), TRT_DOUBLE_SECONDS (that the build takes).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

OPTIONS = json.loads((Path(__file__).parent / "options.json").read_text(encoding="utf-8"))["trtexec"]
VERSION = os.environ.get("TRT_DOUBLE_TRT_VERSION", "8.6.1")


def main(arguments: list[str]) -> int:
    major, minor, patch = map(int, VERSION.split("."))
    tag = major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{tag}] # trtexec {' '.join(arguments)}")
    if arguments == ["--help"]:
        return 0
    if "TRT_DOUBLE_ARGV" in os.environ:
        Path(os.environ["TRT_DOUBLE_ARGV"]).write_text(json.dumps(arguments), encoding="utf-8")
    options: dict[str, str] = {}
    for argument in arguments:
        name, _, value = argument[2:].partition("=")
        if not argument.startswith("--") or name not in OPTIONS[VERSION]:
            return failed(f"Unknown option: {argument}")
        options[name] = value
    return build(options)


def build(options: dict[str, str]) -> int:
    limit = os.environ.get("TRT_DOUBLE_MEMORY_MIB")
    workspace = options.get("memPoolSize", "workspace:999999M").partition("workspace:")[2].partition("M")[0]
    if limit and float(workspace) > float(limit):
        return failed(
            "[virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (no further information)"
        )
    if "calib" in options and not Path(options["calib"]).is_file():
        return failed("this double refuses what trtexec does not: a calibration cache that is not there")
    time.sleep(float(os.environ.get("TRT_DOUBLE_SECONDS", "0")))
    engine = engine_of(options["onnx"], shapes(options))
    if engine is None:
        return failed("ModelImporter.cpp: Failed to parse the model")
    Path(options["saveEngine"]).write_bytes(engine)
    if "timingCacheFile" in options:
        with Path(options["timingCacheFile"]).open("a", encoding="ascii") as timings:
            timings.write(f"{Path(options['onnx']).name}\n")
    if "exportLayerInfo" in options:
        quantized = "int8" in options and "TRT_DOUBLE_NO_INT8" not in os.environ
        kind = "Int8" if quantized else "Half" if "fp16" in options else "Float"
        layer = {"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": f"Row major {kind} format"}]}
        Path(options["exportLayerInfo"]).write_text(json.dumps({"Layers": [layer], "Bindings": []}), encoding="utf-8")
    print("&&&& PASSED TensorRT.trtexec")
    return 0


def shapes(options: dict[str, str]) -> dict[str, list[list[int]]]:
    found: dict[str, list[list[int]]] = {}
    for option in ("minShapes", "optShapes", "maxShapes"):
        for pair in filter(None, options.get(option, "").split(",")):
            name, _, dims = pair.rpartition(":")
            found.setdefault(name.strip("'"), []).append([int(size) for size in dims.split("x")])
    return found


def engine_of(onnx: str, profile_shapes: dict[str, list[list[int]]]) -> bytes | None:
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(onnx):
        return None
    config = builder.create_builder_config()
    if profile_shapes:
        profile = builder.create_optimization_profile()
        for name, (low, mid, high) in profile_shapes.items():
            profile.set_shape(name, low, mid, high)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    return None if plan is None else bytes(memoryview(plan))


def failed(why: str) -> int:
    print(f"[E] {why}\n&&&& FAILED TensorRT.trtexec")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
