"""How an engine's numbers are to be compared with its source model's: samples and thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from . import codec
from .codec import ContractError
from .conversion import CalibrationConfig
from .files import sha256_file

METRICS = ("max_abs", "max_rel", "max_of_range", "cosine", "argmax")


@dataclass(frozen=True)
class Thresholds:
    """Limits of one output's disagreement; None leaves a metric unjudged.

    max_abs: largest absolute difference. max_rel: largest difference over the reference's magnitude.
    max_of_range: largest absolute difference over the range (largest less smallest value) of the reference.
    cosine: least cosine similarity of all values. argmax: least share (0 to 1) of places where the largest value has
    the same index along ``argmax_axis``; of whole numbers, least share of equal ones.
    """

    max_abs: Optional[float] = None
    max_rel: Optional[float] = None
    max_of_range: Optional[float] = None
    cosine: Optional[float] = None
    argmax: Optional[float] = None
    argmax_axis: int = 1

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Thresholds:
        """Read thresholds."""
        codec.check_keys(raw, (*METRICS, "argmax_axis"), "verify.thresholds")
        limits = {name: codec.optional(raw, name, float, "verify.thresholds") for name in METRICS}
        axis = codec.optional(raw, "argmax_axis", int, "verify.thresholds")
        return cls(**limits, argmax_axis=1 if axis is None else axis)

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form. Limits of records that lack the later key equal those that do not set it."""
        limits = {name: limit for name, limit in self.limits().items() if name != "max_of_range" or limit is not None}
        return {**limits, "argmax_axis": self.argmax_axis}

    def limits(self) -> Dict[str, Optional[float]]:
        """Return the limit of each metric."""
        return {name: getattr(self, name) for name in METRICS}


# What holds where the manifest sets no thresholds, by the precision that was asked. Here argmax judges whole numbers
# alone: a class map has a label for each place, and a detector's thousands of anchors have no largest class.
DEFAULTS = {
    "fp32": Thresholds(max_of_range=0.001, cosine=0.9999, argmax=0.999),
    "fp16": Thresholds(max_of_range=0.02, cosine=0.999, argmax=0.99),
    "bf16": Thresholds(max_of_range=0.1, cosine=0.99, argmax=0.98),
    "int8": Thresholds(max_of_range=0.2, cosine=0.98, argmax=0.97),
    "fp8": Thresholds(max_of_range=0.2, cosine=0.98, argmax=0.97),
}


# A calibrated scale holds at most the largest value that the calibration saw, and that is seldom more than 1.4 times
# what eight other samples reach.
SCALE_ROOM, SAMPLES_THAT_TELL = 1.7, 8


@dataclass(frozen=True)
class VerifyConfig:
    """Samples and thresholds of a verification. Without ``images`` and ``npz``, samples are random.

    images: images and how they become tensors, as for a calibration. npz: absolute path of arrays by input name.
    seed, count, ranges: random samples, uniform within [low, high) by input name, [0, 1) where it has none.
    thresholds: of every output; None takes ``DEFAULTS``. outputs: thresholds of single outputs, in place of those.
    scale_room: how many times what real samples reach the scales of a calibration cache may hold, as the median of the
    tensors; None takes ``SCALE_ROOM`` and judges by ``SAMPLES_THAT_TELL`` samples or more.
    """

    images: Optional[CalibrationConfig] = None
    npz: Optional[str] = None
    seed: int = 0
    count: int = 4
    ranges: Mapping[str, Tuple[float, float]] = field(default_factory=dict)
    thresholds: Optional[Thresholds] = None
    outputs: Mapping[str, Thresholds] = field(default_factory=dict)
    scale_room: Optional[float] = None

    KEYS = ("images", "npz", "seed", "count", "ranges", "thresholds", "outputs", "scale_room")

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> VerifyConfig:
        """Read the settings."""
        codec.check_keys(raw, cls.KEYS, "verify")
        ranges: Dict[str, Any] = codec.optional(raw, "ranges", dict, "verify") or {}
        outputs: Dict[str, Any] = codec.optional(raw, "outputs", dict, "verify") or {}
        return cls(
            images=codec.maybe(raw, "images", CalibrationConfig.from_dict, "verify"),
            npz=codec.optional(raw, "npz", str, "verify"),
            seed=codec.require(raw, "seed", int, "verify"),
            count=codec.require(raw, "count", int, "verify"),
            ranges={name: _range(ranges, name) for name in ranges},
            thresholds=codec.maybe(raw, "thresholds", Thresholds.from_dict, "verify"),
            outputs={name: Thresholds.from_dict(limits) for name, limits in outputs.items()},
            scale_room=codec.optional(raw, "scale_room", float, "verify"),
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form. Settings of records that lack the later key equal those that do not set it."""
        later = {} if self.scale_room is None else {"scale_room": self.scale_room}
        return {
            "images": self.images.to_dict() if self.images else None,
            "npz": self.npz,
            "seed": self.seed,
            "count": self.count,
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "thresholds": self.thresholds.to_dict() if self.thresholds else None,
            "outputs": {name: limits.to_dict() for name, limits in self.outputs.items()},
            **later,
        }

    def samples_sha256(self, sha256: Callable[[Path], str] = sha256_file) -> Optional[str]:
        """Return the digest of the samples' bytes; None for random ones, and where they are not there."""
        if self.images is not None:
            return self.images.samples_sha256(sha256)
        return sha256(Path(self.npz)) if self.npz is not None and Path(self.npz).is_file() else None

    def without_paths(self) -> Dict[str, Any]:
        """Return the JSON form of what counts beside the samples' bytes."""
        raw = self.to_dict()
        del raw["npz"]
        if raw["images"] is not None:
            del raw["images"]["images"]
        return raw

    def judges_scales(self, samples: int) -> bool:
        """Tell whether scales that hold too much are refused, not only told: few samples don't reach what many do."""
        real = self.images is not None or self.npz is not None
        return self.scale_room is not None or (real and samples >= SAMPLES_THAT_TELL)

    def of_output(self, name: str, precision: str) -> Thresholds:
        """Return the thresholds of an output of a model of ``precision``."""
        return self.outputs.get(name) or self.thresholds or DEFAULTS[precision]

    def asks(self, name: str) -> bool:
        """Tell whether somebody set the thresholds of an output, so that argmax judges it whatever its type."""
        return name in self.outputs or self.thresholds is not None


def _range(ranges: Mapping[str, Any], name: str) -> Tuple[float, float]:
    ends = codec.numbers(ranges, name, "verify.ranges")
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ContractError(f"verify.ranges.{name}: expected [low, high] with low < high, found {list(ends)}")
    return ends[0], ends[1]
