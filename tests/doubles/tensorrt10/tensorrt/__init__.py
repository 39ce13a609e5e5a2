"""Double of TensorRT 10.3's Python module, which needs a GPU: weak typing, calibrators and timing caches.

Everything else is TensorRT-RTX, so that a real engine comes out. It is strict where the real one is lenient: a cache
of another version is refused, and a calibrator that is asked for samples fails the build.
"""

from __future__ import annotations

import builtins  # the module exports a "bool" of its own
from types import SimpleNamespace
from typing import Any

import tensorrt_rtx as rtx
from tensorrt_rtx import *  # noqa: F403  # the rest of the module

__version__ = "10.3.0"
OWN_FLAGS = ("FP16", "INT8", "BF16", "FP8", "OBEY_PRECISION_CONSTRAINTS")
_FLAGS = {**dict(rtx.BuilderFlag.__members__), **{name: name for name in OWN_FLAGS}}
BuilderFlag = SimpleNamespace(__members__=_FLAGS, **_FLAGS)


class IInt8EntropyCalibrator2:
    """Base of calibrators, as in TensorRT 8 to 10."""


class IInt8MinMaxCalibrator(IInt8EntropyCalibrator2):
    """Another algorithm."""


class IInt8EntropyCalibrator(IInt8EntropyCalibrator2):
    """Another algorithm."""


class TimingCache:
    """Measured tactics: here, a set of words."""

    def __init__(self, data: bytes) -> None:
        self.words = set(data.split())

    def combine(self, other: TimingCache, ignore_mismatch: builtins.bool) -> builtins.bool:
        self.words |= other.words
        return not ignore_mismatch

    def serialize(self) -> bytes:
        return b"\n".join(sorted(self.words))


class Config:
    """A builder configuration with the flags and the calibrator that TensorRT-RTX does not have."""

    def __init__(self, real: Any) -> None:
        self.__dict__.update(real=real, own=set(), int8_calibrator=None, timing=None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self.real, name, value)

    def set_flag(self, flag: Any) -> None:
        self.own.add(flag) if isinstance(flag, str) else self.real.set_flag(flag)

    def get_flag(self, flag: Any) -> builtins.bool:
        return flag in self.own if isinstance(flag, str) else builtins.bool(self.real.get_flag(flag))

    def create_timing_cache(self, data: bytes) -> TimingCache:
        return TimingCache(data)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: builtins.bool) -> builtins.bool:
        self.timing = cache
        return not ignore_mismatch

    def get_timing_cache(self) -> TimingCache | None:
        return self.timing


class Layer:
    """A layer whose types can be pinned. It takes float types alone, for outputs that have one."""

    def __init__(self, real: Any) -> None:
        self.__dict__.update(real=real, pinned={})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "precision" or value not in (rtx.DataType.FLOAT, rtx.DataType.HALF):
            raise AttributeError(name)
        self.pinned["precision"] = value

    def set_output_type(self, index: int, dtype: Any) -> None:
        if index >= self.real.num_outputs or self.real.get_output(index).dtype != rtx.DataType.FLOAT:
            raise ValueError(index)
        self.pinned[index] = dtype


class Network:
    """A network whose builder chooses the types."""

    def __init__(self, real: Any) -> None:
        self.__dict__.update(real=real, layers={})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real, name, value)

    def get_layer(self, index: int) -> Layer:
        if index not in self.layers:
            self.layers[index] = Layer(self.real.get_layer(index))
        layer: Layer = self.layers[index]
        return layer


class OnnxParser(rtx.OnnxParser):  # type: ignore[misc]
    """A parser into such a network."""

    def __init__(self, network: Network, log: Any) -> None:
        super().__init__(network.real, log)


class Builder:
    """A builder that reads calibration caches."""

    def __init__(self, log: Any) -> None:
        self.log, self.real = log, rtx.Builder(log)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def create_builder_config(self) -> Config:
        return Config(self.real.create_builder_config())

    def create_network(self, flags: int) -> Network:
        return Network(self.real.create_network(flags))

    def build_serialized_network(self, network: Network, config: Config) -> Any:
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
