"""What a builder refuses in a model although a small rewrite that changes no results makes it buildable."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from onnx import ModelProto, TensorShapeProto, ValueInfoProto

from ..contract.job import ModelJob
from ..contract.shapes import ShapeRange
from ..converters import profiles
from ..errors import ConvertError
from . import graph, loops, model_file, small_numbers, spectra, squeezes
from .walk import graphs

SPECTRUM = "computes a DFT or STFT, which loses its small values in less"


@dataclass(frozen=True)
class Rescue:
    """Rewrites that a model needs. Falsy if it needs none.

    dimensions: meaningless names that dimensions of different sizes share. nameless: whether dimensions have an
    empty name, which parsers take for a size of 0. ranks: inputs without a rank, which parsers take for scalars.
    spectra: whether there are operators of ``spectra``. branches: whether there are If nodes that the manifest's sizes
    may decide. sparse: constants in sparse form. loops: whether there are Loop nodes without a trip count or condition.
    squeezes: whether there are Squeeze nodes without axes, and dynamic sizes. small: tensors of ``small_numbers``.
    """

    dimensions: Tuple[str, ...] = ()
    nameless: bool = False
    ranks: Tuple[str, ...] = ()
    spectra: bool = False
    branches: bool = False
    sparse: Tuple[str, ...] = ()
    loops: bool = False
    squeezes: bool = False
    small: Tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Rescue()


@dataclass
class Applied:
    """What was rewritten, in words, and the names of the nodes that compute spectra."""

    told: List[str] = field(default_factory=list)
    nodes: List[str] = field(default_factory=list)


def survey(source: Path, job: ModelJob) -> Rescue:
    """Return what a model needs besides the changes that the manifest asks for.

    Raises:
        ConvertError: dimensions that share a real name have different sizes, or nothing gives the rank of an input.
    """
    model = model_file.load(source)
    inputs = list(_inputs(model))
    traits = {value.name: profiles.Traits(tuple(dim.dim_param or None for dim in _dims(value))) for value in inputs}
    shapes = [{name: profiles.declared(each) for name, each in one.items() if not each.values} for one in _wanted(job)]
    unranked = tuple(value.name for value in inputs if not value.type.tensor_type.HasField("shape"))
    return Rescue(
        dimensions=tuple(name for name in profiles.check_names(traits, shapes) if name),
        nameless=any(map(_is_nameless, inputs)),
        ranks=tuple(name for name in unranked if name not in job.onnx.static_shapes and name not in job.onnx.constants),
        spectra=bool(spectra.of(model)),
        branches=any(node.op_type == "If" for node in graph.nodes(model)),
        sparse=tuple(_sparse(model)),
        loops=bool(loops.unbounded(model)),
        squeezes=bool(_wanted(job) and squeezes.without_axes(model)),
        small=tuple(small_numbers.inside(model)),
    )


def _sparse(model: ModelProto) -> Iterator[str]:
    for inner in graphs(model.graph):
        yield from (each.values.name for each in inner.sparse_initializer)
        for node in inner.node:
            if any(attribute.HasField("sparse_tensor") for attribute in node.attribute):
                yield node.output[0]


def apply(model: ModelProto, needs: Rescue, job: ModelJob) -> Applied:
    """Rewrite the model in place.

    Raises:
        ConvertError: a rewrite needs a size that nothing fixes.
    """
    done = Applied()
    for name in needs.ranks:
        done.told.append(_give_rank(model, name, job))
    if needs.sparse:  # done by ``prepare``
        done.told.append(f"constants in sparse form are written out: {', '.join(needs.sparse)}")
    if needs.loops:
        done.told.append(f"loops have a trip count and a condition: {', '.join(loops.bound(model))}")
    if needs.small:
        small_numbers.widen(model)
        done.told.append(f"whole numbers of 8 and 16 bits are int32 inside: {', '.join(needs.small)}")
    if needs.dimensions or needs.nameless:
        done.told += _part_names(model, needs.dimensions)
    if needs.squeezes:
        done.told += squeezes.name_axes(model, _shapes(model, job))
    if needs.spectra:
        kinds = sorted({node.op_type for node in spectra.of(model)})
        done.nodes += spectra.lower(model, _shapes(model, job))
        done.told += [f"{kind} became {spectra.OPERATORS[kind]}" for kind in kinds]
    done.nodes += [node.name for node in spectra.of(model)]  # those that the parser accepts
    return done


def undeclared(source: Path) -> List[str]:
    """Return the inputs that a parser misreads: without a rank, or with nameless dimensions."""
    values = _inputs(model_file.load(source))
    return [each.name for each in values if not each.type.tensor_type.HasField("shape") or _is_nameless(each)]


def _inputs(model: ModelProto) -> Iterator[ValueInfoProto]:
    constant = {tensor.name for tensor in model.graph.initializer}
    return (each for each in model.graph.input if each.name not in constant and each.type.HasField("tensor_type"))


def _dims(value: ValueInfoProto) -> List[TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def _is_nameless(value: ValueInfoProto) -> bool:
    return any(dim.HasField("dim_param") and not dim.dim_param for dim in _dims(value))


def _wanted(job: ModelJob) -> List[Mapping[str, ShapeRange]]:
    return [each for each in (job.inputs, *job.profiles) if each]


def _give_rank(model: ModelProto, name: str, job: ModelJob) -> str:
    wanted = [one[name] for one in _wanted(job) if name in one]
    if not wanted:
        raise ConvertError(
            "inputs-missing",
            f"the model does not say how many dimensions the input {name!r} has",
            hint=f'add to the manifest  inputs: {{"{name}": SHAPE}}  or to convert  '
            f"--shape {shlex.quote(f'{name}=SHAPE')}  with the shape that the network was trained with, "
            "such as 1x3x224x224",
        )
    (value,) = (each for each in model.graph.input if each.name == name)
    shape = value.type.tensor_type.shape
    for axis in range(len(wanted[0].opt)):
        _fix(shape.dim.add(), axis, wanted)
    return f"input {name!r}, which the model gives no rank, has the manifest's {len(wanted[0].opt)} dimensions"


def _part_names(model: ModelProto, names: Sequence[str]) -> List[str]:
    """Remove meaningless names from all dimensions: without a name, each has a size of its own."""
    told: Dict[str, List[str]] = {}
    for value in model.graph.input:
        for axis, dim in enumerate(_dims(value)):
            if dim.HasField("dim_param") and (not dim.dim_param or dim.dim_param in names):
                told.setdefault(dim.dim_param, []).append(f"axis {axis} of {value.name!r}")
                dim.ClearField("dim_param")
    for value in (*model.graph.output, *model.graph.value_info):
        for dim in _dims(value):
            if dim.HasField("dim_param") and (not dim.dim_param or dim.dim_param in names):
                dim.ClearField("dim_param")
    return [f"dimensions named {name!r} are sized independently: {', '.join(axes)}" for name, axes in told.items()]


def _shapes(model: ModelProto, job: ModelJob) -> Dict[str, List[Optional[int]]]:
    """Return the sizes that tensors have with the shapes of the manifest; None for those that vary."""
    assumed = ModelProto()
    assumed.CopyFrom(model)
    set_fixed_sizes(assumed, job)
    assumed = graph.inferred(assumed, data_prop=True)
    found: Dict[str, List[Optional[int]]] = {t.name: list(t.dims) for t in assumed.graph.initializer}
    twice: Set[str] = set()
    for inner in graphs(assumed.graph):
        known = {value.name: value for value in (*inner.input, *inner.value_info, *inner.output)}
        for name, value in known.items():
            if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
                sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in _dims(value)]
                if found.setdefault(name, sizes) != sizes:
                    twice.add(name)  # sibling graphs may use the same name for different tensors
    return {name: sizes for name, sizes in found.items() if name not in twice}


def set_fixed_sizes(model: ModelProto, job: ModelJob) -> List[str]:
    """Set input sizes that are the same in every profile, and return the names of the inputs that changed."""
    changed: List[str] = []
    wanted = _wanted(job)
    for value in _inputs(model):
        ranges = [one[value.name] for one in wanted if value.name in one]
        if len(ranges) < max(len(wanted), 1) or any(
            each.values or len(each.opt) != len(_dims(value)) for each in ranges
        ):
            continue
        fixed = [_fix(dim, axis, ranges) for axis, dim in enumerate(_dims(value)) if not dim.HasField("dim_value")]
        changed += [value.name] if any(fixed) else []
    return changed


def _fix(dim: TensorShapeProto.Dimension, axis: int, ranges: Sequence[ShapeRange]) -> bool:
    """Set the size of an axis if it is the same in all ranges, and return whether it is."""
    sizes = {size for each in ranges for size in (each.min[axis], each.max[axis])}
    if len(sizes) == 1:
        dim.dim_value = sizes.pop()
    return bool(dim.HasField("dim_value"))
