"""Reads an engine's inputs and outputs from the engine itself, in a separate process: deserialization can crash.

Its arguments are ``REQUEST EVENTS_FD``. It is started only if there is a GPU.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, TypedDict, TypeVar

from .. import reach
from ..confinement import confine
from ..contract.backends import take
from ..contract.files import pass_on
from ..contract.job import ModelJob
from ..contract.report import Binding, EngineDetails, Layer, ProfileShapes
from ..converters import layer_info
from ..errors import ConvertError
from ..processes import die_with_parent

if TYPE_CHECKING:
    from ..converters.backend import trt

T = TypeVar("T")


class Answer(TypedDict):
    """What an engine reports, or ``why_not``. ``unknown``: the parts that could not be read, with reasons."""

    io: List[Binding]
    layers: object
    details: Optional[EngineDetails]
    unknown: List[str]
    why_not: Optional[str]


def main(argv: Sequence[str]) -> int:
    """Write the bindings, or why the engine doesn't load, to the request's result file."""
    request: Dict[str, Any] = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    die_with_parent(request["parent"])
    take(request["module"])
    work_dir = Path(request["result"]).parent
    model = ModelJob.from_dict(request["model"]) if request["model"] else None
    confine(reach.of(work_dir=work_dir, model=model, read=[request["plan"]]), private=work_dir)
    pass_on(request["result"], json.dumps(_read(request["plan"], model)).encode("utf-8"))
    return 0


def _read(plan: str, model: Optional[ModelJob]) -> Answer:
    from ..converters import engine_loading

    try:
        loaded = engine_loading.load_engine(Path(plan), own=model is not None, plugins=model.plugins if model else ())
    except ConvertError as error:
        return not_loaded(error.message)
    if loaded.engine is None:
        return not_loaded(loaded.why_not)
    engine = loaded.engine
    unknown: List[str] = []

    def part(what: str, ask: Callable[[], T]) -> Optional[T]:
        """Return a part of the answer; an older engine refuses some parts (None), and the rest still counts."""
        try:
            return ask()
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            unknown.append(f"{what}: {error}")
            return None

    def nameless() -> List[Layer]:
        count = engine.num_layers
        return [Layer(name=f"layer {index}", type="unknown", precision=None, outputs=[]) for index in range(count)]

    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    layers = part("layers", lambda: _layers(engine))
    return Answer(
        io=[_binding(engine, name) for name in names],
        layers=layers,
        details=EngineDetails(
            source="engine",
            name=part("name", lambda: str(engine.name)) or "",
            device_memory_bytes=part("memory", lambda: engine_loading.memory_of(engine)),
            streamable_weights_bytes=part("weights", lambda: getattr(engine, "streamable_weights_size", None)),
            layers=layer_info.layers(layers) or part("layers", nameless) or [],
        ),
        unknown=unknown,
        why_not=None,
    )


def not_loaded(why: Optional[str]) -> Answer:
    """Return the answer for an engine that doesn't load."""
    return Answer(io=[], layers=None, details=None, unknown=[], why_not=why)


def _layers(engine: trt.ICudaEngine) -> object:
    """Return the engine's layer information."""
    from ..converters import backend

    inspector = engine.create_engine_inspector()
    return layer_info.parse(inspector.get_engine_information(backend.trt.LayerInformationFormat.JSON))


def _binding(engine: trt.ICudaEngine, name: str) -> Binding:
    from ..converters import backend

    is_input = bool(engine.get_tensor_mode(name) == backend.trt.TensorIOMode.INPUT)
    profiles: List[ProfileShapes] = []
    if is_input:
        for index in range(engine.num_optimization_profiles):
            low, mid, high = (backend.dims(shape) for shape in engine.get_tensor_profile_shape(name, index))
            profiles.append(ProfileShapes(min=low, opt=mid, max=high))
    return Binding(
        name=name,
        mode="input" if is_input else "output",
        dtype=backend.dtype_name(engine.get_tensor_dtype(name)),
        shape=backend.dims(engine.get_tensor_shape(name)),
        profiles=profiles,
        source="engine",
    )
