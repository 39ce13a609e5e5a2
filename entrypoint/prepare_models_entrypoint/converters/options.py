"""Which builder settings a backend or converter knows. A setting that it would ignore is an error.

``contract/builder.py`` has this for each setting; this module has the versions of trtexec's options.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..contract.backends import TYPED_SINCE
from ..contract.builder import BuilderConfig
from ..contract.environment import BackendInfo
from ..contract.report import WarningInfo
from ..contract.settings import Setting
from ..contract.versions import Version, version_of
from ..errors import ConvertError

Ignored = Tuple[Setting, str]
_FIRST: Version = (8, 4)

# trtexec's options that came later, if ``contract/builder.py`` doesn't say it of a setting. ``profile`` is documented
# for 8.6, and its first version is an assumption; a trtexec without it says so, which is an error with its own code.
_TRTEXEC: Dict[str, Version] = {
    "profile": (8, 6),
    "fp8": (8, 6),  # NvInfer.h of 8.6
    "bf16": (10, 0),  # NvInfer.h: not in 8.6, in 10.0
    "maxTactics": (10, 10),  # sampleOptions.cpp: not in 10.3, in 10.10
    "staticPlugins": (8, 6),  # published commands for 10.x
    "skipInference": (8, 6),  # sampleOptions.cpp of 8.6
}

# Builder options that trtexec gets as part of others, or that ``check`` refuses.
_OTHERWISE_TRTEXEC = ("timing_cache", "int8_remainder", "io_formats", "compute_capabilities")

NO_CODE = "compute-capability-unsupported"


def trtexec_has(option: str, version: Version) -> bool:
    """Return whether the trtexec of this TensorRT version has an option."""
    return version >= _TRTEXEC.get(option, _FIRST)


def lost_by_trtexec(row: Setting, value: object) -> bool:
    """Return whether trtexec has no option for a value of a builder option."""
    if row.option.pool[1] or row.name in _OTHERWISE_TRTEXEC:
        return False
    if isinstance(row.option.trtexec, str):
        return not row.option.trtexec
    return isinstance(value, str) and value not in ("none", *row.option.trtexec)


def check(builder: BuilderConfig, backend: str, version: str, *, precision: str, has_gpu: bool) -> None:
    """Refuse settings that this backend would ignore.

    Raises:
        ConvertError: there are such settings; the message names each, the backend and its version.
    """
    found = list(_ignored(builder, backend, version_of(version), has_gpu=has_gpu))
    if precision == "fp32":
        found += [
            (row, "the DLA computes in fp16 and int8 only") for row, _ in builder.chosen() if row.name == "dla_core"
        ]
    if found:
        raise _unavailable(found, f"{backend} {version}")


def check_tao(builder: BuilderConfig) -> None:
    """Refuse settings for which tao-converter has no option."""
    found = [(row, "tao-converter has no option for it") for row, _ in builder.chosen() if not row.option.tao]
    found += [
        (row, f"tao-converter has only {row.option.tao} to turn it on")
        for row, value in builder.chosen()
        if row.option.tao and value is False
    ]
    if found:
        raise _unavailable(found, "tao-converter")


def _ignored(builder: BuilderConfig, backend: str, version: Version, *, has_gpu: bool) -> Iterator[Ignored]:
    rtx = backend == "tensorrt_rtx"
    for row, value in builder.chosen():
        option = row.option
        if row.name == "strongly_typed" and value is False and (rtx or version >= TYPED_SINCE):
            yield row, "networks are always strongly typed here"
        if rtx and option.rtx:
            yield row, option.rtx
        elif rtx and option.rtx_gpu and not has_gpu and value not in (False, "none"):
            yield row, "needs a GPU at build time"
        elif not rtx and option.rtx_only:
            yield row, option.rtx_only
        elif not rtx and version < option.since:
            yield row, f"exists from TensorRT {'.'.join(map(str, option.since))} on"
        elif not rtx and option.until and version >= option.until:
            yield row, f"was removed in TensorRT {'.'.join(map(str, option.until))}"
        elif not rtx and isinstance(value, str) and version < option.values_since.get(value, ()):
            since = ".".join(map(str, option.values_since[value]))
            yield row, f"its value {value} exists from TensorRT {since} on"


def _unavailable(found: Sequence[Ignored], who: str) -> ConvertError:
    text = "; ".join(f"builder.{row.key}: {why}" for row, why in found)
    return ConvertError(
        "builder-option-unavailable",
        f"{who} would ignore {text}",
        hint="remove these lines from builder:, or build where they have an effect",
    )


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


def check_gpu(backend: BackendInfo, capability: Optional[str], wanted: Sequence[str]) -> List[WarningInfo]:
    """Refuse a GPU that the backend has no code for; a portable engine for other GPUs only causes a warning.

    ``capability``: of this machine's GPU, such as 8.7; None without one. ``wanted``: those that the manifest asks for,
    if the backend can build for several.
    """
    if backend["name"] == "tensorrt_rtx":
        return _rtx(backend, capability, wanted)
    if capability is None:
        return []
    version, number = version_of(backend["version"]), version_of(capability)
    gaps = (each for each in GAPS if each.since <= version < each.until and each.lowest <= number <= each.highest)
    gap = next(gaps, None)
    if gap is None:
        return []
    raise ConvertError(
        NO_CODE,
        f"tensorrt {backend['version']} has no code for this GPU's compute capability {capability} ({gap.source})",
        hint="build in an image whose TensorRT has it: 'prepare-models doctor' names the image for this machine",
    )


def _rtx(backend: BackendInfo, capability: Optional[str], wanted: Sequence[str]) -> List[WarningInfo]:
    unknown = [each for each in wanted if each not in (*RTX, *RTX_ON_REQUEST)]
    if unknown:
        raise ConvertError(
            NO_CODE,
            f"tensorrt_rtx {backend['version']} can't build for compute capability {', '.join(unknown)}",
            hint=f"builder.compute_capabilities takes {', '.join((*RTX_ON_REQUEST, *RTX))}",
        )
    if capability is None or capability in (wanted or RTX) or version_of(capability) > version_of(RTX[-1]):
        return []
    known = "; add it to builder.compute_capabilities" if capability in RTX_ON_REQUEST else ", which has no code for it"
    return [
        WarningInfo(
            code=NO_CODE,
            message=f"this machine's GPU has compute capability {capability}: an engine of tensorrt_rtx "
            f"{backend['version']} will not run on it{known}",
            hint=f"deploy it on a GPU of {', '.join(wanted or RTX)}, or build here with the full TensorRT",
        )
    ]
