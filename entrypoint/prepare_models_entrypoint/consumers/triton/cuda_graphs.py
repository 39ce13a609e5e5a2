"""CUDA graphs that config.pbtxt asks for.

Follows triton-inference-server/tensorrt_backend at e2ef6d7: InitializeGraphSpecs and ValidateGraphSpec in
src/instance_state.cc.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional

from .core_rules import Finding
from .text_format import Message, first, mapping, messages

CODE = "triton-graphs"


def judge(config: Message, batch: int) -> Iterator[Finding]:
    """Yield what the backend refuses. ``batch``: max_batch_size after auto-complete."""
    for cuda in messages(config, "optimization", "cuda"):
        for spec in messages(cuda, "graph_spec") if first(cuda, "graphs", default=False) else ():
            yield from _spec(spec, batch)


def _spec(spec: Message, batch: int) -> Iterator[Finding]:
    lower: Optional[Message] = next(iter(messages(spec, "graph_lower_bound")), None)
    largest = first(spec, "batch_size", 0)
    smallest = largest if lower is None else first(lower, "batch_size", 0)
    allowed = range(1, batch + 1) if batch else range(1)
    if largest not in allowed or smallest not in allowed or smallest > largest:
        yield CODE, f"a graph_spec has the batch_size {smallest} to {largest}, max_batch_size is {batch}"
    shapes, bounds = _shapes(spec), _shapes(spec if lower is None else lower)
    for name, shape in shapes.items():
        bound = bounds.get(name, [])
        if len(bound) != len(shape) or any(not 0 <= low <= high for low, high in zip(bound, shape)):
            yield CODE, f"a graph_spec has the shape {shape} of {name!r}, and {bound} as its lower bound"


def _shapes(spec: Message) -> Dict[str, List[int]]:
    return {name: list((shape or {}).get("dim", ())) for name, shape in mapping(spec, "input").items()}
