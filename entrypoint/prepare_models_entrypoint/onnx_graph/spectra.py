"""DFT and STFT as matrix products and convolutions: both are linear, with coefficients known in advance."""

from __future__ import annotations

from typing import List, Mapping, Optional, Sequence, Union

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from ..errors import ConvertError
from . import graph, types, weights
from .constants import Constants
from .names import Names
from .walk import attributes
from .weights import Array

# The operators to lower, and what to.
OPERATORS = {"DFT": "a matrix product", "STFT": "a convolution"}
_AXIS_IS_AN_INPUT = 20  # the opset from which on DFT takes its axis as an input

Shape = Sequence[Optional[int]]
Attribute = Union[int, List[int]]


def of(model: ModelProto) -> List[NodeProto]:
    """Return the nodes of these operators in all graphs."""
    return [node for node in graph.nodes(model) if _is_one(node)]


def _is_one(node: NodeProto) -> bool:
    return node.op_type in OPERATORS and node.domain in graph.STANDARD_DOMAINS


def lower(model: ModelProto, shapes: Mapping[str, Shape]) -> List[str]:
    """Replace each DFT and STFT, and return the names of the nodes that replace them.

    Args:
        model: changed in place.
        shapes: sizes of the tensors by name, None for those that vary.

    Raises:
        ConvertError: a size that the coefficients depend on varies.
    """
    added: List[str] = []
    names, constants = Names(model), Constants(model)
    for scope in types.of(model).all():
        kept: List[NodeProto] = []
        for node in scope.graph.node:
            if not _is_one(node):
                kept.append(node)
                continue
            lowered = _Lowered(model, node, names, constants, scope.get(node.input[0]))
            lowered.lower(shapes.get(node.input[0]))
            kept += lowered.nodes
            added += [each.name for each in lowered.nodes]
        if len(kept) != len(scope.graph.node):
            # Copies are put back, as inner graphs are already done.
            del scope.graph.node[:]
            scope.graph.node.extend(kept)
    return added


class _Lowered:
    """The nodes that replace one; the output of the last one has the original's name."""

    def __init__(self, model: ModelProto, node: NodeProto, names: Names, constants: Constants, kind: int) -> None:
        self.model, self.node, self.names, self.constants = model, node, names, constants
        self.nodes: List[NodeProto] = []
        self.attributes = attributes(node)
        self.kind = kind or TensorProto.FLOAT

    def lower(self, shape: Optional[Shape]) -> None:
        """Make the nodes for an input of this shape."""
        if shape is None:
            raise self._unknown("the rank of its input")
        (self._dft if self.node.op_type == "DFT" else self._stft)(shape)
        self.nodes[-1].output[0] = self.node.output[0]

    def _kernel(self, length: int, parts: int) -> Array:
        """Return the transform of ``length`` values as an array [used values, parts, values, parts]."""
        inverse, onesided = bool(self.attributes.get("inverse")), bool(self.attributes.get("onesided"))
        if onesided and parts != (2 if inverse else 1):
            kind = "complex" if inverse else "real"
            raise self._wrong(f"one-sided, it takes {kind} values, and its input has others")
        if inverse and onesided:
            count = self._number(1) or 2 * (length - 1)
            if count // 2 + 1 != length:
                raise self._refused(
                    f" can't become a matrix product: it is an inverse of {count} values from {length}",
                    "export the model without dft_length there, or with the one that the input's size gives",
                )
            return _real_inverse(count)
        count = self._number(1) or length
        bins = count // 2 + 1 if onesided else count
        return _coefficients(count, bins, parts, inverse=inverse)[:length]

    def _dft(self, shape: Shape) -> None:
        rank = len(shape)
        axis = self._axis() % rank
        length, parts = shape[axis], shape[-1]
        if length is None or parts is None:
            raise self._unknown(f"axis {axis if length is None else rank - 1} of its input")
        kernel = self._kernel(length, parts)
        used, bins, made = kernel.shape[0], kernel.shape[2], kernel.shape[3]
        tensor = self.node.input[0]
        if used < length:
            tensor = self._add("Slice", tensor, *(self._integers([value]) for value in (0, used, axis)))
        order = [each for each in range(rank - 1) if each != axis] + [axis, rank - 1]
        tensor = self._permuted(tensor, order)
        tensor = self._add("Reshape", tensor, self._integers([0] * (rank - 2) + [used * parts]))
        tensor = self._add("MatMul", tensor, self._weights(kernel.reshape(used * parts, bins * made)))
        tensor = self._add("Reshape", tensor, self._integers([0] * (rank - 2) + [bins, made]))
        self._permuted(tensor, [order.index(each) for each in range(rank)])

    def _stft(self, shape: Shape) -> None:
        step, length, window = self._number(1), self._number(3), self._array(2)
        length = length or (len(window) if window is not None else None)
        parts = shape[2] if len(shape) > 2 else 1
        if step is None or length is None or parts is None:
            raise self._unknown("its frame_step, frame_length or window, or the last axis of its signal")
        if len(self.node.input) > 2 and self.node.input[2] and window is None:
            raise self._unknown("its window")
        if window is not None and len(window) != length:
            raise self._wrong(f"its window has {len(window)} values, and its frames have {length}")
        bins = length // 2 + 1 if self.attributes.get("onesided", 1) else length
        kernel = _coefficients(length, bins, parts, inverse=False)
        if window is not None:
            kernel *= window.astype(np.float64).reshape(-1, 1, 1, 1)
        tensor = self.node.input[0]
        if len(shape) == 2:
            tensor = self._add("Unsqueeze", tensor, self._integers([2]))
        tensor = self._add("Transpose", tensor, perm=[0, 2, 1])
        # One output channel for each bin and part: [2 * bins, parts, length].
        kernel = kernel.reshape(length, parts, bins * 2).transpose(2, 1, 0)
        tensor = self._add("Conv", tensor, self._weights(kernel), strides=[step])
        tensor = self._add("Transpose", tensor, perm=[0, 2, 1])
        self._add("Reshape", tensor, self._integers([0, 0, bins, 2]))

    def _axis(self) -> int:
        if graph.opset(self.model) < _AXIS_IS_AN_INPUT:
            return int(self.attributes.get("axis", 1))
        if len(self.node.input) < 3 or not self.node.input[2]:
            return -2
        axis = self._number(2)
        if axis is None:
            raise self._unknown("its axis")
        return axis

    def _number(self, position: int) -> Optional[int]:
        value = self._array(position)
        return int(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def _array(self, position: int) -> Optional[Array]:
        inputs = self.node.input
        return self.constants.get(inputs[position]) if len(inputs) > position else None

    def _permuted(self, tensor: str, order: List[int]) -> str:
        return tensor if order == sorted(order) else self._add("Transpose", tensor, perm=order)

    def _add(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        name = self.names.fresh(f"{self.node.name or self.node.output[0]}/{operator}")
        made = helper.make_node(operator, list(inputs), [name], name=name)
        made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(made)
        return name

    def _integers(self, values: List[int]) -> str:
        return self._constant(np.array(values, np.int64))

    def _weights(self, values: Array) -> str:
        return self._constant(values.astype(helper.tensor_dtype_to_np_dtype(self.kind)))

    def _constant(self, values: Array) -> str:
        wish = f"{self.node.name or self.node.output[0]}/constant"
        return weights.add(self.model.graph, values, self.names.fresh(wish))

    def _unknown(self, what: str) -> ConvertError:
        hint = (
            "fix the sizes of the model's inputs with onnx: {static_shapes: ...}, and other inputs with "
            "onnx: {constants: ...}"
        )
        return self._refused(f" can't become a matrix product: {what} is not fixed", hint)

    def _wrong(self, why: str) -> ConvertError:
        return self._refused(f": {why}", "export the model again with the operator as ONNX defines it", "node-invalid")

    def _refused(self, why: str, hint: str, code: str = "unsupported-operator") -> ConvertError:
        return ConvertError(f"onnx-{code}", f"{self.node.op_type} at node {self.node.name!r}{why}", hint=hint)


def _real_inverse(count: int) -> Array:
    """Return the inverse from the first half of a spectrum to real values, as an array [bins, 2, count, 1]."""
    bins = count // 2 + 1
    angle = 2 * np.pi / count * (np.outer(np.arange(bins), np.arange(count)) % count)
    twice = np.full((bins, 1), 2.0)  # each bin also counts for its mirror image, if it has one
    twice[0] = 1.0
    if count % 2 == 0:
        twice[-1] = 1.0
    return np.stack([twice * np.cos(angle), -twice * np.sin(angle)], 1)[..., None] / count


def _coefficients(count: int, bins: int, parts: int, *, inverse: bool) -> Array:
    """Return the transform as an array [count, parts, bins, 2]: from real (and imaginary) values to both parts."""
    angle = 2 * np.pi / count * (np.outer(np.arange(count), np.arange(bins)) % count)
    real, imaginary = np.cos(angle), np.sin(angle) if inverse else -np.sin(angle)
    of_real = np.stack([real, imaginary], -1)
    of_both = [of_real] if parts == 1 else [of_real, np.stack([-imaginary, real], -1)]
    return np.stack(of_both, 1) / (count if inverse else 1)
