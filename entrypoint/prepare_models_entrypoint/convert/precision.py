"""One rule for each runtime: how a precision that the manifest asks for is brought about. Pure: no backend here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Sequence, Tuple

from ..contract.report import PrecisionProof
from ..errors import ConvertError

# Cheapest last: the order in which a delivered precision is named.
ORDER = ("fp8", "int8", "bf16", "fp16", "fp32")


@dataclass(frozen=True)
class Rule:
    """What to do: builder flags to set, graph rewrites in their order, whether a calibrator hands out the cache."""

    flags: Tuple[str, ...]
    rewrites: Tuple[str, ...]
    calibrator: bool
    method: str


def rule(
    requested: str, *, flags: Optional[Sequence[str]], has_qdq: bool, has_cache: bool, remainder: Optional[str] = None
) -> Rule:
    """Return how ``requested`` is brought about.

    Args:
        requested: fp32, fp16, bf16, int8 or fp8.
        flags: names of the backend's builder flags where precision is chosen by flags (TensorRT 8 to 10), else None.
        has_qdq: whether the model carries its own Q/DQ nodes.
        has_cache: whether there is a calibration cache.
        remainder: fp16 (default) or fp32 for what int8 does not reach.

    Raises:
        ConvertError: this runtime can't, or the model lacks what it would need.
    """
    if requested == "fp32":
        return Rule((), (), calibrator=False, method="as exported")
    if requested == "int8":
        _needs_scales(has_qdq, has_cache)
    if requested == "fp8" and not has_qdq:
        raise ConvertError(
            "precision-unavailable",
            "fp8 comes from Q/DQ nodes in the model, and this one has none",
            hint="quantize it with NVIDIA Model Optimizer ('nvidia-modelopt[onnx]') and give that ONNX file",
        )
    if flags is None:
        return _by_graph(requested, has_qdq, remainder)
    return _by_flags(requested, flags, has_qdq, remainder)


def _needs_scales(has_qdq: bool, has_cache: bool) -> None:
    if not has_qdq and not has_cache:
        raise ConvertError(
            "calibration-missing",
            "int8 needs scales: the manifest gives no calibration_cache and the model has no Q/DQ nodes",
            hint="add calibration_cache: with the file from the model's page, or calibration: {images: DIR}",
        )


def _by_flags(requested: str, flags: Sequence[str], has_qdq: bool, remainder: Optional[str]) -> Rule:
    wanted: Tuple[str, ...] = (requested.upper(),)
    if requested in ("int8", "fp8") and remainder != "fp32":
        wanted += ("FP16",)
    missing = [flag for flag in wanted if flag not in flags]
    if missing:
        raise ConvertError(
            "precision-unavailable",
            f"this TensorRT has no builder flag {', '.join(missing)}",
            hint="use precision: fp16, or build with a newer TensorRT",
        )
    calibrator = requested == "int8" and not has_qdq
    how = " and calibration cache" if calibrator else ", Q/DQ nodes of the model" if has_qdq else ""
    return Rule(wanted, (), calibrator=calibrator, method=f"builder flag {', '.join(wanted)}{how}")


def _by_graph(requested: str, has_qdq: bool, remainder: Optional[str]) -> Rule:
    if requested == "bf16":
        raise ConvertError(
            "precision-unavailable",
            "this runtime takes types from the model, and nothing here rewrites a model to bf16",
            hint="use precision: fp16, or give a bf16 model made with NVIDIA Model Optimizer as precision: fp32",
        )
    if requested == "fp16":
        return Rule((), ("fp16",), calibrator=False, method="graph rewritten, fp32 bindings")
    if has_qdq:
        return Rule((), (), calibrator=False, method="Q/DQ nodes of the model, as exported")
    rewrites = ("qdq",) if remainder == "fp32" else ("fp16", "qdq")
    return Rule((), rewrites, calibrator=False, method="Q/DQ nodes from the calibration cache, fp32 bindings")


def delivered(requested: str, proof: PrecisionProof, *, allow_fallback: bool) -> str:
    """Return the precision that an engine got.

    Raises:
        ConvertError: it is not what was asked, and no fallback is allowed.
    """
    counts = proof["layers"]
    best = next((name for name in ORDER if counts.get(name)), "fp32")
    if requested == "fp32" or counts.get(requested):
        return best if requested == "fp32" else requested
    if allow_fallback:
        return best
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
    raise ConvertError(
        "precision-not-delivered",
        f"{requested} was asked, and no compute layer has it (compute layers: {told})",
        hint="allow_fallback: true takes what there is; otherwise ask for what the model and backend can give",
    )


def proof_of(source: str, counted: Dict[str, Tuple[int, int]]) -> PrecisionProof:
    """Return a proof from the number of layers and of weights by precision."""
    total = sum(weights for _, weights in counted.values())
    share = {name: round(weights / total, 4) for name, (_, weights) in counted.items()} if total else {}
    return PrecisionProof(source=source, layers={name: n for name, (n, _) in counted.items()}, weights_share=share)
