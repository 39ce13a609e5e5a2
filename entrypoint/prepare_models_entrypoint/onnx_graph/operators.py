"""What operators do to values, as far as rounding needs to know. Types come from the schemas, not from here."""

from __future__ import annotations

from typing import FrozenSet


def named(operators: str) -> FrozenSet[str]:
    """Return the operators that a text names."""
    return frozenset(operators.split())


# Outputs are values of the inputs, at other places.
MOVES = named(
    "Compress Concat DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND Identity Pad "
    "Reshape ReverseSequence Scatter ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile "
    "TopK Transpose Trilu Unique Unsqueeze Upsample CenterCropPad"
)

# Nothing is won by rounding before them: they take the type that their input has.
FOLLOW = MOVES | named(
    "ArgMax ArgMin Cast CastLike Ceil Equal Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual "
    "MaxPool NonZero OneHot Round Shape Sign Size Where"
)

# Their results depend on the type of the input otherwise than by rounding, or their inputs are coordinates.
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

# What TensorRT-RTX 1.7 refuses in other types, although ONNX defines it in them and it takes it in float32.
FULL_IN_TENSORRT = {
    "fp16": named("Celu TensorScatter"),
    "bf16": named("Celu ConvTranspose GRU GlobalLpPool HardSwish LpNormalization LpPool Mish TensorScatter"),
}
RECURRENT = named("GRU LSTM RNN")  # with lengths of sequences

# Type variables of inputs that carry no data.
ASIDE = {"Resize": frozenset({"T2"})}

COMPARISONS = named("Equal Greater GreaterOrEqual Less LessOrEqual")

# Of whole numbers, they make whole numbers again.
COUNTING = named("Add Neg Sub Sum")

# They compute with each value.
ARITHMETIC = COUNTING | named("Div Mod Mul Pow")

# A large input makes a large output.
GROWING = MOVES | named(
    "Abs Add CumSum Div Mod Mul Neg Pow ReduceMax ReduceMean ReduceMin ReduceSum Relu LeakyRelu PRelu "
    "Sqrt Square Sub Sum Where"
)

# A small input makes a small output, or a large one that the next of them reads.
SHRINKING = MOVES | named("Abs Clip Max Neg Pow ReduceMax ReduceMean ReduceMin ReduceSum Relu Sqrt Where")

# The smallest inputs make the largest outputs.
STEEP = named("Div Log Pow Reciprocal Sqrt")

REDUCTIONS = named("AveragePool GlobalAveragePool ReduceMean ReduceSum ReduceMax")

# Sums of squares, and products of many values, within one operator.
SQUARING = named("GlobalLpPool LpNormalization LpPool ReduceL2 ReduceLogSumExp ReduceProd ReduceSumSquare")
