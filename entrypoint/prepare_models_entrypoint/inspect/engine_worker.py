"""Reads an engine's inputs and outputs from the engine itself, in a process of its own: deserialization can crash.

``python -m prepare_models_entrypoint.inspect.engine_worker REQUEST EVENTS_FD``, where a CUDA device exists.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List

from ..contract.files import write_atomic
from ..contract.report import Binding, EngineDetails, Layer, ProfileShapes
from ..converters import layer_info
from ..processes import die_with_parent


def main(request_path: str, events_fd: str) -> int:
    """Write the bindings, or why the engine does not load, to the request's result file."""
    del events_fd
    request: Dict[str, Any] = json.loads(Path(request_path).read_text(encoding="utf-8"))
    die_with_parent(request["parent"])
    write_atomic(request["result"], json.dumps(_read(request["plan"])).encode("utf-8"), mode=0o600)
    return 0


def _read(plan: str) -> Dict[str, Any]:
    from ..converters import backend

    log = backend.Log()
    runtime = backend.trt.Runtime(log)
    engine: Any = runtime.deserialize_cuda_engine(Path(plan).read_bytes())
    if engine is None:
        return {"io": [], "why_not": (log.errors or ["the runtime gives no reason"])[-1]}
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    layers = _layers(backend, engine)
    return {
        "io": [_binding(backend, engine, name) for name in names],
        "layers": layers,
        "details": _details(engine, layers),
        "why_not": None,
    }


def _details(engine: Any, layers: Any) -> EngineDetails:
    """Return memory and layers, without an execution context: that would allocate the activations."""
    # device_memory_size ended with TensorRT 11, _v2 came with 10.1; only 8.6 to 10.0 lack it.
    memory = getattr(engine, "device_memory_size_v2", None)
    return EngineDetails(
        source="engine",
        name=engine.name,
        device_memory_bytes=engine.device_memory_size if memory is None else memory,
        streamable_weights_bytes=getattr(engine, "streamable_weights_size", None),
        layers=layer_info.layers(layers) or _nameless(engine.num_layers),
    )


def _nameless(count: int) -> List[Layer]:
    return [Layer(name=f"layer {number}", type="unknown", precision=None, outputs=[]) for number in range(count)]


def _layers(backend: Any, engine: Any) -> Any:
    """Return the engine's layer information, or None where this build of it has none."""
    inspector: Any = engine.create_engine_inspector()
    try:
        return json.loads(inspector.get_engine_information(backend.trt.LayerInformationFormat.JSON))
    except ValueError:
        return None


def _binding(backend: Any, engine: Any, name: str) -> Binding:
    is_input = engine.get_tensor_mode(name) == backend.trt.TensorIOMode.INPUT
    profiles: List[ProfileShapes] = []
    if is_input:
        for index in range(engine.num_optimization_profiles):
            low, mid, high = (list(shape) for shape in engine.get_tensor_profile_shape(name, index))
            profiles.append(ProfileShapes(min=low, opt=mid, max=high))
    return Binding(
        name=name,
        mode="input" if is_input else "output",
        dtype=backend.dtype_name(engine.get_tensor_dtype(name)),
        shape=list(engine.get_tensor_shape(name)),
        profiles=profiles,
        source="engine",
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
