"""One rule for each runtime: how to get the precision that the manifest asks for. Pure functions, no backend."""

from __future__ import annotations

import fnmatch
import math
from dataclasses import field
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ..contract import schema
from ..contract.backends import chooses_by_flags
from ..contract.precision import AUTO, Means
from ..contract.report import Calibration, KeptLayer, ModelReport, PrecisionProof, PrecisionSearch, WarningInfo
from ..contract.values import Value
from ..contract.verification import VerifyConfig
from ..errors import ConvertError

# Cheapest last: the order in which a delivered precision is named.
ORDER = ("fp8", "int8", "bf16", "fp16", "fp32")

# An fp16 engine has half the bytes of the fp32 model's weights, an int8 one a quarter; midway to the next precision.
_LARGEST_SHARE = {"fp16": 0.75, "int8": 0.375}
_SMALLEST_FOR_SIZE = 16 << 20
_NAMED = 10
_SAMPLES = "give samples with verify: or calibration:, which show what really has to; or use precision: fp32"
_ROOM = 1.5  # for errors on other samples, and for the search, which stops before a threshold


class Rule(Value):
    """What to do: builder flags to set, graph rewrites in order."""

    means: Means
    flags: Tuple[str, ...] = ()
    rewrites: Tuple[str, ...] = ()

    @property
    def calibrator(self) -> bool:
        """Whether a calibrator passes the cache to the builder."""
        return self.means == Means.FLAGS_AND_CACHE


def rule(
    requested: str, *, flags: Optional[Sequence[str]], has_qdq: bool, has_cache: bool, remainder: Optional[str] = None,
    has_samples: bool = False, typed: bool = False,
) -> Rule:  # fmt: skip
    """Return how to get the precision ``requested``.

    flags: names of the backend's builder flags if these choose the precision (TensorRT 8 to 10), else None. has_qdq:
    whether the model contains Q/DQ nodes. has_cache: whether there is a calibration cache. remainder: fp16 (default) or
    fp32, for layers that don't become int8. has_samples: whether there are samples from which fp8 scales can be made.
    typed: whether the model already has layers of this precision.

    Raises:
        ConvertError: this runtime can't do it, or the model lacks what is needed.
    """
    if requested == "fp32":
        return Rule(Means.EXPORTED)
    if requested == "int8":
        _needs_scales(has_qdq, has_cache)
    if requested == "fp8" and not has_qdq and not (flags is None and has_samples):
        raise ConvertError(
            "precision-unavailable",
            "fp8 comes from Q/DQ nodes in the model, and this one has none",
            hint="quantize it with NVIDIA Model Optimizer ('nvidia-modelopt[onnx]') and give that ONNX file; "
            "with TensorRT 11 and TensorRT-RTX calibration: {images: DIR} does that here",
        )
    if flags is None:
        return _by_graph(requested, has_qdq, remainder, typed=typed)
    without_qdq = Means.FLAGS_AND_CACHE if requested == "int8" else Means.FLAGS
    return Rule(Means.FLAGS_AND_QDQ if has_qdq else without_qdq, check_flags(requested, flags, remainder))


def _needs_scales(has_qdq: bool, has_cache: bool) -> None:
    if not has_qdq and not has_cache:
        raise ConvertError(
            "calibration-missing",
            "int8 needs scales: the manifest gives no calibration_cache and the model has no Q/DQ nodes",
            hint="add calibration_cache: with the file from the model's page, or calibration: {images: DIR}; "
            "to convert  --images DIR",
        )


def check_flags(requested: str, flags: Sequence[str], remainder: Optional[str]) -> Tuple[str, ...]:
    """Return the builder flags that a precision sets.

    ``requested``: fp32 sets no flags, and auto those that exist. ``flags``: those of this TensorRT. ``remainder``:
    precision of layers that don't become int8.

    Raises:
        ConvertError: this TensorRT lacks one of them.
    """
    if requested in ("fp32", AUTO):
        return ()
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
    return wanted


def _by_graph(requested: str, has_qdq: bool, remainder: Optional[str], *, typed: bool) -> Rule:
    if requested == "bf16" and typed:
        return Rule(Means.OWN_TYPES)
    if requested in ("fp16", "bf16"):
        return Rule(Means.REWRITTEN, rewrites=(requested,))
    if requested == "fp8" and not has_qdq:
        return Rule(Means.SAMPLED_QDQ, rewrites=("fp8",))
    if has_qdq:
        return Rule(Means.OWN_QDQ)
    rewrites = ("qdq",) if remainder == "fp32" else ("fp16", "qdq")
    return Rule(Means.INSERTED_QDQ, rewrites=rewrites)


_SENTENCES = {
    Means.EXPORTED: "as exported",
    Means.FLAGS: "builder flag {flags}",
    Means.FLAGS_AND_CACHE: "builder flag {flags} and calibration cache",
    Means.FLAGS_AND_QDQ: "builder flag {flags}, Q/DQ nodes of the model",
    Means.REWRITTEN: "graph rewritten, fp32 bindings",
    Means.OWN_TYPES: "types of the model, as exported",
    Means.OWN_QDQ: "Q/DQ nodes of the model, as exported",
    Means.INSERTED_QDQ: "Q/DQ nodes from the calibration cache, fp32 bindings",
    Means.SAMPLED_QDQ: "Q/DQ nodes from the samples, fp32 bindings",
    Means.TAO_CONVERTER: "tao-converter -t {requested}",
}


def sentence(means: Means, *, requested: str, flags: Sequence[str] = ()) -> str:
    """Return how an engine got its precision, in words."""
    return _SENTENCES[means].format(flags=", ".join(flags), requested=requested)


class Evidence(Value):
    """Evidence of an engine's precision. ``source``: graph or engine.

    layers: compute layers by precision. weights: elements of their weights by precision, empty if unknown.
    """

    source: str
    layers: Mapping[str, int]
    weights: Mapping[str, int] = field(default_factory=dict)


def prove(
    requested: str, chosen: Rule, evidence: Optional[Evidence], *, allow_fallback: bool,
    calibration: Optional[Calibration] = None, kept: Sequence[KeptLayer] = (), computing: Sequence[KeptLayer] = (),
    addition: Tuple[str, str] = ("", ""),
) -> PrecisionProof:  # fmt: skip
    """Return what was asked for, what was delivered and how. Without evidence, only fp32 counts as delivered.

    ``kept``: the layers that stay in fp32. ``computing``: those to name in an error, harmless ones included.
    ``addition``: what ``unfound`` adds to it.

    Raises:
        ConvertError: the engine did not get the precision asked for, and fallback is not allowed.
    """
    layers = dict(evidence.layers) if evidence else {}
    delivered = "fp32" if requested == "fp32" else None
    if evidence:
        delivered = _delivered(requested, layers, computing or kept, addition, allow_fallback=allow_fallback)
    return {
        **schema.empty(PrecisionProof),
        "requested": requested,
        "delivered": delivered,
        "how": sentence(chosen.means, requested=requested, flags=chosen.flags),
        "calibration": calibration,
        "means": chosen.means.value,
        "flags": list(chosen.flags),
        "kept": list(kept),
        "source": evidence.source if evidence else None,
        "layers": layers,
        "layers_share": _shares(layers),
        "weights_share": _shares(evidence.weights if evidence else {}),
    }


def reprove(proof: PrecisionProof, evidence: Evidence, *, allow_fallback: bool) -> PrecisionProof:
    """Return a proof with better evidence from the engine; how the engine got its precision stays.

    Raises:
        ConvertError: the engine did not get the precision asked for, and fallback is not allowed.
    """
    layers = dict(evidence.layers)
    return {
        **proof,
        "delivered": _delivered(settled(proof), layers, proof["kept"], ("", ""), allow_fallback=allow_fallback),
        "source": evidence.source,
        "layers": layers,
        "layers_share": _shares(layers),
        "weights_share": _shares(evidence.weights),
    }


def _delivered(
    requested: str,
    layers: Mapping[str, int],
    kept: Sequence[KeptLayer],
    addition: Tuple[str, str],
    *,
    allow_fallback: bool,
) -> str:
    best = next((name for name in ORDER if layers.get(name)), "fp32")
    if requested != "fp32" and layers.get(requested):
        return requested
    if requested == "fp32" or allow_fallback or not any(layers.values()):
        return best
    text = ", ".join(f"{count} {name}" for name, count in layers.items() if count) or "none"
    reasons = ", ".join(f"{layer['name']} ({layer['reason']})" for layer in kept[:_NAMED])
    why = f"; these have to stay in fp32: {reasons}{', ...' if len(kept) > _NAMED else ''}" if kept else ""
    raise ConvertError(
        "precision-not-delivered",
        f"{requested} was requested, and no compute layer has it (compute layers: {text}){why}{addition[0]}",
        hint=addition[1],
    )


def unfound(search: Optional[PrecisionSearch], config: Optional[VerifyConfig]) -> Tuple[str, str]:
    """Return what to add to an error, and its hint, if no search found layers that are enough in fp32; else nothing."""
    if search is None or search["right"]:
        return "", _SAMPLES if config is None else ""
    error, harm = search["error"], [f"{each['name']} ({_moves(each['moves'])})" for each in search["harmful"]]
    text = (
        f". Even {search['kept']} of {search['layers']} layers in fp32, with all between them, leave an error of "
        f"{_moves(error)}. How far each layer moves an output, over its range: {', '.join(harm)}"
    )
    hint = "use precision: fp32"
    if error is not None and (config is None or not (config.thresholds or config.outputs)):
        limit = math.ceil(_ROOM * error * 100) / 100
        hint += f", or thresholds: {{max_of_range: {limit:g}}} under verify: if such errors will do"
    return text, hint


def _moves(share: Optional[float]) -> str:
    return "any size" if share is None else f"{share:.2%}"


def _shares(counts: Mapping[str, int]) -> Dict[str, float]:
    total = sum(counts.values())
    return {name: round(count / total, 4) for name, count in counts.items()} if total else {}


def judge_by_size(requested: str, *, engine_bytes: int, model_bytes: int) -> Tuple[bool, str]:
    """Return whether an engine is too small for weights of a higher precision, and what its size shows, in words.

    ``model_bytes``: size of the fp32 model. A larger engine shows nothing: TensorRT transforms some weights, and stores
    kernels with them.
    """
    if requested == "fp32":
        return False, ""
    share = engine_bytes / model_bytes
    size = f"the engine has {share:.2f} of the model's bytes"
    if model_bytes >= _SMALLEST_FOR_SIZE and share <= _LARGEST_SHARE.get(requested, 0.0):
        return True, f"; judged by size alone: {size}, too few for weights of a higher precision"
    return False, f"; unproven: nothing reports the precision of its layers, and {size}, which does not show it"


def unmatched(patterns: Sequence[str], names: Iterable[str]) -> List[WarningInfo]:
    """Return a warning about patterns of ``keep_fp32`` that match no layer's name, and so keep nothing in fp32."""
    known = list(names)
    idle = [pattern for pattern in patterns if not any(fnmatch.fnmatchcase(name, pattern) for name in known)]
    if not idle:
        return []
    return [
        WarningInfo(
            code="keep-fp32-unmatched",
            message=f"keep_fp32: no layer is named {', '.join(idle)}",
            hint="'prepare-models inspect --layers FILE' lists the names",
        )
    ]


def settled(proof: PrecisionProof) -> str:
    """Return the precision that was asked for, or that ``auto`` chose."""
    return next((row["precision"] for row in proof["choices"] if row["verdict"] == "chosen"), proof["requested"])


def doubts(proof: PrecisionProof) -> List[WarningInfo]:
    """Return the warning that nothing shows an engine's precision, or that only the smaller part has it."""
    requested, layers = settled(proof), proof["layers"]
    if proof["delivered"] == requested and proof["layers_share"].get(requested, 1.0) < 0.5:
        return [
            WarningInfo(
                code="precision-partial",
                message=f"{layers[requested]} of {sum(layers.values())} compute layers are {requested}",
                hint="precision_proof in the report has the shares; compare speed and results with precision: fp16",
            )
        ]
    if proof["delivered"] is not None:
        return []
    return [
        WarningInfo(
            code="precision-unproven",
            message=f"{proof['requested']} was requested ({proof['how']}); nothing here shows the layers' precision",
            hint="inspect the engine on its device before you rely on the precision",
        )
    ]


def means_of(report: ModelReport) -> Optional[Means]:
    """Return how the engine of a report got its precision; older records don't have this as a value."""
    value = report["precision_proof"]["means"]
    if value is not None:
        return Means(value)
    backend = report["runtime"]["backend"] if report["runtime"] else None
    if report["converter"] == "tao-converter":
        return Means.TAO_CONVERTER
    by_flags = backend is not None and chooses_by_flags(backend["name"], backend["version"])
    return Means.FLAGS if by_flags and report["precision_proof"]["requested"] != "fp32" else None
