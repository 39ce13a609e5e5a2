"""Optimization profiles: the manifest's shapes, checked against the network's inputs. Pure functions, no backend."""

from __future__ import annotations

import re
import shlex
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..contract.report import Binding, ProfileShapes, ValueRange
from ..contract.shapes import ShapeRange
from ..errors import ConvertError

DYNAMIC = -1

# Names that exporters give to unknown dimensions: equal names don't mean equal sizes.
_ANONYMOUS = r"(?i)|\?|\*|-1|none|dyn(amic)?|unk(nown)?(_*\d+)?|(p2o\.)?DynamicDimension\.\d+"
_BATCH = r"(?i)(.*[^a-z])?(batch|batch_?size|bs?)([^a-z].*)?"
_IMAGE_RANK = 4

Profile = Mapping[str, ShapeRange]
Resolved = Dict[str, ProfileShapes]


class Traits(NamedTuple):
    """What a parser reports about an input besides its binding.

    dimensions: names of its dimensions, None for those without. sizes: whether its values become sizes inside the
    network (a shape tensor); None if unknown.
    """

    dimensions: Tuple[Optional[str], ...] = ()
    sizes: Optional[bool] = None


def resolve(
    bindings: Sequence[Binding], inputs: Profile, more: Sequence[Profile] = (), *,
    traits: Optional[Mapping[str, Traits]] = None,
) -> List[Resolved]:  # fmt: skip
    """Return all optimization profiles, with shapes for every input: that of ``inputs``, then those of ``more``.

    Static inputs need no entry; a given one must agree with the model.

    Raises:
        ConvertError: an input is unknown, lacks shapes that only the user knows, or has shapes that contradict the
        model.
    """
    wanted = list(more) if more and not inputs else [inputs, *more]
    return [_one(bindings, each, traits or {}) for each in wanted]


def _one(bindings: Sequence[Binding], inputs: Profile, traits: Mapping[str, Traits]) -> Resolved:
    network = {binding["name"]: binding["shape"] for binding in bindings if binding["mode"] == "input"}
    unknown = [name for name in inputs if name not in network]
    if unknown:
        names = ", ".join(f'"{name}"' for name in unknown)
        known = ", ".join(f"{name!r} ({_text(shape)})" for name, shape in network.items())
        raise ConvertError("inputs-unknown", f"the model has no input {names}; its inputs are {known or 'none'}")
    asked = [_Asked(name, shape, traits.get(name, Traits())) for name, shape in network.items() if name not in inputs]
    missing = [each for each in asked if each.needed]
    if missing:
        raise _missing(missing)
    return {name: _resolved(name, shape, inputs.get(name), traits.get(name)) for name, shape in network.items()}


def _resolved(name: str, shape: List[int], wanted: Optional[ShapeRange], traits: Optional[Traits]) -> ProfileShapes:
    if wanted is None:
        return ProfileShapes(min=list(shape), opt=list(shape), max=list(shape))
    sizes = traits.sizes if traits is not None else None
    if sizes is not None and sizes != wanted.values:
        raise _missing([_Asked(name, shape, Traits(sizes=True))]) if sizes else _no_sizes(name, shape)
    if wanted.values:
        return _values(name, shape, wanted)
    if len(wanted.opt) != len(shape):
        raise _mismatch(name, shape, wanted.opt, f"has rank {len(wanted.opt)}, the model's has rank {len(shape)}")
    for axis, fixed in enumerate(shape):
        for dims in (wanted.min, wanted.opt, wanted.max):
            if fixed not in (DYNAMIC, dims[axis]):
                raise _mismatch(name, shape, dims, f"has {dims[axis]} on axis {axis}, the model fixes {fixed}")
    return declared(wanted)


def declared(wanted: ShapeRange) -> ProfileShapes:
    """Return the manifest's shapes of an input as written; several values mean a one-dimensional tensor."""
    low, mid, high = list(wanted.min), list(wanted.opt), list(wanted.max)
    if not wanted.values:
        return ProfileShapes(min=low, opt=mid, max=high)
    dims = [len(mid)] if len(mid) != 1 else []
    return ProfileShapes(min=dims, opt=dims, max=dims, values=ValueRange(min=low, opt=mid, max=high))


def _values(name: str, shape: List[int], wanted: ShapeRange) -> ProfileShapes:
    count = shape[0] if shape else 1
    if count not in (DYNAMIC, len(wanted.opt)):
        raise ConvertError(
            "inputs-mismatch",
            f"input {name!r}: the manifest gives {len(wanted.opt)} values, the model's {_text(shape)} has {count}",
            hint=f"give {count} numbers each for min, opt and max",
        )
    dims = [len(wanted.opt)] if shape else []
    return ProfileShapes(min=dims, opt=dims, max=dims, values=declared(wanted)["values"])


def _no_sizes(name: str, shape: Sequence[int]) -> ConvertError:
    return ConvertError(
        "inputs-mismatch",
        f"input {name!r}: the manifest gives values, but the network does not use them as sizes",
        hint=f"remove values:; to give the input always the same value, write onnx: {{constants: {{{name}: ...}}}}. "
        f"Its shape is {_text(shape)}",
    )


class _Asked:
    """What only the user knows about an input: sizes of dynamic axes, or the values of a shape tensor."""

    def __init__(self, name: str, shape: List[int], traits: Traits) -> None:
        self.name, self.shape, self.sizes = name, shape, bool(traits.sizes)
        self.names = [*traits.dimensions, *[None] * len(shape)][: len(shape)]
        self.axes = [axis for axis, size in enumerate(shape) if size == DYNAMIC]
        self.needed = self.sizes or bool(self.axes)

    def text(self) -> str:
        shape = _text([name or size for name, size in zip(self.names, self.shape)] if self.axes else self.shape)
        return f"{self.name!r} ({'values become sizes, ' if self.sizes else ''}shape {shape or 'scalar'})"

    def own(self) -> List[int]:
        """Return the dynamic axes other than the batch, whose sizes only the user knows."""
        return [axis for axis in self.axes if not self._is_batch(axis)]

    def line(self) -> str:
        """Return what to write: ready to use if only the batch is dynamic, else to be completed by the user."""
        if self.sizes:
            count = self.shape[0] if self.shape else 1
            numbers = "[" + ", ".join("..." for _ in range(max(count, 1))) + "]"
            return f'"{self.name}": {{values: {{min: {numbers}, opt: {numbers}, max: {numbers}}}}}'
        ends = self._ends()
        if len(ends) == 1:
            return f'"{self.name}": {ends[0]}'
        return f'"{self.name}": {{min: {ends[0]}, opt: {ends[1]}, max: {ends[2]}}}'

    def option(self) -> str:
        """Return the same as an option of ``prepare-models convert``, which has none for a shape tensor's values."""
        return f"--shape {shlex.quote(f'{self.name}=' + ':'.join(self._ends()))}"

    def _ends(self) -> List[str]:
        """Return one shape to fill in, or the smallest, best and largest if only the batch is dynamic."""
        own = self.own()
        if own:
            sizes = [self._placeholder(axis) if axis in own else 1 if axis in self.axes else size
                     for axis, size in enumerate(self.shape)]  # fmt: skip
            return [_text(sizes)]
        low, high = (_text([batch if size == DYNAMIC else size for size in self.shape]) for batch in (1, 8))
        return [low, low, high]

    def _is_batch(self, axis: int) -> bool:
        name = self.names[axis]
        if name is not None and re.fullmatch(_BATCH, name):
            return True
        nameless = name is None or anonymous(name) or (name.lower() == "n" and len(self.shape) >= _IMAGE_RANK)
        return axis == 0 and len(self.shape) > 1 and nameless

    def _placeholder(self, axis: int) -> str:
        name = self.names[axis]
        letters = re.sub(r"[^A-Z0-9_]", "_", (name or "").upper()) if name and not anonymous(name) else ""
        return letters or f"AXIS_{axis}"

    def legend(self) -> Iterator[str]:
        for axis in self.own():
            yield f"{self._placeholder(axis)} (axis {axis} of {self.name!r})"


def _missing(asked: Sequence[_Asked]) -> ConvertError:
    line = "add to the manifest  inputs: {" + ", ".join(each.line() for each in asked) + "}"
    if not any(each.sizes for each in asked):
        line += "  or to convert  " + " ".join(each.option() for each in asked)
    legend = [text for each in asked if not each.sizes for text in each.legend()]
    if legend:
        line += (
            f"  with your numbers for {', '.join(legend)}: the sizes that the network was trained with; "
            "for a range write {min: ..., opt: ..., max: ...} with three such shapes"
        )
    sizes = [each for each in asked if each.sizes]
    if sizes:
        fixed = ", ".join(f'"{each.name}": [...]' if each.shape else f'"{each.name}": ...' for each in sizes)
        line += (
            f"  with the smallest, best and largest numbers of {', '.join(repr(each.name) for each in sizes)}; where "
            f"they are always the same, write  onnx: {{constants: {{{fixed}}}}}  instead"
        )
    text = ", ".join(each.text() for each in asked)
    return ConvertError("inputs-missing", f"the manifest does not say which sizes the inputs have: {text}", hint=line)


class _Range(NamedTuple):
    """Sizes of one axis of an input in a profile."""

    input: str
    axis: int
    low: int
    mid: int
    high: int

    def text(self) -> str:
        sizes = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high} (opt {self.mid})"
        return f"{sizes} on axis {self.axis} of {self.input!r}"


def check_names(traits: Mapping[str, Traits], profiles: Sequence[Resolved]) -> List[str]:
    """Compare the sizes of dimensions with the same name, which must be equal.

    Returns:
        Anonymous names (such as "?") whose sizes differ: they mean nothing, but the builder would refuse them.

    Raises:
        ConvertError: sizes of dimensions with a real name differ.
    """
    renamed: List[str] = []
    for profile in profiles:
        for name, ranges in _by_name(traits, profile).items():
            overlap = max(each.low for each in ranges) <= min(each.high for each in ranges)
            if overlap and len({each.mid for each in ranges}) == 1:
                continue
            if not anonymous(name):
                raise _contradiction(name, ranges)
            renamed.append(name)
    return list(dict.fromkeys(renamed))


def _by_name(traits: Mapping[str, Traits], profile: Resolved) -> Dict[str, List[_Range]]:
    found: Dict[str, List[_Range]] = {}
    for tensor, each in traits.items():
        shapes = profile.get(tensor)
        for axis, name in enumerate(each.dimensions):
            if name is not None and shapes is not None and axis < len(shapes["opt"]):
                one = _Range(tensor, axis, shapes["min"][axis], shapes["opt"][axis], shapes["max"][axis])
                found.setdefault(name, []).append(one)
    return found


def _contradiction(name: str, ranges: Sequence[_Range]) -> ConvertError:
    text = ", ".join(each.text() for each in ranges)
    first = ranges[0]
    size = f"{first.low} to {first.high} with opt {first.mid}" if first.low != first.high else f"{first.low}"
    return ConvertError(
        "inputs-mismatch",
        f"the model names several dimensions {name!r}, so they have one size, and the manifest gives different ones: "
        f"{text}",
        hint=f"under inputs: give each of them the same min, opt and max, such as {size}; where the model's name is "
        "wrong, fix the sizes with onnx: {static_shapes: {INPUT: SHAPE}}",
    )


def with_sizes(error: ConvertError, traits: Mapping[str, Traits], profiles: Sequence[Resolved]) -> ConvertError:
    """Return a builder's objection to sizes, with what the manifest chose for each dynamic axis."""
    lines = [
        f"profile {index}: {', '.join(_chosen(name, traits.get(name, Traits()), shapes))}"
        for index, profile in enumerate(profiles)
        for name, shapes in profile.items()
        if shapes["min"] != shapes["max"] or any(traits.get(name, Traits()).dimensions) or "values" in shapes
    ]
    error.message += f". The manifest's sizes: {'; '.join(lines)}" if lines else ""
    return error


def _chosen(name: str, traits: Traits, shapes: ProfileShapes) -> Iterator[str]:
    if "values" in shapes:
        yield f"{name!r} has the values {shapes['values']['opt']}"
    for axis, sizes in enumerate(zip(shapes["min"], shapes["opt"], shapes["max"])):
        known = traits.dimensions[axis] if axis < len(traits.dimensions) else None
        if known or sizes[0] != sizes[2]:
            yield f"{known or 'size'} {_Range(name, axis, *sizes).text()}"


def anonymous(name: str) -> bool:
    """Return whether a dimension's name means nothing."""
    return re.fullmatch(_ANONYMOUS, name) is not None


def _mismatch(name: str, shape: Sequence[int], wanted: Sequence[int], why: str) -> ConvertError:
    return ConvertError(
        "inputs-mismatch",
        f"input {name!r}: the manifest's shape {_text(wanted)} {why}",
        hint=f"the model's shape is {_text(shape)} (-1 is dynamic); you can choose only the dynamic dimensions",
    )


def _text(shape: Sequence[object]) -> str:
    return "x".join(str(size) for size in shape)
