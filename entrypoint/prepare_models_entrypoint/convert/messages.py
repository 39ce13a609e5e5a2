"""Known messages of the builder, each with the error that it means."""

from __future__ import annotations

import re
from typing import List, Sequence, Tuple

from ..errors import ConvertError

_MEMORY_HINT = "lower builder.workspace, close other programs, or build on a machine with more memory"

# Pattern, code, hint. The first match in the table wins.
TABLE: Tuple[Tuple[str, str, str], ...] = (
    (r"OutOfMemory|[Oo]ut of memory|std::bad_alloc|Tactic Device request.*insufficient", "out-of-memory", _MEMORY_HINT),
    (
        r"within workspace limit|insufficient workspace|exceeds? (?:the )?workspace",
        "out-of-memory",
        "raise builder.workspace: no implementation of a layer fits into it",
    ),
    (
        r"FP32 GEMM is not supported",
        "precision-unavailable",
        "this compute capability has no fp32 matrix product in TensorRT-RTX; use precision: fp16",
    ),
    (r"Could not find any implementation for node", "out-of-memory", _MEMORY_HINT),
    (r"profile", "inputs-mismatch", "check min, opt and max of the dynamic inputs under inputs:"),
)


def from_builder_log(errors: Sequence[str]) -> ConvertError:
    """Return the error that the builder's messages amount to."""
    texts: List[str] = [" ".join(error.split()) for error in errors]
    for pattern, code, hint in TABLE:
        for text in texts:
            if re.search(pattern, text):
                return ConvertError(code, f"the builder gave up: {text}", hint=hint)
    told = "; ".join(texts[-3:]) or "it gives no reason"
    return ConvertError(
        "build-failed", f"the builder gave up: {told}", hint="the build log has the builder's whole output"
    )
