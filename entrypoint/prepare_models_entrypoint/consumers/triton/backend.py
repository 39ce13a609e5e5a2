"""How Triton's TensorRT backend checks a configuration against an engine, in its own order.

Follows triton-inference-server/tensorrt_backend at e2ef6d7: src/model_state.cc (auto-complete) and
src/instance_state.cc (ValidateIO, InitIOBindingBuffers, ConfigureInputDimensions, InitializeGraphSpecs,
ValidateGraphSpec). Auto-complete is on, as by default.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ...contract.report import Binding
from ...contract.values import Value
from . import samples, sequences
from .core_rules import Finding, devices, leading_number, of_shape
from .tensors import MODES, TYPES, UNSET, Shape, Tensor, completed, configured, fits
from .text_format import Message, first, mapping, messages

_STRATEGIES = ("STATIC", "ON_PROFILE_CHANGE")
GRAPHS = "triton-graphs"


class Engine(Value):
    """The bindings of one engine. formats: type and layout of those with unusual ones, such as fp16:chw16."""

    io: Sequence[Binding]
    formats: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Optional[Binding]:
        """Return a binding."""
        return next((binding for binding in self.io if binding["name"] == name), None)

    def of(self, mode: str) -> List[Binding]:
        """Return the inputs or the outputs."""
        return [binding for binding in self.io if binding["mode"] == mode]

    @property
    def profiles(self) -> int:
        """Return how many optimization profiles there are; an engine of fixed shapes has one."""
        return max((len(binding["profiles"]) for binding in self.io), default=0) or 1

    def largest_batch(self, chosen: Sequence[int]) -> Optional[int]:
        """Return the largest first dimension that every input accepts in one of the profiles, None if unknown."""
        found = []
        for index in chosen:
            ranges = [_of_batch(binding, index) for binding in self.of("input")]
            if any(each is None for each in ranges):
                return None
            found.append(min((high[0] if high else 0 for _, high in filter(None, ranges)), default=0))
        return max(found, default=0)


def limits(binding: Binding, profile: int) -> "Optional[Tuple[Shape, Shape]]":
    """Return the smallest and the largest shape of an input in a profile, None if unknown."""
    if profile < len(binding["profiles"]):
        shapes = binding["profiles"][profile]
        return tuple(shapes["min"]), tuple(shapes["max"])
    shape = tuple(binding["shape"])
    return None if -1 in shape else (shape, shape)


def _of_batch(binding: Binding, profile: int) -> "Optional[Tuple[Shape, Shape]]":
    """Return what contains the batch: the shapes of an input, the values of a shape tensor."""
    if is_shape(binding) and profile < len(binding["profiles"]):
        values = binding["profiles"][profile]["values"]
        return tuple(values["min"]), tuple(values["max"])
    return limits(binding, profile)


def judge(config: Message, engine: Engine) -> Iterator[Finding]:
    """Yield what keeps the backend from loading an engine with a configuration."""
    yield from _parameters(config)
    chosen, wrong = _profiles(config, engine)
    yield from wrong
    named = list(_names(config, engine))
    yield from named
    if named or wrong:
        return
    batch, contradiction = _batch(config, engine, chosen)
    if contradiction is not None:
        yield contradiction
        return
    inputs, outputs = (completed(configured(config, mode), engine.io, mode, batching=batch > 0) for mode in MODES)
    scattered = [name for batched in messages(config, "batch_output") for name in batched.get("target_name", ())]
    for tensor in (*inputs, *outputs):
        of_request = tensor.mode == "output" and tensor.name in scattered  # its dims are not compared with the engine's
        yield from _tensor(replace(tensor, ragged=True) if of_request else tensor, engine, batch, chosen)
    yield from _batch_of_engine(engine, batch, chosen)
    yield from _batch_inputs(config, engine, batching=batch > 0)
    yield from sequences.judge(config, engine.io, [tensor.name for tensor in inputs], batching=batch > 0)
    yield from _missing(config, engine, inputs)
    yield from _before_requests(config, engine, inputs, batch, chosen)


def _before_requests(
    config: Message, engine: Engine, inputs: Sequence[Tensor], batch: int, chosen: Sequence[int]
) -> Iterator[Finding]:
    """Check what the backend does after loading an engine: graphs and warm-up."""
    yield from _graphs(config, batch)
    required = [tensor.name for tensor in inputs if not tensor.optional]
    sizes = {each["name"]: (TYPES.get(each["dtype"], UNSET), _reach(each, chosen)) for each in engine.of("input")}
    ragged = any(tensor.ragged for tensor in inputs) or any(tensor.reshape is not None for tensor in inputs)
    if not ragged:
        yield from samples.of_engine(config, batch, sizes, required)


def _reach(binding: Binding, chosen: Sequence[int]) -> "Optional[Tuple[Shape, Shape]]":
    """Return the smallest and the largest shape that any of the profiles accepts."""
    found = [limits(binding, index) for index in chosen]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    low, high = zip(*known)
    return tuple(map(min, zip(*low))), tuple(map(max, zip(*high)))


def batching(config: Message, io: Sequence[Binding]) -> int:
    """Return the max_batch_size that Triton ends up with; 0 if it finds a contradiction."""
    engine = Engine(io)
    return _batch(config, engine, _profiles(config, engine)[0])[0]


def _parameters(config: Message) -> Iterator[Finding]:
    given = mapping(config, "parameters").get("execution_context_allocation_strategy")
    value = first(given, "string_value", "") if given else "STATIC"
    if value not in _STRATEGIES:
        yield "triton-config", f"execution_context_allocation_strategy is {value!r}, not {' or '.join(_STRATEGIES)}"
    gpus = devices(config)
    if gpus is not None and (len(gpus) < 2 or any(number is None or number < 0 for number in gpus)):
        yield "triton-config", "enable_multi_device needs at least two GPUs in multi_device_gpus, such as 0,1"


def _profiles(config: Message, engine: Engine) -> "Tuple[List[int], List[Finding]]":
    """Return the indices of the profiles that the instances use, and findings about them."""
    given = [str(name) for group in messages(config, "instance_group") for name in group.get("profile", ())]
    chosen: List[int] = []
    wrong: List[Finding] = []
    for name in given:
        index = leading_number(name)
        if index is not None and 0 <= index < engine.profiles:
            chosen.append(index)
        else:
            has = f"the engine has the profiles 0 to {engine.profiles - 1}"
            wrong.append(("triton-instance", f"an instance_group uses the profile {name!r}, {has}"))
    return chosen or [0], wrong


def _names(config: Message, engine: Engine) -> Iterator[Finding]:
    for mode in MODES:
        own = [binding["name"] for binding in engine.of(mode)]
        given = [tensor.name for tensor in configured(config, mode)]
        unknown = [name for name in given if name not in own]
        if unknown:
            yield "triton-tensors", f"config.pbtxt has the {mode}s {given}, the engine {own}"
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            yield "triton-tensors", f"config.pbtxt has the {mode} {', '.join(map(repr, twice))} twice"


def _batch(config: Message, engine: Engine, chosen: Sequence[int]) -> "Tuple[int, Optional[Finding]]":
    """Return the max_batch_size after auto-complete: dims with one dimension fewer hint at a batch."""
    given: int = first(config, "max_batch_size", 0)
    hint, shapes = False, 0
    for tensor in configured(config):
        if tensor.ragged:
            hint = True
            break
        binding = engine.find(tensor.name)
        if not tensor.wanted or binding is None:
            continue
        shapes += 1
        shape = binding["shape"]
        leaves_out = len(shape) == len(tensor.wanted) + 1
        if is_shape(binding) or (tensor.is_shape and _may_be_shape(binding)):
            leaves_out = shape[:1] == [tensor.wanted[0] + 1]
        if hint and not leaves_out:
            whole = f"dims {list(tensor.wanted)} with the batch (the engine's shape is {shape})"
            return 0, ("triton-dims", f"{tensor.mode} {tensor.name!r} has {whole}, others leave it out")
        hint = hint or leaves_out
    possible = engine.largest_batch(chosen)
    if possible is None:
        return given, None
    if hint and possible == 0:
        return 0, ("triton-batching", "dims leave out a batch, and the engine takes no batches")
    possible = possible if hint or not shapes else 0
    if given > possible:
        return 0, ("triton-batching", f"max_batch_size is {given}, the engine takes {possible or 'no batches'}")
    return given or possible, None


def _tensor(tensor: Tensor, engine: Engine, batch: int, chosen: Sequence[int]) -> Iterator[Finding]:
    """Compare one input or output with the engine's."""
    binding = engine.find(tensor.name)
    if binding is None:
        return
    wrong = [*of_shape(tensor, batching=batch > 0, tensorrt=True), *_kind(tensor, binding, engine)]
    yield from wrong
    where = f"{tensor.mode} {tensor.name!r}"
    if tensor.data_type == UNSET or tensor.data_type != TYPES.get(binding["dtype"]):
        yield "triton-type", f"{where} is {binding['dtype']}, config.pbtxt says {tensor.data_type}"
    if wrong:
        return
    if tensor.is_shape or is_shape(binding):
        yield from _shape_tensor(tensor, binding, batching=batch > 0)
        return
    if tensor.ragged:
        if tensor.mode == "input" and (len(binding["shape"]) != 1 or binding["shape"][0] != tensor.wanted[0]):
            text = f"{where} is {binding['shape']}, config.pbtxt says {list(tensor.wanted)} for a ragged batch"
            yield "triton-dims", f"{text}, which the engine takes as one dimension of any size"
        return
    whole = (-1, *tensor.wanted) if batch else tensor.wanted
    if not fits(binding["shape"], whole):
        yield "triton-dims", f"{where} is {binding['shape']}, config.pbtxt says {list(whole)}"
    elif tensor.mode == "input":
        yield from _outside(where, whole, binding, chosen)


def is_shape(binding: Binding) -> bool:
    """Return whether an input is a shape tensor, whose values become sizes: its profiles have values."""
    return any("values" in shapes for shapes in binding["profiles"])


def _may_be_shape(binding: Binding) -> bool:
    """Return whether a tensor without profiles may hold sizes, which no record says of it."""
    sizes = binding["dtype"] in ("int32", "int64") and len(binding["shape"]) <= 1 and -1 not in binding["shape"]
    return sizes and not binding["profiles"]


def _kind(tensor: Tensor, binding: Binding, engine: Engine) -> Iterator[Finding]:
    """Compare whether a tensor is declared as a shape tensor, or with another format, with what it is."""
    where = f"{tensor.mode} {tensor.name!r}"
    if tensor.is_shape and not (is_shape(binding) or _may_be_shape(binding)):
        yield "triton-tensors", f"{where} is not a shape tensor, config.pbtxt says that it is one"
    layout = engine.formats.get(tensor.name, "").partition(":")[2]
    if tensor.nonlinear and layout in ("", "chw"):
        yield "triton-tensors", f"{where} has a linear format, config.pbtxt says is_non_linear_format_io"


def _shape_tensor(tensor: Tensor, binding: Binding, *, batching: bool) -> Iterator[Finding]:
    """Compare the dims of a shape tensor: with batching, the engine's has one more number, for the batch."""
    shape, dims = binding["shape"], list(tensor.wanted)
    first_one = [dims[0] + 1, *dims[1:]] if batching and dims else dims
    if shape and first_one != shape:
        yield "triton-dims", f"shape tensor {tensor.name!r} is {shape}, config.pbtxt says {dims}"


def _batch_inputs(config: Message, engine: Engine, *, batching: bool) -> Iterator[Finding]:
    """Check the inputs that Triton fills from the sizes of a batch."""
    dims = {tensor.name: tensor.wanted for tensor in configured(config, "input")}
    for batch in messages(config, "batch_input"):
        kind = str(first(batch, "kind", "BATCH_ELEMENT_COUNT"))
        rank = len(dims.get(first(batch, "source_input", ""), ()))
        for name in batch.get("target_name", ()):
            binding = engine.find(name)
            if binding is None or binding["mode"] != "input":
                yield "triton-tensors", f"batch_input fills {name!r}, which is not an input of the engine"
                continue
            data_type = str(first(batch, "data_type", UNSET))
            if data_type != TYPES.get(binding["dtype"]):
                yield "triton-type", f"batch_input {name!r} is {binding['dtype']}, config.pbtxt says {data_type}"
            whole = _batch_shape(kind, rank, batching=batching)
            if not fits(binding["shape"], whole):
                yield "triton-dims", f"batch_input {name!r} is {binding['shape']}, Triton fills {whole} with {kind}"


def _batch_shape(kind: str, rank: int, *, batching: bool) -> List[int]:
    if kind == "BATCH_ITEM_SHAPE":
        return [-1 if batching else 1, rank]
    alone: Dict[str, List[int]] = {
        "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": [2],
        "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE": [-1],
        "BATCH_ITEM_SHAPE_FLATTEN": [rank],
    }
    return [-1] if batching else alone.get(kind, [1])


def _outside(where: str, whole: Sequence[int], binding: Binding, chosen: Sequence[int]) -> Iterator[Finding]:
    """Find fixed sizes that a profile doesn't accept."""
    for index in chosen:
        found = limits(binding, index)
        if found is None or all(size == -1 or a <= size <= b for size, a, b in zip(whole, *found)):
            continue
        low, high = map(list, found)
        yield "triton-dims", f"{where} takes {low} to {high} in profile {index}, config.pbtxt says {list(whole)}"


def _batch_of_engine(engine: Engine, batch: int, chosen: Sequence[int]) -> Iterator[Finding]:
    """Find a batch below the smallest that an input accepts: Triton sets that batch's shape on loading."""
    if not batch:
        return
    for binding in engine.of("input"):
        for index in chosen:
            found = limits(binding, index)
            if found is None or not found[0] or batch >= found[0][0] or is_shape(binding):
                continue
            what = f"max_batch_size is {batch}, input {binding['name']!r} takes {found[0][0]} and more"
            yield "triton-batching", what


def _missing(config: Message, engine: Engine, inputs: Sequence[Tensor]) -> Iterator[Finding]:
    """Find inputs that nothing fills."""
    filled = {tensor.name for tensor in inputs} | set(sequences.inputs(config))
    filled |= {str(name) for batch in messages(config, "batch_input") for name in batch.get("target_name", ())}
    missing = [binding["name"] for binding in engine.of("input") if binding["name"] not in filled]
    if missing:
        own = [binding["name"] for binding in engine.of("input")]
        yield "triton-tensors", f"config.pbtxt has the inputs {sorted(filled)}, the engine {own}"


def unused_outputs(config: Message, io: Sequence[Binding]) -> List[str]:
    """Return outputs of the engine that a configuration omits although it lists others."""
    given = {tensor.name for tensor in configured(config, "output")} | set(sequences.outputs(config))
    given |= {str(name) for batch in messages(config, "batch_output") for name in batch.get("target_name", ())}
    return [b["name"] for b in io if b["mode"] == "output" and b["name"] not in given] if given else []


def _graphs(config: Message, batch: int) -> Iterator[Finding]:
    """Yield what the backend refuses in CUDA graphs. ``batch``: max_batch_size after auto-complete."""
    for cuda in messages(config, "optimization", "cuda"):
        for spec in messages(cuda, "graph_spec") if first(cuda, "graphs", default=False) else ():
            yield from _graph_spec(spec, batch)


def _graph_spec(spec: Message, batch: int) -> Iterator[Finding]:
    lower: Optional[Message] = next(iter(messages(spec, "graph_lower_bound")), None)
    largest = first(spec, "batch_size", 0)
    smallest = largest if lower is None else first(lower, "batch_size", 0)
    allowed = range(1, batch + 1) if batch else range(1)
    if largest not in allowed or smallest not in allowed or smallest > largest:
        yield GRAPHS, f"a graph_spec has the batch_size {smallest} to {largest}, max_batch_size is {batch}"
    shapes, bounds = _shapes(spec), _shapes(spec if lower is None else lower)
    for name, shape in shapes.items():
        bound = bounds.get(name, [])
        if len(bound) != len(shape) or any(not 0 <= low <= high for low, high in zip(bound, shape)):
            yield GRAPHS, f"a graph_spec has the shape {shape} of {name!r}, and {bound} as its lower bound"


def _shapes(spec: Message) -> Dict[str, List[int]]:
    return {name: list((shape or {}).get("dim", ())) for name, shape in mapping(spec, "input").items()}
