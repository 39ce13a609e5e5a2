"""Calibration caches of TensorRT and TAO: text, one ``TRT-<number>-<algorithm>`` line, then ``name: scale`` lines.

A scale is the 32 bits of a float32 in hexadecimal digits, amax / 127. TAO omits leading zeros, and its tensor names
contain colons, so a line is split at the last one. The layout follows the reader in NVIDIA's sample code.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional

from ..contract.report import Calibration, WarningInfo
from ..errors import ConvertError

FILE = "calibration.cache"  # next to an engine: the cache that was made from samples

ALGORITHMS = ("EntropyCalibration2", "MinMaxCalibration", "EntropyCalibration")
_HEADER = re.compile(r"TRT-(\d+)-(\w+)")
LARGEST = 64 << 20
_NAMES_KEPT = 50
_NOTHING: Mapping[str, str] = {}
_FOREIGN = "use the calibration cache of exactly this model version"
_OWN = "nothing is wrong: they keep the outputs right; more typical samples may bring more of them into int8"
_MAJORS = range(5, 20)


@dataclass(frozen=True)
class CalibrationCache:
    """A cache as read.

    scales: float32 scale above zero by tensor name. unusable: by tensor, what its scale is instead of a positive number
    (caches for quantization-aware training have infinite scales for tensors that Q/DQ nodes cover), or why it has none.
    method: how the scales were measured; None for a cache given as a file. refused: why samples gave no scales, if the
    precision was left open.
    """

    header: str
    algorithm: str
    scales: Mapping[str, float]
    body: bytes
    unusable: Mapping[str, str] = field(default_factory=dict)
    method: Optional[str] = None
    refused: Optional[str] = None

    @classmethod
    def of_nothing(cls, why: str) -> "CalibrationCache":
        """Return an empty cache, for samples that gave no scales."""
        return cls("", "", {}, b"", refused=why)

    def without(self, names: Iterable[str], why: str) -> "CalibrationCache":
        """Return the cache with some scales as unusable."""
        unusable = dict.fromkeys(names, why)
        left = {name: scale for name, scale in self.scales.items() if name not in unusable}
        return replace(self, scales=left, unusable={**self.unusable, **unusable})

    def written_for(self) -> List[str]:
        """Return the TensorRT versions that the header's number can mean; TAO always uses the older formula."""
        number = int(self.header.split("-")[1])
        readings = (
            (number // 10000, number // 100 % 100, number % 100),
            (number // 1000, number // 100 % 10, number % 100),
        )
        return [".".join(map(str, reading)) for reading in readings if reading[0] in _MAJORS]

    def for_version(self, version: str) -> bytes:
        """Return the cache with its first line as TensorRT ``version`` writes it; the scales are unchanged."""
        major, minor, patch = (int(part) for part in [*version.split("."), "0", "0"][:3])
        number = (major * 10000 if major >= 10 else major * 1000) + minor * 100 + patch
        return f"TRT-{number}-{self.algorithm}\n".encode("ascii") + self.body


def read(path: Path, name: str) -> CalibrationCache:
    """Read a cache file.

    Args:
        path: the file.
        name: its name in messages.

    Raises:
        ConvertError: it is empty, not a cache, or of an algorithm that no calibrator reads.
    """
    if path.stat().st_size > LARGEST:
        raise _invalid(name, f"it has {path.stat().st_size} bytes")
    data = path.read_bytes()
    if not data.strip():
        raise _invalid(name, "it is empty")
    first, _, body = data.lstrip(b"\xef\xbb\xbf\r\n \t").partition(b"\n")
    header = first.decode("utf-8", "replace").strip()
    match = _HEADER.fullmatch(header)
    if match is None:
        raise _invalid(name, f"line 1 is {header[:60]!r}, expected TRT-<version>-<algorithm>")
    if match[2] not in ALGORITHMS:
        raise _invalid(name, f"algorithm {match[2]} is not one of {', '.join(ALGORITHMS)}")
    found = _scales(body, name)
    scales = {tensor: scale for tensor, scale in found.items() if math.isfinite(scale) and scale > 0}
    if not scales:
        raise _invalid(name, "it holds no scale above zero")
    unusable = {tensor: _fault(scale) for tensor, scale in found.items() if tensor not in scales}
    return CalibrationCache(header, match[2], scales, body, unusable)


def _fault(scale: float) -> str:
    if math.isnan(scale):
        return "not a number"
    return "infinite" if math.isinf(scale) else "zero" if not scale else "negative"


def _scales(body: bytes, name: str) -> Dict[str, float]:
    try:
        lines = body.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise _invalid(name, f"it is not text: {error.reason} at byte {error.start}") from None
    scales: Dict[str, float] = {}
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        tensor, colon, word = (part.strip() for part in line.rpartition(":"))
        if not tensor or not colon:
            raise _invalid(name, f"line {number} is {line[:60]!r}, expected NAME: SCALE")
        scale = _scale(word)
        if scale is None:
            raise _invalid(name, f"line {number}: {word[:20]!r} is not a scale in hexadecimal digits")
        if scales.setdefault(tensor, scale) != scale and not math.isnan(scale):
            raise _invalid(name, f"line {number}: a second, different scale of {tensor}")
    return scales


def _scale(word: str) -> "float | None":
    if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,8}", word):
        return None
    value: float = struct.unpack(">f", int(word, 16).to_bytes(4, "big"))[0]
    return value


def _invalid(name: str, why: str) -> ConvertError:
    return ConvertError(
        "calibration-cache-invalid",
        f"{name} is not a usable calibration cache: {why}",
        hint="download the cache of exactly this model version again, or leave calibration_cache out and use fp16",
    )


def write(scales: Mapping[str, float], algorithm: str = "MinMaxCalibration", number: int = 8601) -> bytes:
    """Return a cache in the form that every reader accepts."""
    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items()]
    return "\n".join([f"TRT-{number}-{algorithm}", *lines, ""]).encode("utf-8")


def coverage(cache: CalibrationCache, wanted: Iterable[str], tensors: Iterable[str]) -> Calibration:
    """Compare a cache with a network.

    Args:
        cache: the scales.
        wanted: activations that need a scale for int8.
        tensors: names of all tensors of the network.
    """
    asked = sorted(set(wanted))
    missing = [name for name in asked if name not in cache.scales]
    stale = sorted((set(cache.scales) | set(cache.unusable)) - set(tensors))
    return Calibration(
        header=cache.header,
        written_for=cache.written_for(),
        algorithm=cache.algorithm,
        method=cache.method,
        wanted=len(asked),
        covered=len(asked) - len(missing),
        missing_count=len(missing),
        missing=missing[:_NAMES_KEPT],
        unusable={name: cache.unusable[name] for name in missing[:_NAMES_KEPT] if name in cache.unusable},
        stale_count=len(stale),
        stale=stale[:_NAMES_KEPT],
    )


def check(found: Calibration, *, allow_fallback: bool, kept: Mapping[str, str] = _NOTHING) -> List[WarningInfo]:
    """Refuse the cache of another model; return warnings about one that covers only a part.

    A cache with mostly the model's names belongs to it, however little it covers; so does one just made from samples.
    ``kept``: layers that stay out of int8, with the reasons.

    Raises:
        ConvertError: fallback is not allowed and no activation is covered, or fewer than half by a cache with mostly
        other names; or the model has no layer for int8 at all.
    """
    if not found["wanted"] and not allow_fallback:
        staying = ", ".join(f"{name} ({why})" for name, why in list(kept.items())[:5])
        none = "the model has no layer that can run in int8 (convolutions, matrix products with constant weights)"
        raise ConvertError(
            "precision-not-delivered",
            f"int8 was requested, and {f'all layers that could run in it stay in fp32: {staying}' if kept else none}",
            hint="use builder: {int8_remainder: fp32} if fp16 does not hold their values, or keep less in fp32"
            if kept
            else "use precision: fp16 for this model",
        )
    unusable = found["unusable"]
    names = [f"{name} ({unusable[name]})" if name in unusable else name for name in found["missing"][:5]]
    shown = ", ".join(names) + (", ..." if found["missing_count"] > 5 else "")
    text = f"{found['covered']} of {found['wanted']} activations have a scale; missing: {shown or 'none'}"
    if found["method"] is not None:
        text = f"{found['covered']} of {found['wanted']} activations become int8; left out: {shown}"
        return [_warning(text, _OWN)] if found["missing_count"] else []
    foreign = 2 * found["covered"] < found["wanted"] and found["stale_count"] > found["covered"]
    if found["wanted"] and (not found["covered"] or (foreign and not allow_fallback)):
        raise ConvertError(
            "calibration-cache-foreign",
            f"the calibration cache does not fit this model: {text}; {found['stale_count']} of its names are unknown",
            hint=_how_to_fit(found),
        )
    return [_warning(text, _FOREIGN)] if found["missing_count"] else []


def _warning(message: str, hint: str) -> WarningInfo:
    return WarningInfo(code="calibration-incomplete", message=message, hint=hint)


def _how_to_fit(found: Calibration) -> str:
    """Return the hint for a cache whose names are not the model's."""
    bare = {name.rpartition(":")[0]: name for name in found["stale"] if name.endswith(":0")}
    twins = [(bare[name], name) for name in found["missing"] if name in bare]
    twins += [(name[:-2], name) for name in found["missing"] if name.endswith(":0") and name[:-2] in found["stale"]]
    if twins:
        theirs, own = twins[0]
        return (
            f"names differ by ':0' only ({theirs!r} in the cache, {own!r} in the model): rename them if the cache "
            "belongs to this network, or use the cache made for this export"
        )
    if "infinite" in found["unusable"].values():
        return "these scales come from quantization-aware training: use the model's export with Q/DQ nodes, or fp16"
    return "use the cache that belongs to this model version; names change when a model is exported again"


def made(folder: Path) -> Optional[Path]:
    """Return the calibration cache that was made from samples, or None. A link would lead past the confinement."""
    file = folder / FILE
    return file if file.is_file() and not file.is_symlink() else None
