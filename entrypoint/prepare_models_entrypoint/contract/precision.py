"""How an engine gets its precision: values that the converter, the verification and the report share."""

from __future__ import annotations

from enum import Enum

PRECISIONS = ("fp32", "fp16", "int8", "bf16", "fp8")
# Their names in other tools.
SPELLINGS = {
    "half": "fp16", "float16": "fp16", "f16": "fp16", "16": "fp16", "bfloat16": "bf16", "float": "fp32",
    "single": "fp32", "float32": "fp32", "f32": "fp32", "32": "fp32",
    "float8": "fp8", "8": "int8", "i8": "int8", "best": "auto",
}  # fmt: skip
AUTO, NONE = "auto", "none"  # values in a manifest: the tool decides; nothing


class Means(str, Enum):
    """How a precision comes about."""

    EXPORTED = "exported"
    FLAGS = "builder-flags"
    FLAGS_AND_CACHE = "builder-flags-and-cache"
    FLAGS_AND_QDQ = "builder-flags-and-qdq"
    REWRITTEN = "graph-rewritten"
    OWN_TYPES = "own-types"
    OWN_QDQ = "own-qdq"
    INSERTED_QDQ = "inserted-qdq"
    SAMPLED_QDQ = "sampled-qdq"
    TAO_CONVERTER = "tao-converter"

    @property
    def leaves_the_graph(self) -> bool:
        """Whether the builder or a program chooses the types, so that no graph shows them."""
        return self in (Means.FLAGS, Means.FLAGS_AND_CACHE, Means.FLAGS_AND_QDQ, Means.TAO_CONVERTER)
