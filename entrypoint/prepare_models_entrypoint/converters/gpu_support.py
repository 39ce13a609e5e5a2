"""GPUs for which a backend has code, checked before a build, which would find out late or, worse, never."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

from ..contract.environment import BackendInfo
from ..contract.report import WarningInfo
from ..contract.settings import Version
from ..errors import ConvertError
from .options import version_of

CODE = "compute-capability-unsupported"


class Gap(NamedTuple):
    """TensorRT versions (first, first after the gap) without code for capabilities from lowest to highest."""

    since: Version
    until: Version
    lowest: Version
    highest: Version
    source: str


# Known gaps of full TensorRT. A pair in no row is left to the builder, whose own refusal has the same error code.
GAPS: Tuple[Gap, ...] = (
    Gap((0,), (8, 5), (8, 9), (99,), "NVIDIA/TensorRT issue 2727: 8.4 has no SM 8.9, 8.5 has"),
    Gap((0,), (10, 8), (12, 0), (99,), "10.7: 'Target GPU SM 120 is not supported by this TensorRT release'"),
    Gap((8, 6), (99,), (0,), (5, 9), "NVIDIA/TensorRT issue 3589: 8.5.3 was the last for SM 3 and SM 5"),
    Gap((10, 13), (99,), (0,), (7, 4), "Triton 25.08 release notes: SM 7.5 and later"),
    Gap((10, 13), (10, 16), (8, 7), (8, 7), "isaac-ros-cli issue 22: 10.13.3 has no SM 8.7, 10.16.1 has"),
    Gap((11, 3), (99,), (8, 7), (8, 7), "TensorRT 11.3 notes: JetPack is not supported"),
)
# TensorRT-RTX 1.7.1 on a GPU of SM 9.0: "Supported compute capabilities: 8.0 8.6 8.9 12.0 12.1 >12.0".
RTX = ("8.0", "8.6", "8.9", "12.0", "12.1")
RTX_ON_REQUEST = ("7.5",)


def check(backend: BackendInfo, capability: Optional[str], wanted: Sequence[str]) -> List[WarningInfo]:
    """Refuse a GPU that the backend has no code for; a portable engine for other GPUs only causes a warning.

    ``capability``: of this machine's GPU, such as 8.7; None without one. ``wanted``: those that the manifest asks for,
    if the backend can build for several.
    """
    if backend["name"] == "tensorrt_rtx":
        return _rtx(backend, capability, wanted)
    gap = _gap(version_of(backend["version"]), version_of(capability)) if capability else None
    if gap is None:
        return []
    raise ConvertError(
        CODE,
        f"tensorrt {backend['version']} has no code for this GPU's compute capability {capability} ({gap.source})",
        hint="build in an image whose TensorRT has it: 'prepare-models doctor' names the image for this machine",
    )


def _gap(version: Version, capability: Version) -> Optional[Gap]:
    return next(
        (gap for gap in GAPS if gap.since <= version < gap.until and gap.lowest <= capability <= gap.highest), None
    )


def _rtx(backend: BackendInfo, capability: Optional[str], wanted: Sequence[str]) -> List[WarningInfo]:
    unknown = [each for each in wanted if each not in (*RTX, *RTX_ON_REQUEST)]
    if unknown:
        raise ConvertError(
            CODE,
            f"tensorrt_rtx {backend['version']} can't build for compute capability {', '.join(unknown)}",
            hint=f"builder.compute_capabilities takes {', '.join((*RTX_ON_REQUEST, *RTX))}",
        )
    if capability is None or capability in (wanted or RTX) or version_of(capability) > version_of(RTX[-1]):
        return []
    known = "; add it to builder.compute_capabilities" if capability in RTX_ON_REQUEST else ", which has no code for it"
    return [
        WarningInfo(
            code=CODE,
            message=f"this machine's GPU has compute capability {capability}: an engine of tensorrt_rtx "
            f"{backend['version']} will not run on it{known}",
            hint=f"deploy it on a GPU of {', '.join(wanted or RTX)}, or build here with the full TensorRT",
        )
    ]
