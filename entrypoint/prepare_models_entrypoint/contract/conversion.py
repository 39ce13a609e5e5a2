"""What a model's conversion may need beside precision, shapes and builder settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from . import codec
from .codec import ContractError
from .files import sha256_file

INPUT_ORDERS = ("nchw", "nhwc", "nc")
COLOURS = ("rgb", "bgr", "gray")
LAYOUTS = ("nchw", "nhwc")
SAMPLE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".npy", ".npz")
CALIBRATION_METHODS = ("minmax", "entropy", "percentile")
PIXEL_SCALE = 1.0 / 255.0


@dataclass(frozen=True)
class Plugin:
    """A plugin library: absolute path and the sha256 that it must have (64 hexadecimal digits)."""

    file: str
    sha256: str

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Plugin:
        """Read a plugin."""
        codec.check_keys(raw, ("file", "sha256"), "plugins")
        return cls(codec.require(raw, "file", str, "plugins"), codec.require(raw, "sha256", str, "plugins"))

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {"file": self.file, "sha256": self.sha256}


@dataclass(frozen=True)
class OnnxConfig:
    """Changes of the ONNX graph that a user asks for.

    sanitize: fold constants and remove dead nodes. static_shapes: dimensions that replace an input's own.
    outputs: tensors that become the outputs, in this order.
    """

    sanitize: bool = False
    static_shapes: Mapping[str, Tuple[int, ...]] = field(default_factory=dict)
    outputs: Tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> OnnxConfig:
        """Read the options."""
        codec.check_keys(raw, ("sanitize", "static_shapes", "outputs"), "onnx")
        shapes: Dict[str, Any] = codec.optional(raw, "static_shapes", dict, "onnx") or {}
        return cls(
            sanitize=bool(codec.optional(raw, "sanitize", bool, "onnx")),
            static_shapes={name: codec.integers(shapes, name, "onnx.static_shapes") for name in shapes},
            outputs=codec.strings(raw, "outputs", "onnx"),
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form."""
        shapes = {name: list(dims) for name, dims in self.static_shapes.items()}
        return {"sanitize": self.sanitize, "static_shapes": shapes, "outputs": list(self.outputs)}


@dataclass(frozen=True)
class TaoConfig:
    """Options of tao-converter that nothing else in a manifest says.

    dims: -d, the input dimensions C,H,W used at export. batch: -b, batch size of the calibration.
    max_batch: -m, largest batch of an engine with implicit batch. input_order: -i. outputs: -o.
    """

    dims: Tuple[int, ...] = ()
    batch: Optional[int] = None
    max_batch: Optional[int] = None
    input_order: Optional[str] = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TaoConfig:
        """Read the options."""
        codec.check_keys(raw, ("dims", "batch", "max_batch", "input_order"), "tao")
        order = codec.optional(raw, "input_order", str, "tao")
        if order is not None and order not in INPUT_ORDERS:
            raise ContractError(f"tao.input_order: expected one of {', '.join(INPUT_ORDERS)}, found {order!r}")
        return cls(
            dims=codec.integers(raw, "dims", "tao") if raw.get("dims") else (),
            batch=codec.optional(raw, "batch", int, "tao"),
            max_batch=codec.optional(raw, "max_batch", int, "tao"),
            input_order=order,
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {
            "dims": list(self.dims),
            "batch": self.batch,
            "max_batch": self.max_batch,
            "input_order": self.input_order,
        }


@dataclass(frozen=True)
class CalibrationConfig:
    """Calibration from samples: a directory of images, .npy or .npz files, and how an image becomes the input tensor.

    scale, mean, std: a pixel p of 0..255 becomes ``(p * scale - mean) / std``, mean and std for each channel.
    An input of whole numbers takes pixels as they are where none of these is set.
    limit: at most this many samples, in the order of their names. method: how ranges become scales.
    """

    images: str
    scale: float = PIXEL_SCALE
    mean: Tuple[float, ...] = ()
    std: Tuple[float, ...] = ()
    colour: str = "rgb"
    layout: str = "nchw"
    limit: int = 100
    method: str = CALIBRATION_METHODS[0]

    KEYS = ("images", "scale", "mean", "std", "colour", "layout", "limit", "method")

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> CalibrationConfig:
        """Read the options."""
        codec.check_keys(raw, cls.KEYS, "calibration")
        return cls(
            images=codec.require(raw, "images", str, "calibration"),
            scale=float(codec.require(raw, "scale", float, "calibration")),
            mean=codec.numbers(raw, "mean", "calibration"),
            std=codec.numbers(raw, "std", "calibration"),
            colour=codec.one_of(raw, "colour", COLOURS, "calibration"),
            layout=codec.one_of(raw, "layout", LAYOUTS, "calibration"),
            limit=codec.require(raw, "limit", int, "calibration"),
            method=codec.one_of({"method": cls.method, **raw}, "method", CALIBRATION_METHODS, "calibration"),
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form. That of records which lack the later key equals one that does not set it."""
        raw = {key: getattr(self, key) for key in self.KEYS if key != "method" or self.method != type(self).method}
        return {**raw, "mean": list(self.mean), "std": list(self.std)}

    def samples(self) -> List[Path]:
        """Return the sample files that are used, sorted by name; none where the directory is not there."""
        found = (file for file in Path(self.images).glob("*") if file.suffix.lower() in SAMPLE_ENDINGS)
        return sorted(file for file in found if file.is_file())[: self.limit]

    def samples_sha256(self, sha256: Callable[[Path], str] = sha256_file) -> Optional[str]:
        """Return the digest of the samples' bytes in their order, whatever their names; None without any sample."""
        digests = [sha256(file) for file in self.samples()]
        return hashlib.sha256("".join(digests).encode("ascii")).hexdigest() if digests else None
