"""Shapes of input bindings."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

from .values import Value


class ShapeRange(Value):
    """The smallest, best and largest that one input binding takes in an optimization profile.

    They are shapes, as dimensions; with ``values`` they are the values of a shape tensor: an input whose values become
    sizes inside the network.
    """

    min: Tuple[int, ...]
    opt: Tuple[int, ...]
    max: Tuple[int, ...]
    values: bool = False

    def to_dict(self) -> Dict[str, object]:
        """Return the JSON form."""
        bounds: Dict[str, object] = {"min": list(self.min), "opt": list(self.opt), "max": list(self.max)}
        return {**bounds, "values": True} if self.values else bounds

    def problem(self) -> Optional[str]:
        """Return what is wrong with the range, or None: the three must have one rank, and min <= opt <= max."""
        if not len(self.min) == len(self.opt) == len(self.max):
            return f"min, opt and max differ in rank ({len(self.min)}, {len(self.opt)}, {len(self.max)})"
        what, lowest = ("value", "") if self.values else ("axis", "0 <= ")
        for axis, (low, mid, high) in enumerate(zip(self.min, self.opt, self.max)):
            if not low <= mid <= high or (low < 0 and not self.values):
                return f"{what} {axis}: expected {lowest}min <= opt <= max, found {low}, {mid}, {high}"
        return None
