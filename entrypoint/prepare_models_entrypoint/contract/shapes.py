"""Shapes of input bindings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Tuple

from . import codec
from .codec import ContractError


@dataclass(frozen=True)
class ShapeRange:
    """Shapes of one input binding in an optimization profile: minimum, optimum and maximum, as dimensions."""

    min: Tuple[int, ...]
    opt: Tuple[int, ...]
    max: Tuple[int, ...]

    @classmethod
    def from_dict(cls, raw: Mapping[str, object], what: str = "inputs") -> ShapeRange:
        """Read a range; the three shapes must have one rank and rise from min over opt to max."""
        codec.check_keys(raw, ("min", "opt", "max"), what)
        shapes = cls(*(codec.integers(raw, key, what) for key in ("min", "opt", "max")))
        problem = shapes.problem()
        if problem:
            raise ContractError(f"{what}: {problem}")
        return shapes

    def to_dict(self) -> Dict[str, List[int]]:
        """Return the JSON form."""
        return {"min": list(self.min), "opt": list(self.opt), "max": list(self.max)}

    def problem(self) -> Optional[str]:
        """Say what is wrong with the range, or None."""
        if not len(self.min) == len(self.opt) == len(self.max):
            return f"min, opt and max differ in rank ({len(self.min)}, {len(self.opt)}, {len(self.max)})"
        for axis, (low, mid, high) in enumerate(zip(self.min, self.opt, self.max)):
            if not 0 < low <= mid <= high:
                return f"axis {axis}: expected 0 < min <= opt <= max, found {low}, {mid}, {high}"
        return None
