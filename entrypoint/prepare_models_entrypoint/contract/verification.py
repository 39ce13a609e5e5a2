"""Samples of a model's inputs: calibration from them, and how an engine's outputs are compared with its source's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from .digest import combined
from .files import sha256_file
from .kinds import ByName, File, Integer, Interval, ListOf, Number, OneOf
from .settings import REQUIRED, Nested, Record, rows, setting

METRICS = ("max_abs", "max_rel", "max_of_range", "cosine", "argmax")
_AT_LEAST_0 = Number("a number of at least 0", low=0)
_SHARE = Number("a number from 0 to 1", low=0, high=1)
SAMPLE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".npy", ".npz")
CALIBRATION_METHODS = ("auto", "minmax", "entropy", "percentile")
PIXEL_SCALE = 1.0 / 255.0
SAMPLES_HINT = "give a directory with a few dozen typical images under images:"

_NUMBERS = ListOf(Number(), "a list of numbers")


class SampleConfig(Record):
    """Samples: a directory of images, .npy or .npz files, and how an image becomes the input tensor.

    A pixel p of 0..255 becomes ``(p * scale - mean) / std``. If none of these is set, an input of whole numbers takes
    pixels unchanged.
    """

    images: str = setting(
        File("the path of a directory"), "images, .npy or .npz files, relative to the manifest", default=REQUIRED
    )
    scale: float = setting(
        Number(), "factor for pixel values from 0 to 255; 1/255 unless set", default=PIXEL_SCALE, group="preprocess"
    )
    mean: Tuple[float, ...] = setting(_NUMBERS, "subtracted, for each channel", default=(), group="preprocess")
    std: Tuple[float, ...] = setting(
        ListOf(Number("a number above 0", above=0), "a list of numbers above 0"), "divides, for each channel",
        default=(), group="preprocess",
    )  # fmt: skip
    colour: str = setting(OneOf("rgb", "bgr", "gray"), "order of the channels", default="rgb", group="preprocess")
    layout: str = setting(OneOf("nchw", "nhwc"), "order of the axes", default="nchw", group="preprocess")
    limit: int = setting(
        Integer("a number of samples", 1), "at most this many samples, in the order of their names", default=100
    )

    def samples(self) -> List[Path]:
        """Return the sample files that are used, sorted by name; none if the directory doesn't exist."""
        found = (file for file in Path(self.images).glob("*") if file.suffix.lower() in SAMPLE_ENDINGS)
        return sorted(file for file in found if file.is_file())[: self.limit]

    def problem(self) -> Optional[str]:
        """Return why there are no samples, or None."""
        if self.samples():
            return None
        there = Path(self.images).is_dir()
        return f"{self.images} " + (f"has no sample ({', '.join(SAMPLE_ENDINGS)})" if there else "is not a directory")

    def samples_sha256(self, sha256: Callable[[Path], str] = sha256_file) -> Optional[str]:
        """Return the digest of the samples' bytes in order, regardless of their names; None without samples."""
        return combined(map(sha256, self.samples()))


class CalibrationConfig(SampleConfig):
    """Calibration from samples."""

    method: str = setting(
        OneOf(*CALIBRATION_METHODS),
        "how ranges become scales: `minmax` takes the largest value, `entropy` loses the least information, as "
        "TensorRT's calibrator does, `percentile` holds 99.99 % of the values; `auto` takes the one that keeps the "
        "outputs closest to the source's",
        default=CALIBRATION_METHODS[0],
        later=True,
    )

    def plain(self, most: int) -> SampleConfig:
        """Return only its samples, at most ``most`` of them."""
        config = SampleConfig(**{row.name: getattr(self, row.name) for row in rows(SampleConfig)})
        return replace(config, limit=min(self.limit, most))


class Thresholds(Record):
    """Limits for one output's differences; None leaves a metric unchecked."""

    max_abs: Optional[float] = setting(_AT_LEAST_0, "largest absolute difference")
    max_rel: Optional[float] = setting(_AT_LEAST_0, "largest difference over the reference's magnitude")
    max_of_range: Optional[float] = setting(
        _AT_LEAST_0, "largest absolute difference over the range of the reference", later=True
    )
    cosine: Optional[float] = setting(_SHARE, "smallest cosine similarity of all values")
    argmax: Optional[float] = setting(
        _SHARE,
        "smallest share of places where the largest value has the same index; for whole numbers, of equal values",
    )
    argmax_axis: int = setting(
        Integer("an axis, such as 1 or -1", -7, 7), "axis of the classes; 1 unless set", default=1
    )

    def limits(self) -> Dict[str, Optional[float]]:
        """Return the limit of each metric."""
        return {name: getattr(self, name) for name in METRICS}


TF32 = "tf32"  # what TensorRT makes of fp32 by default: factors of products have fp16's ten bits
_FIRST_WITH_TF32 = 8  # major compute capability

# Used if the manifest sets no thresholds, by the precision that was asked for. These apply argmax only to whole
# numbers: a class map has a label for each place, but a detector's thousands of anchors have no largest class.
DEFAULTS = {
    "fp32": Thresholds(max_of_range=0.001, cosine=0.9999, argmax=0.999),
    TF32: Thresholds(max_of_range=0.01, cosine=0.999, argmax=0.99),
    "fp16": Thresholds(max_of_range=0.02, cosine=0.999, argmax=0.99),
    "bf16": Thresholds(max_of_range=0.1, cosine=0.99, argmax=0.98),
    "int8": Thresholds(max_of_range=0.2, cosine=0.98, argmax=0.97),
    "fp8": Thresholds(max_of_range=0.2, cosine=0.98, argmax=0.97),
}


# A calibrated scale covers at most the largest value seen in calibration, which is seldom more than 1.4 times what
# eight other samples reach.
SCALE_ROOM, SAMPLES_THAT_TELL = 1.7, 8


def multiplies_in_tf32(precision: str, setting: Optional[bool], compute_capability: str) -> bool:
    """Return whether an engine's fp32 products are TF32 there. ``setting``: the builder's, None if not set."""
    major = compute_capability.partition(".")[0]
    return precision == "fp32" and setting is not False and major.isdigit() and int(major) >= _FIRST_WITH_TF32


class VerifyConfig(Record):
    """Samples and thresholds of a verification. Without ``images`` and ``npz``, samples are random.

    thresholds: of every output; None means ``DEFAULTS``. scale_room: None means ``SCALE_ROOM``, which then refuses
    engines only with ``SAMPLES_THAT_TELL`` samples or more.
    """

    EXCLUSIVE = ("images", "npz", "random")

    images: Optional[SampleConfig] = setting(Nested(SampleConfig), "samples, as for a calibration", inline=True)
    npz: Optional[str] = setting(
        File("the path of a .npz file"), "file of arrays by input name, samples along the first axis"
    )
    seed: int = setting(
        Integer("a whole number", 0), "seed of the random numbers; 0 unless set", default=0, group="random"
    )
    count: int = setting(Integer("a number of samples", 1), "random samples; 4 unless set", default=4, group="random")
    ranges: Mapping[str, Tuple[float, float]] = setting(
        ByName(Interval(), "input names with [low, high]"),
        "`[low, high)` of random values by input name; `[0, 1)` where it has none", default=dict, group="random",
    )  # fmt: skip
    thresholds: Optional[Thresholds] = setting(Nested(Thresholds), "limits of the differences")
    outputs: Mapping[str, Thresholds] = setting(
        ByName(Nested(Thresholds), "output names with their thresholds"),
        "thresholds of single outputs, instead of those of all", default=dict,
    )  # fmt: skip
    scale_room: Optional[float] = setting(
        Number("a number above 1, such as 1.7", above=1),
        "largest ratio of the scales of a calibration cache to what the samples reach, as the median of the tensors; "
        "1.7 unless set, and then judged only by eight real samples or more",
        later=True,
    )

    @property
    def has_samples(self) -> bool:
        """Whether it specifies the samples, including random ones of a certain kind."""
        random = (self.seed, self.count, self.ranges) != (0, 4, {})
        return self.images is not None or self.npz is not None or random

    def samples_sha256(self, sha256: Callable[[Path], str] = sha256_file) -> Optional[str]:
        """Return the digest of the samples' bytes; None for random ones, and if they don't exist."""
        if self.images is not None:
            return self.images.samples_sha256(sha256)
        return sha256(Path(self.npz)) if self.npz is not None and Path(self.npz).is_file() else None

    def without_paths(self) -> Dict[str, object]:
        """Return the JSON form of the settings that count besides the samples' bytes."""
        images = {**self.images.to_dict(), "images": None} if self.images is not None else None
        return {**self.to_dict(), "npz": None, "images": images}

    def judges_scales(self, samples: int) -> bool:
        """Return whether scales that are too wide are refused, not only reported: few samples reach less than many."""
        real = self.images is not None or self.npz is not None
        return self.scale_room is not None or (real and samples >= SAMPLES_THAT_TELL)

    def of_output(self, name: str, precision: str) -> Thresholds:
        """Return the thresholds of an output of a model of ``precision``."""
        return self.outputs.get(name) or self.thresholds or DEFAULTS[precision]

    def asks(self, name: str) -> bool:
        """Return whether the user set an output's thresholds, so that argmax applies whatever its type."""
        return name in self.outputs or self.thresholds is not None
