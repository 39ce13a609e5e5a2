"""Descriptions of the fields of a comparison: how an engine's outputs differ from those of its source model."""

from __future__ import annotations

from collections.abc import Mapping

from prepare_models_entrypoint.contract.comparison import Latency, OutputComparison, ScaleFit, TensorScale, Verification
from prepare_models_entrypoint.contract.kinds import Schema

from .told import told

COMPARED: Mapping[object, Mapping[str, Schema]] = {
    OutputComparison: {
        "": told("How far one output is from the reference, over all samples."),
        "elements": told("Values compared.", minimum=0),
        "non_finite": told("Values that are finite in only one result.", minimum=0),
        "mean_abs": told("Mean absolute difference."),
        "max_abs": told("Largest absolute difference."),
        "max_rel": told("Largest difference over the reference's magnitude, where that is not 0."),
        "max_of_range": told("Largest difference over the reference's range; null for whole numbers."),
        "cosine": told("Cosine similarity of all values; null for whole numbers."),
        "argmax": told(
            "Share of places where the largest value has the same index; of whole numbers, share of equal ones."
        ),
        "disagreeing": told("Whole numbers that differ, or places whose largest value is at another index.", minimum=0),
        "thresholds": told("Limits that were set, by metric."),
        "problems": told("Thresholds that were missed, with the numbers."),
        "histogram": told(
            "Counts of absolute differences: the first bin ends at 10**lowest, others are 1/per_decade decades wide.",
            required=["lowest", "per_decade", "counts"],
            properties={
                "lowest": {"type": "integer"},
                "per_decade": {"type": "integer"},
                "counts": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            },
        ),
        "points": told(
            "Some values: [reference, candidate].",
            items={"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        ),
    },
    Latency: {
        "": told("Time of one execution of the engine, copies included."),
        "iterations": told(minimum=0),
        "execution_memory_bytes": told("GPU memory that one execution needs besides the weights."),
    },
    TensorScale: {
        "holds": told("127 times the scale."),
        "reached": told("The largest absolute value on the samples."),
    },
    ScaleFit: {
        "": told("How the scales of a calibration cache fit the samples."),
        "tensors": told("Tensors that have a scale and are not zero on all samples."),
        "median_room": told("Median over the tensors of what the scale holds over what was reached."),
        "problem": told("Null within the limit."),
        "judged": told("Whether a problem refuses the engine: random samples, or few, prove too little."),
        "widest": told("The tensors with the most room."),
    },
    Verification: {
        "": told("What was compared with what, and how it came out."),
        "verdict": told(enum=("passed", "failed", "not-compared")),
        "statement": told("The same as a sentence."),
        "candidate": told("What was judged.", enum=("engine", "rewritten-onnx", None)),
        "origin": told("Where a rewritten model that failed first leaves its source: node and tensor."),
        "engine_not_run": told("Why the engine itself was not run."),
        "scales": told("How the scales of the calibration cache fit the samples; null without a cache."),
        "latency_absent": told("Why there is no latency."),
        "settings": told("The manifest's verify: with every default."),
    },
}
