"""Runs an engine loaded by a lean or dispatch runtime: Polygraphy needs types that these modules lack.

It uses the CUDA driver for memory and copies: the driver exists wherever an engine loads, the CUDA runtime may not.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any, Dict, Mapping

import numpy as np

from ..converters.backend import dims, dtype_name, trt
from ..errors import VerifyError


class LeanRunner:
    """An execution context and its buffers; a context manager."""

    def __init__(self, engine: trt.ICudaEngine) -> None:
        self._engine = engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        self._seconds = 0.0

    def __enter__(self) -> "LeanRunner":  # noqa: PYI034  # Python 3.8 has no Self
        self._device = _Device()
        self._context = self._engine.create_execution_context()
        return self

    def __exit__(self, *_: object) -> None:
        """Free the buffers."""
        del self._context
        self._device.free()

    def infer(self, feed_dict: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the outputs by name."""
        started = time.perf_counter()
        for name in self._inputs:
            self._feed(name, np.ascontiguousarray(feed_dict[name].astype(self._numpy(name))))
        outputs = {name: self._room(name) for name in self._outputs}
        if not bool(self._context.execute_async_v3(0)):
            raise VerifyError("verification-impossible", "the engine did not run", hint="the log has TensorRT's errors")
        self._device.wait()
        for name, array in outputs.items():
            self._device.download(name, array)
        self._seconds = time.perf_counter() - started
        return outputs

    def last_inference_time(self) -> float:
        """Return the seconds that the last call took, copies included."""
        return self._seconds

    def _is_on_host(self, name: str) -> bool:
        if not hasattr(trt, "TensorLocation"):  # the lean runtime of 8.6 has the method, and not the type of its answer
            return bool(self._engine.is_shape_inference_io(name))
        return bool(self._engine.get_tensor_location(name) == trt.TensorLocation.HOST)

    def _numpy(self, name: str) -> Any:
        dtype = dtype_name(self._engine.get_tensor_dtype(name))
        try:
            return np.dtype(dtype)
        except TypeError:
            why = f"binding {name!r} is {dtype}, which numpy does not have"
            raise VerifyError("verification-impossible", why, hint="verify with the full TensorRT") from None

    def _feed(self, name: str, array: Any) -> None:
        if not bool(self._context.set_input_shape(name, trt.Dims(list(array.shape)))):
            why = f"the engine does not take {name!r} in the shape {list(array.shape)}"
            raise VerifyError("verification-samples-unusable", why, hint="give samples within the first profile")
        if self._is_on_host(name):
            self._device.keep(name, array)
            self._context.set_tensor_address(name, array.ctypes.data)
        else:
            self._context.set_tensor_address(name, self._device.upload(name, array))

    def _room(self, name: str) -> Any:
        shape = dims(self._context.get_tensor_shape(name))
        if -1 in shape:
            why = f"the shape of the output {name!r} depends on the values of the inputs"
            raise VerifyError("verification-impossible", why, hint="verify with the full TensorRT")
        array = np.empty(shape, self._numpy(name))
        self._context.set_tensor_address(name, self._device.room(name, array.nbytes))
        return array


class _Device:
    """Buffers on the first GPU, by name."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._buffers: Dict[str, ctypes.c_uint64] = {}
        self._sizes: Dict[str, int] = {}
        self._kept: Dict[str, Any] = {}
        self._context = ctypes.c_void_p()
        self._check(self._cuda.cuInit(0))
        self._check(self._cuda.cuDevicePrimaryCtxRetain(ctypes.byref(self._context), 0))
        self._check(self._cuda.cuCtxSetCurrent(self._context))

    def room(self, name: str, size: int) -> int:
        """Return the address of a buffer of at least ``size`` bytes."""
        if self._sizes.get(name, -1) < size:
            self._drop(name)
            address = ctypes.c_uint64()
            self._check(self._cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(max(size, 1))))
            self._buffers[name], self._sizes[name] = address, size
        return self._buffers[name].value

    def upload(self, name: str, array: Any) -> int:
        """Return the address of a copy of an array."""
        address = self.room(name, array.nbytes)
        source = ctypes.c_void_p(array.ctypes.data)
        self._check(self._cuda.cuMemcpyHtoD_v2(self._buffers[name], source, ctypes.c_size_t(array.nbytes)))
        return address

    def download(self, name: str, array: Any) -> None:
        """Fill an array from its buffer."""
        target = ctypes.c_void_p(array.ctypes.data)
        self._check(self._cuda.cuMemcpyDtoH_v2(target, self._buffers[name], ctypes.c_size_t(array.nbytes)))

    def keep(self, name: str, array: Any) -> None:
        """Keep CPU memory alive that the engine reads."""
        self._kept[name] = array

    def wait(self) -> None:
        """Wait until the GPU is done."""
        self._check(self._cuda.cuCtxSynchronize())

    def free(self) -> None:
        """Free everything."""
        for name in list(self._buffers):
            self._drop(name)
        self._cuda.cuDevicePrimaryCtxRelease_v2(0)

    def _drop(self, name: str) -> None:
        if name in self._buffers:
            self._cuda.cuMemFree_v2(self._buffers.pop(name))
            del self._sizes[name]

    @staticmethod
    def _check(status: int) -> None:
        if status:
            raise VerifyError(
                "verification-impossible", f"the CUDA driver failed with error {status}", hint="free memory of the GPU"
            )
