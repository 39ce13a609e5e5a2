"""Attribute values that ONNX documents only in words and its checker ignores: parsers replace others by a default."""

from __future__ import annotations

from typing import FrozenSet, Mapping, Tuple


def _of(*values: str) -> FrozenSet[str]:
    return frozenset(values)


_PADDED = {"auto_pad": _of("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")}
_SCATTERED = {"reduction": _of("none", "add", "mul", "max", "min")}
_RECURRENT = {
    "direction": _of("forward", "reverse", "bidirectional"),
    "activations": _of(
        "relu", "tanh", "sigmoid", "affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu",
        "softsign", "softplus",
    ),
}  # fmt: skip
_LOSS = {"reduction": _of("none", "sum", "mean")}

# By operator and attribute; for lists, the values allowed for each entry.
STRINGS: Mapping[str, Mapping[str, FrozenSet[str]]] = {
    **dict.fromkeys(
        ("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool", "QLinearConv"), _PADDED
    ),
    **dict.fromkeys(("ScatterElements", "ScatterND", "TensorScatter"), _SCATTERED),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _RECURRENT),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), _LOSS),
    "BitShift": {"direction": _of("LEFT", "RIGHT")},
    "DepthToSpace": {"mode": _of("DCR", "CRD")},
    "Gelu": {"approximate": _of("none", "tanh")},
    "GridSample": {
        "mode": _of("bilinear", "nearest", "bicubic", "linear", "cubic"),
        "padding_mode": _of("zeros", "border", "reflection"),
    },
    "Pad": {"mode": _of("constant", "reflect", "edge", "wrap")},
    "Resize": {
        "mode": _of("nearest", "linear", "cubic"),
        "nearest_mode": _of("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
        "coordinate_transformation_mode": _of(
            "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
            "tf_crop_and_resize", "tf_half_pixel_for_nn",
        ),
        "keep_aspect_ratio_policy": _of("stretch", "not_larger", "not_smaller"),
    },
    "RoiAlign": {
        "mode": _of("avg", "max"),
        "coordinate_transformation_mode": _of("half_pixel", "output_half_pixel"),
    },
    "Upsample": {"mode": _of("nearest", "linear", "bilinear")},
}  # fmt: skip
# Names of activations, in any case.
ANY_CASE = ("activations",)

# Integer attributes that mean no or yes, in any operator.
SWITCHES: Tuple[str, ...] = (
    "align_corners", "allowzero", "antialias", "ceil_mode", "center_point_box", "count_include_pad", "exclude_outside",
    "exclusive", "fmod", "input_forget", "inverse", "is_causal", "keepdims", "largest", "layout",
    "linear_before_reset", "noop_with_empty_axes", "onesided", "reverse", "saturate", "select_last_index", "sorted",
    "storage_order", "transA", "transB", "upper",
)  # fmt: skip
