"""What a narrower float type can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
from onnx import TensorProto

from . import weights

# Values that become 0, or change by more than this share, don't fit. 1e-6 in fp16 loses 1.3 %, 1e-5 loses 0.1 %.
_TOLERANCE = 0.01

LARGE, TINY, INFINITE = "large", "tiny", "infinite"


@dataclass(frozen=True)
class Narrow:
    """A narrower float type.

    largest: the largest value that rounds to a finite number. normal: the smallest number with full precision. kind: of
    TensorProto.
    """

    name: str
    kind: int
    largest: float
    normal: float
    finite: float


FP16 = Narrow("fp16", TensorProto.FLOAT16, largest=65519.99, normal=2.0**-14, finite=65504.0)
BF16 = Narrow("bf16", TensorProto.BFLOAT16, largest=3.3961e38, normal=2.0**-126, finite=3.3895313892515355e38)
NARROW = {"fp16": FP16, "bf16": BF16}


@dataclass(frozen=True)
class Misfit:
    """Why values don't fit: LARGE, TINY or INFINITE, and the worst of them."""

    why: str
    worst: float

    def told(self, narrow: Narrow) -> str:
        """Return the reason as a fragment of a sentence."""
        if self.why == INFINITE:
            return "infinite"
        beyond = f"over {narrow.finite:.6g}" if self.why == LARGE else f"too small for {narrow.name}"
        return f"{self.worst:.6g}, {beyond}"


def misfit(values: weights.Array, narrow: Narrow, *, each: bool) -> Optional[Misfit]:
    """Return why float values don't fit, or None if they do.

    Args:
        values: of a constant.
        narrow: the type.
        each: whether each value counts, as in a divisor; otherwise small values are judged relative to the largest.
    """
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    largest = max(abs(low), abs(high))
    if not np.isfinite([low, high]).all():
        return Misfit(INFINITE, largest) if np.isinf(values).any() else None
    if largest > narrow.largest:
        return Misfit(LARGE, low if abs(low) > high else high)
    return _lost(np.asarray(values), narrow, largest, each=each)


def _lost(values: weights.Array, narrow: Narrow, largest: float, *, each: bool) -> Optional[Misfit]:
    if not each and largest >= narrow.normal:
        return None  # the loss is under 2^-11 of the largest value
    exact = np.abs(values.astype(np.float64))
    loss = np.abs(np.abs(weights.rounded(values, narrow.kind).astype(np.float64)) - exact)
    scale = np.where(exact > 0, exact, 1) if each else largest or 1
    share = loss / scale
    if float(share.max()) <= _TOLERANCE:
        return None
    return Misfit(TINY, float(values.reshape(-1)[int(share.argmax())]))


def saturated(values: weights.Array, narrow: Narrow, *, infinite: bool) -> weights.Array:
    """Return bounds within the range of a type: values beyond it become its largest number, or infinite."""
    limit = np.float32(narrow.finite)
    beyond = np.float32(np.inf) if infinite else limit
    wide = np.asarray(values, np.float32)
    return np.where(np.abs(wide) > narrow.largest, np.sign(wide) * beyond, wide).astype(np.float32)
