"""The first bytes of a plan file, which can be read without TensorRT and without a GPU.

TensorRT (``ftrt``): version in bytes 24 to 27, as trtexec's --getPlanVersionOnly reads it; plans of 8.6 and later.
TensorRT-RTX (``vtrt``): total size at 16, version at 24, compute capabilities at 32, bytes of weights at 56;
observed on 1.7.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Dict, List

from ..errors import InspectError

_LENGTH = 64
_LATER = 0x40  # no name in the API; default builds have it, and say "and later" in their documentation
_CAPABILITIES = {0x01: "7.5", 0x02: "8.0", 0x04: "8.6", 0x08: "8.9", 0x10: "12.0", 0x20: "12.1"}


def read_header(path: Path) -> Dict[str, Any]:
    """Return ``format``, ``version`` and what else the header tells.

    Raises:
        InspectError: the file does not begin like a plan, or is shorter than it declares.
    """
    with open(str(path), "rb") as stream:
        head = stream.read(_LENGTH)
    size = path.stat().st_size
    if len(head) < _LENGTH or head[:4] not in (b"ftrt", b"vtrt"):
        raise InspectError(
            "engine-invalid",
            f"{path.name} is no TensorRT plan: {size} bytes, starting with {head[:4].hex() or 'nothing'}",
            hint="build it again",
        )
    version = ".".join(str(part) for part in head[24:28])
    if head[:4] == b"ftrt":
        return {"format": "tensorrt", "version": version}
    (declared,) = struct.unpack_from("<Q", head, 16)
    if declared > size:
        raise InspectError(
            "engine-invalid", f"{path.name} has {size} of the {declared} bytes that it declares", hint="build it again"
        )
    (mask,) = struct.unpack_from("<I", head, 32)
    (weights,) = struct.unpack_from("<Q", head, 56)
    return {
        "format": "tensorrt_rtx",
        "version": version,
        "compute_capabilities": _capabilities(mask),
        "and_later": bool(mask & _LATER),
        "weights_bytes": weights,
    }


def _capabilities(mask: int) -> List[str]:
    return [name for bit, name in _CAPABILITIES.items() if mask & bit]
