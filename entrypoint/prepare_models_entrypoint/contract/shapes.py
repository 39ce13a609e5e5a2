"""Shapes of input bindings, and the kinds of values that are dimensions."""

from __future__ import annotations

import re
from typing import List, Mapping, Optional, Sequence, Tuple, Type, TypeVar

from . import codec
from .codec import ContractError
from .kinds import MOST_DIGITS, Flag, Kind, Schema, or_variable
from .settings import REQUIRED, Nested, Record, setting

T = TypeVar("T", bound="ShapeRange")

DIMS: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": or_variable("[0-9]+")}]},
}


class Dims(Kind):
    """Dimensions, written with commas or ``x``."""

    expected = "dimensions such as 3,544,960"

    def parse(self, text: str) -> Tuple[int, ...]:
        if not re.fullmatch(r"[0-9]+(?:[,x][0-9]+)*", text):
            raise ValueError(self.expected)
        return tuple(int(size) for size in re.split("[,x]", text))

    def decode(self, raw: object, what: str) -> Tuple[int, ...]:
        return tuple(codec.typed(size, int, f"{what}[]") for size in codec.typed(raw, list, what))

    def encode(self, value: Sequence[int]) -> List[int]:
        return list(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}, DIMS]}


class Shape(Dims):
    """A shape such as ``1x3x544x960``."""

    expected = "a shape such as 1x3x544x960, or {min:, opt:, max:}"

    def parse(self, text: str) -> Tuple[int, ...]:
        if "," in text or any(len(size) > MOST_DIGITS for size in text.split("x")):
            raise ValueError(self.expected)
        return super().parse(text)

    def meant(self, text: str) -> Optional[str]:
        sizes_found = re.findall("[0-9]+", text)
        plain = re.fullmatch(r"[\[(]?\s*[0-9]{1,18}(\s*[,x*X]\s*[0-9]{1,18})*\s*[\])]?", text)
        return "x".join(sizes_found) if plain else None

    def schema(self) -> Schema:
        return {"$ref": "#/$defs/shape"}


class ShapeRange(Record):
    """The smallest, best and largest that one input binding takes in an optimization profile.

    They are shapes, as dimensions; with ``values`` they are the values of a shape tensor: an input whose values become
    sizes inside the network.
    """

    min: Tuple[int, ...] = setting(Dims(), "", default=REQUIRED)
    opt: Tuple[int, ...] = setting(Dims(), "", default=REQUIRED)
    max: Tuple[int, ...] = setting(Dims(), "", default=REQUIRED)
    values: bool = setting(Flag(), "", default=False, later=True)

    @classmethod
    def from_dict(cls: Type[T], raw: Mapping[str, object], what: str = "shapes") -> T:
        """Read the range; raise a ContractError also if ``problem`` has one."""
        shapes = super().from_dict(raw, what)
        problem = shapes.problem()
        if problem:
            raise ContractError(f"{what}: {problem}")
        return shapes

    def problem(self) -> Optional[str]:
        """Return what is wrong with the range, or None: the three must have one rank, and min <= opt <= max."""
        if not len(self.min) == len(self.opt) == len(self.max):
            return f"min, opt and max differ in rank ({len(self.min)}, {len(self.opt)}, {len(self.max)})"
        what, lowest = ("value", "") if self.values else ("axis", "0 <= ")
        for axis, (low, mid, high) in enumerate(zip(self.min, self.opt, self.max)):
            if not low <= mid <= high or (low < 0 and not self.values):
                return f"{what} {axis}: expected {lowest}min <= opt <= max, found {low}, {mid}, {high}"
        return None


class Shapes(Nested):
    """The range of shapes of an input: one shape, or min, opt and max."""

    def __init__(self) -> None:
        super().__init__(ShapeRange, Shape.expected)

    def schema(self) -> Schema:
        return {"$ref": "#/$defs/shapes"}
