"""What a model's conversion may need besides precision, shapes and builder options."""

from __future__ import annotations

from typing import Mapping, Optional, Tuple

from .kinds import ByName, Constant, DigestText, File, Flag, Integer, ListOf, OneOf, OneOrMore, Text
from .settings import REQUIRED, Record, setting
from .shapes import Dims, Shape

_TENSORS = ListOf(Text("tensor names"), "a list of tensor names")


class Plugin(Record):
    """A plugin library."""

    file: str = setting(File("the path of a library"), "The library.", default=REQUIRED)
    sha256: str = setting(DigestText(), "The digest that it must have.", default=REQUIRED)


class OnnxConfig(Record):
    """Changes to the ONNX graph that a user asks for."""

    sanitize: bool = setting(Flag(), "fold constants and remove dead nodes", default=False)
    static_shapes: Mapping[str, Tuple[int, ...]] = setting(
        ByName(Shape(), "input names with their shapes"), "shapes that replace the inputs' own", default=dict
    )
    outputs: Tuple[str, ...] = setting(_TENSORS, "tensors that become the outputs, in this order", default=())
    constants: Mapping[str, Tuple[float, ...]] = setting(
        ByName(OneOrMore(Constant()), "input names with their values"),
        "inputs that always have these values, and are not inputs of the engine",
        {"sr": 16000},
        default=dict,
        later=True,
    )


class TaoConfig(Record):
    """Options of tao-converter that no other setting of a manifest covers."""

    dims: Tuple[int, ...] = setting(Dims(), "`-d`: input dimensions C,H,W at export", default=())
    batch: Optional[int] = setting(Integer("a batch size of at least 1", 1), "`-b`: batch size of the calibration")
    max_batch: Optional[int] = setting(
        Integer("a batch size of at least 1", 1), "`-m`: largest batch of an engine with implicit batch"
    )
    input_order: Optional[str] = setting(OneOf("nchw", "nhwc", "nc"), "`-i`: order of the input's axes")
