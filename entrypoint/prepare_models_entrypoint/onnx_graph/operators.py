"""What operators do to values, as far as rounding needs to know. Types come from the schemas, not from here."""

from __future__ import annotations

from typing import FrozenSet


def named(operators: str) -> FrozenSet[str]:
    """Return the operators named in a text."""
    return frozenset(operators.split())


# Their outputs are values of the inputs, at other places.
MOVES = named(
    "Compress Concat DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND Identity Pad "
    "Reshape ReverseSequence Scatter ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile "
    "TopK Transpose Trilu Unique Unsqueeze Upsample CenterCropPad"
)

# Nothing is gained by rounding before them: they have the type of their input.
FOLLOW = MOVES | named(
    "ArgMax ArgMin Cast CastLike Ceil Equal Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual "
    "MaxPool NonZero OneHot Round Shape Sign Size Where"
)

# Their results depend on the input's type in other ways than rounding, or their inputs are coordinates.
STAY = {
    "BitCast": "reinterprets the bits of its input",
    "Bernoulli": "draws its output in the type of its input",
    "EyeLike": "makes its output in the type of its input",
    "RandomNormalLike": "draws its output in the type of its input",
    "RandomUniformLike": "draws its output in the type of its input",
    "GridSample": "reads coordinates",
    "RoiAlign": "reads coordinates",
    "MaxRoiPool": "reads coordinates",
    "AffineGrid": "makes coordinates",
    "MeanVarianceNormalization": "ONNX defines it with constants in float32",
}

# TensorRT-RTX 1.7 accepts them only in float32, although ONNX defines them in other types, too.
FULL_IN_TENSORRT = {
    "fp16": named("Celu TensorScatter"),
    "bf16": named("Celu ConvTranspose GRU GlobalLpPool HardSwish LpNormalization LpPool Mish TensorScatter"),
}
RECURRENT = named("GRU LSTM RNN")  # with sequence lengths

# Type variables of inputs that are not data.
ASIDE = {"Resize": frozenset({"T2"})}

COMPARISONS = named("Equal Greater GreaterOrEqual Less LessOrEqual")

# Given whole numbers, they return whole numbers.
COUNTING = named("Add Neg Sub Sum")

# They compute with each value.
ARITHMETIC = COUNTING | named("Div Mod Mul Pow")

# A large input makes a large output.
GROWING = MOVES | named(
    "Abs Add CumSum Div Mod Mul Neg Pow ReduceMax ReduceMean ReduceMin ReduceSum Relu LeakyRelu PRelu "
    "Sqrt Square Sub Sum Where"
)

# A small input makes a small output, or a large one that the next of these reads.
SHRINKING = MOVES | named("Abs Clip Max Neg Pow ReduceMax ReduceMean ReduceMin ReduceSum Relu Sqrt Where")

# The smallest inputs make the largest outputs.
STEEP = named("Div Log Pow Reciprocal Sqrt")

REDUCTIONS = named("AveragePool GlobalAveragePool ReduceMean ReduceSum ReduceMax")

# Sums of squares, and products of many values, within one operator.
SQUARING = named("GlobalLpPool LpNormalization LpPool ReduceL2 ReduceLogSumExp ReduceProd ReduceSumSquare")
