"""``python -m tests.engine.rtx_program OPTION...``: what NVIDIA's ``tensorrt_rtx`` program does with these options.

The program is not a part of the wheel. Its options are those that its documentation lists; any other ends this one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import tensorrt_rtx as trt


class Log(trt.ILogger):  # type: ignore[misc]  # tensorrt_rtx has no stubs
    def __init__(self) -> None:
        trt.ILogger.__init__(self)

    def log(self, severity: object, message: str) -> None:
        sys.stderr.write(f"{severity} {message}\n")


class Shapes(argparse.Action):
    """Collects shapes by profile and bound."""

    def __call__(self, parser: object, found: argparse.Namespace, text: object, option: str | None = None) -> None:
        bound = str(option)[2:5]
        for pair in str(text).split(","):
            name, _, dims = pair.rpartition(":")
            sizes = [int(size) for size in dims.split("x")] if dims else []
            found.profiles.setdefault(found.profile, {}).setdefault(name.strip("'"), {})[bound] = sizes


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("onnx", "saveEngine"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--profile", type=int, default=0)
    for bound in ("min", "opt", "max"):
        parser.add_argument(f"--{bound}Shapes", action=Shapes)
    parser.add_argument("--computeCapabilities", default="")
    parser.add_argument("--memPoolSize", default="")
    parser.add_argument("--builderOptimizationLevel", type=int)
    parser.add_argument("--profilingVerbosity")
    for flag in ("noTF32", "skipInference"):
        parser.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args(arguments, argparse.Namespace(profiles={}))


def add_profiles(asked: argparse.Namespace, builder: trt.Builder, network: trt.INetworkDefinition, config: Any) -> None:
    for number in sorted(asked.profiles):
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            shapes = asked.profiles[number].get(tensor.name)
            if shapes:
                set_bounds = profile.set_shape_input if tensor.is_shape_tensor else profile.set_shape
                set_bounds(tensor.name, shapes["min"], shapes["opt"], shapes["max"])
        config.add_optimization_profile(profile)


def configure(asked: argparse.Namespace, config: Any) -> None:
    capabilities = [f"SM{number}" for number in asked.computeCapabilities.split(",") if number]
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
    for index, name in enumerate(capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    if asked.memPoolSize:
        size = asked.memPoolSize.removeprefix("workspace:").removesuffix("M")
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(float(size) * (1 << 20)))
    if asked.builderOptimizationLevel is not None:
        config.builder_optimization_level = asked.builderOptimizationLevel
    if asked.profilingVerbosity:
        config.profiling_verbosity = getattr(trt.ProfilingVerbosity, asked.profilingVerbosity.upper())
    if asked.noTF32:
        config.clear_flag(trt.BuilderFlag.TF32)


def main() -> int:
    asked = options(sys.argv[1:])
    builder = trt.Builder(log := Log())
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(asked.onnx)):
        return 1
    config = builder.create_builder_config()
    add_profiles(asked, builder, network, config)
    configure(asked, config)
    asked.saveEngine.write_bytes(memoryview(builder.build_serialized_network(network, config)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
