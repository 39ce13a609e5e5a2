"""Double of TensorRT 10.3's Python module, which needs a GPU: weak typing, calibrators and timing caches.

Everything else is TensorRT-RTX, so that a real engine comes out. It has no name that the real one lacks: ``api.json``
is what NVIDIA's own bindings of 10.3.0 have, as ``tests/bindings`` asserts. It is strict where the real one is lenient:
a cache of another version is refused, and a calibrator that is asked for samples fails the build.
"""

from __future__ import annotations

import builtins  # the module exports a "bool" of its own
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorrt_rtx as rtx
from tensorrt_rtx import *  # noqa: F403  # the rest of the module

__version__ = "10.3.0"
API: dict[str, list[str]] = json.loads((Path(__file__).parent / "api.json").read_text(encoding="utf-8"))
_FLAGS = {name: getattr(rtx.BuilderFlag, name, name) for name in API["BuilderFlag"] if name.isupper()}
BuilderFlag = SimpleNamespace(__members__=_FLAGS, **_FLAGS)
HardwareCompatibilityLevel = SimpleNamespace(
    **{
        name: getattr(rtx.HardwareCompatibilityLevel, name)
        for name in API["HardwareCompatibilityLevel"]
        if name.isupper()
    }
)


def _real(kind: str, of: Any, name: str) -> Any:
    """Return an attribute of TensorRT-RTX's object that TensorRT 10.3's class has, too."""
    if name not in API[kind]:
        raise AttributeError(name)
    return getattr(of, name)


class IInt8EntropyCalibrator2:
    """Base of calibrators, as in TensorRT 8 to 10."""


class IInt8MinMaxCalibrator(IInt8EntropyCalibrator2):
    """Another algorithm."""


class IInt8EntropyCalibrator(IInt8EntropyCalibrator2):
    """Another algorithm."""


class _TimingCache:
    """Measured tactics: here, a set of words."""

    def __init__(self, data: bytes) -> None:
        self.words = set(data.split())

    def combine(self, other: _TimingCache, ignore_mismatch: builtins.bool) -> builtins.bool:
        self.words |= other.words
        return not ignore_mismatch

    def serialize(self) -> bytes:
        return b"\n".join(sorted(self.words))


class _Config:
    """A builder configuration with the flags and the calibrator that TensorRT-RTX does not have."""

    def __init__(self, real: Any) -> None:
        self.__dict__.update(real=real, own=set(), int8_calibrator=None, timing=None)

    def __getattr__(self, name: str) -> Any:
        return _real("IBuilderConfig", self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            _real("IBuilderConfig", self.real, name)
            setattr(self.real, name, value)

    def set_flag(self, flag: Any) -> None:
        self.own.add(flag) if isinstance(flag, str) else self.real.set_flag(flag)

    def get_flag(self, flag: Any) -> builtins.bool:
        return flag in self.own if isinstance(flag, str) else builtins.bool(self.real.get_flag(flag))

    def create_timing_cache(self, data: bytes) -> _TimingCache:
        return _TimingCache(data)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: builtins.bool) -> builtins.bool:
        self.timing = cache
        return not ignore_mismatch

    def get_timing_cache(self) -> _TimingCache | None:
        return self.timing


class _Layer:
    """A layer whose types can be pinned. It takes float types alone, for outputs that have one."""

    def __init__(self, real: Any) -> None:
        self.__dict__.update(real=real, pinned={})

    def __getattr__(self, name: str) -> Any:
        return _real("ILayer", self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "precision" or value not in (rtx.DataType.FLOAT, rtx.DataType.HALF):
            raise AttributeError(name)
        self.pinned["precision"] = value

    def set_output_type(self, index: int, dtype: Any) -> None:
        if index >= self.real.num_outputs or self.real.get_output(index).dtype != rtx.DataType.FLOAT:
            raise ValueError(index)
        self.pinned[index] = dtype


class _Network:
    """A network whose builder chooses the types."""

    def __init__(self, real: Any) -> None:
        self.__dict__.update(real=real, layers={})

    def __getattr__(self, name: str) -> Any:
        return _real("INetworkDefinition", self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real, name, value)

    def get_layer(self, index: int) -> _Layer:
        if index not in self.layers:
            self.layers[index] = _Layer(self.real.get_layer(index))
        layer: _Layer = self.layers[index]
        return layer


class OnnxParser(rtx.OnnxParser):  # type: ignore[misc]
    """A parser into such a network."""

    def __init__(self, network: _Network, log: Any) -> None:
        super().__init__(network.real, log)

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in API["OnnxParser"]:
            raise AttributeError(name)
        return super().__getattribute__(name)


class Builder:
    """A builder that reads calibration caches."""

    def __init__(self, log: Any) -> None:
        self.log, self.real = log, rtx.Builder(log)

    def __getattr__(self, name: str) -> Any:
        return _real("Builder", self.real, name)

    def create_builder_config(self) -> _Config:
        return _Config(self.real.create_builder_config())

    def create_network(self, flags: int) -> _Network:
        return _Network(self.real.create_network(flags))

    def build_serialized_network(self, network: _Network, config: _Config) -> Any:
        pinned = [layer for layer in network.layers.values() if layer.pinned]
        assert not pinned or "OBEY_PRECISION_CONSTRAINTS" in config.own, "else the builder ignores what is pinned"
        calibrator = config.int8_calibrator
        if calibrator is not None:
            blob = calibrator.read_calibration_cache()
            names = [network.get_input(index).name for index in range(network.num_inputs)]
            if "INT8" not in config.own or not blob.startswith(b"TRT-100300-") or b"\nrefuse_me:" in blob:
                self.log.log(rtx.ILogger.Severity.ERROR, "Calibration table does not match calibrator algorithm type.")
                calibrator.get_batch(names)
                return None
        if config.timing is not None:
            config.timing.words.add(f"layers-{network.num_layers}".encode())
        return self.real.build_serialized_network(network.real, config.real)


for _name in [name for name in vars(rtx) if not name.startswith("_") and name not in API]:
    globals().pop(_name, None)
