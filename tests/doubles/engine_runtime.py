"""Double of the part of TensorRT's Python module that reads engines, for which a GPU is needed.

A plan here is a header of 64 bytes and a JSON object, whose ``engine`` has the attributes of ICudaEngine by their
documented names. It is strict: what the object does not name does not exist, and execution contexts are refused.
"""

from __future__ import annotations

import enum
import json
import os
import signal
from typing import Any

__version__ = "10.3.0"


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class LayerInformationFormat(enum.Enum):
    ONELINE = 0
    JSON = 1


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4


registered: list[str] = []


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    registered.append(namespace)
    return True


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self.logger: Any = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        told = json.loads(plan[64:].decode("utf-8"))
        if told.get("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if told.get("version_compatible") and not self.engine_host_code_allowed:
            self.logger.log(ILogger.Severity.ERROR, "engine_host_code_allowed is false")
            return None
        if "refused" in told:
            self.logger.log(ILogger.Severity.ERROR, told["refused"])
            return None
        if told.get("plugin") and not registered:  # as TensorRT 8.5.2 says of an engine with EfficientNMS_TRT
            self.logger.log(
                ILogger.Severity.ERROR,
                "1: [pluginV2Runner.cpp::load::300] Error Code 1: Serialization (Serialization assertion creator "
                "failed.Cannot deserialize plugin since corresponding IPluginCreator not found in Plugin Registry)",
            )
            return None
        return Engine(told["engine"])


class Engine:
    def __init__(self, told: dict[str, Any]) -> None:
        self._tensors: list[dict[str, Any]] = told.pop("tensors")
        self._layers: Any = told.pop("layers")
        self.num_io_tensors = len(self._tensors)
        for name, value in told.items():
            setattr(self, name, value)

    def get_tensor_name(self, index: int) -> str:
        name: str = self._tensors[index]["name"]
        return name

    def _tensor(self, name: str) -> dict[str, Any]:
        (found,) = [tensor for tensor in self._tensors if tensor["name"] == name]
        return found

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode[self._tensor(name)["mode"]]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[self._tensor(name)["dtype"]]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name)["shape"])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self._tensor(name)["profiles"][profile_index]]

    def create_engine_inspector(self) -> EngineInspector:
        if self._layers == "no inspector":  # as a lean runtime of TensorRT 10 says of an engine of 8.6
            raise TypeError("this engine has no inspector")
        return EngineInspector(self._layers)

    def create_execution_context(self) -> None:
        raise AssertionError("an execution context allocates the activations")


class EngineInspector:
    def __init__(self, layers: Any) -> None:
        self._layers = layers

    def get_engine_information(self, layer_format: LayerInformationFormat) -> str:
        assert layer_format is LayerInformationFormat.JSON
        return json.dumps({"Layers": self._layers, "Bindings": []}) if self._layers is not None else ""
