"""Known objections of ONNX parsers to a node, each with what it means and what to do. The first match wins."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional, Tuple


class Objection(NamedTuple):
    """A parser's message: pattern, what it means about a node, what to do.

    sizes: whether it is about contradictory sizes, which may be the model's fault.
    decided: whether the node may need fixed values of inputs other than the first.
    """

    pattern: str
    cause: str
    hint: str
    sizes: bool = False
    decided: bool = False


_CHECK_SIZES = (
    "export the model with sizes that fit together; where onnx: {static_shapes: ...} gives sizes, give those that the "
    "network was trained with"
)

TABLE: Tuple[Objection, ...] = (
    Objection(
        r"^false$",
        "it is not supported",
        "export the model without this operator",
    ),
    Objection(
        r"reduction is not supported|[Uu]nsupported reduction",
        "it combines the values that go to one place",
        "export it with reduction none, where no index repeats",
    ),
    Objection(
        r"transformation ?[Mm]ode",
        "it maps coordinates in a way that TensorRT does not have",
        "export Resize with the mode half_pixel, pytorch_half_pixel, asymmetric or align_corners",
    ),
    Objection(r"[Aa]ntialias", "it smooths before it shrinks", "export Resize with antialias=0"),
    Objection(
        r"keep_aspect_ratio",
        "its sizes follow from a policy",
        "export Resize with scales, or with sizes and the policy stretch",
    ),
    Objection(
        r"dynamically shaped|isDynamic|dynamic shapes? (?:is|are) not supported",
        "it needs sizes that never vary",
        "fix the sizes of the inputs with onnx: {static_shapes: {INPUT: SHAPE}}",
    ),
    Objection(
        r"build-time constant|is not a constant|must be (?:an? )?(?:constant|initializer)|not an initializer",
        "what decides its axes or sizes must be known before it runs",
        "export the model with constants there",
        decided=True,
    ),
    Objection(
        r"checkCalculationStatusSanity|isInFlight|shape tensor.*[Ff]loat",
        "its sizes are computed from data, and TensorRT takes sizes only from shapes and from integer inputs",
        "export the model with fixed sizes there",
        decided=True,
    ),
    Objection(
        r"training",
        "it is in its training form",
        "export the model for inference: in PyTorch call model.eval() first",
    ),
    Objection(
        r"mo[dr]e than 1 output",
        "it has more than one output",
        "export it with only its first output",
    ),
    Objection(
        r"dilations other than 1",
        "it is dilated",
        "export it without dilations",
    ),
    Objection(
        r"negative (?:pre-)?padding",
        "its output is larger than its input allows",
        "export it with pads in place of output_shape",
    ),
    Objection(
        r"convertDtype|ONNX da[a-z]+ type|[Uu]nsupported (?:ONNX )?data ?type|importInitializers|initializer",
        "it has a type that TensorRT lacks",
        "export these tensors as float32, float16, int32, int64 or bool",
    ),
    Objection(
        r"requires inputs with type|But type is",
        "TensorRT does not compute with this type",
        "export it with a Cast to int32 or float32 before it",
    ),
    Objection(
        r"MAX_DIMS|convertOnnxDims",
        "TensorRT's tensors have at most 8 dimensions",
        "export the model with dimensions merged by Reshape",
    ),
    Objection(
        r"\(kernelSize\)\.nbDims ==",
        "TensorRT convolves along one, two or three axes",
        "export it as convolutions along at most three axes",
    ),
    Objection(
        r"allDimsGtEq\(kernelSize",
        "the sizes of its weights vary",
        "fix the shape of that input with onnx: {static_shapes: {INPUT: SHAPE}}, or export the weights as constants",
    ),
    Objection(
        r"windowSize",
        "TensorRT takes an odd number of channels from 1 to 15",
        "export LRN with such a size",
    ),
    Objection(
        r"[Ss]ame type|same input types|must have type",
        "its inputs, or its branches, have different types",
        "export the model with a Cast there",
    ),
    Objection(
        r"failed to broadcast|conformable|changes volume|must have the same dimensions|smaller than filter|"
        r"but must match|misaligns|must be in the range|Shape Error|must have 2D inputs|is not valid",
        "the sizes of its inputs don't fit each other",
        _CHECK_SIZES,
        sizes=True,
    ),
    Objection(
        r"was not registered",
        "one of its inputs comes from something that TensorRT does not know",
        "export the model again",
    ),
    Objection(
        r"not support|only supports|[Uu]nsupported|unimplemented",
        "it is not supported in this form",
        "export the operator in a form that the parser's message allows",
    ),
)
UNKNOWN = Objection(
    "",
    "the parser refuses it for a reason that is not known here",
    "export the model in another form there, or build with another TensorRT",
    decided=True,
)


def of(words: str) -> Objection:
    """Return what a parser's message means."""
    found: Optional[Objection] = next((row for row in TABLE if re.search(row.pattern, words)), None)
    return found or UNKNOWN
