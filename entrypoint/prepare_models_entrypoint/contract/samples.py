"""Samples of a model's inputs, and calibration from them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from .files import sha256_file
from .kinds import File, Integer, ListOf, Number, OneOf
from .settings import REQUIRED, Record, rows, setting

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
    std: Tuple[float, ...] = setting(_NUMBERS, "divides, for each channel", default=(), group="preprocess")
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
        digests = [sha256(file) for file in self.samples()]
        return hashlib.sha256("".join(digests).encode("ascii")).hexdigest() if digests else None


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
