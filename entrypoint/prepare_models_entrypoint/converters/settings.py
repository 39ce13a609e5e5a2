"""Applying builder settings to a builder configuration, by name: what a version lacks is an error."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, Sequence

from ..contract.builder import BuilderConfig
from ..contract.settings import Setting, rows
from ..errors import ConvertError

if TYPE_CHECKING:
    from tensorrt import IBuilderConfig, INetworkDefinition

# Builder options that are applied by separate code.
_OTHERWISE = ("timing_cache", "dla_core", "strongly_typed", "int8_remainder", "compute_capabilities", "io_formats")
_TYPES = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8", "int32": "INT32", "int64": "INT64", "bf16": "BF16"}
_LAYOUTS = {
    "chw": "LINEAR",
    "hwc": "HWC",
    "chw2": "CHW2",
    "chw4": "CHW4",
    "hwc8": "HWC8",
    "chw16": "CHW16",
    "chw32": "CHW32",
}


def apply(
    trt: ModuleType, config: IBuilderConfig, network: INetworkDefinition, builder: BuilderConfig, flags: Sequence[str]
) -> Dict[str, object]:
    """Apply all settings of the manifest, and the flags of the precision.

    Returns:
        The configuration as the backend reports it afterwards.
    """
    for row, value in builder.chosen():
        _set(trt, config, row, value)
    _compute_capabilities(trt, config, builder)
    if builder.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = builder.dla_core
    _io_formats(trt, network, builder)
    for flag in flags:
        config.set_flag(trt.BuilderFlag.__members__[flag])
    return _effective(trt, config)


def _set(trt: ModuleType, config: IBuilderConfig, row: Setting, value: object) -> None:
    option = row.option
    if option.pool[0] and isinstance(value, int):
        config.set_memory_pool_limit(_member(trt.MemoryPoolType, option.pool[0], row.key), value)
    elif option.attribute:
        if option.enumeration:
            value = _member(getattr(trt, option.enumeration, None), option.members[value], row.key)
        if not hasattr(config, option.attribute):
            raise _missing(row.key)
        setattr(config, option.attribute, value)
    elif isinstance(value, (bool, str)) and value in option.flags:
        config.set_flag(_member(trt.BuilderFlag, option.flags[value], row.key))
    elif value is False and option.flags:
        config.clear_flag(_member(trt.BuilderFlag, option.flags[True], row.key))
    elif not option.flags and row.name not in _OTHERWISE:
        raise _missing(row.key)


def _compute_capabilities(trt: ModuleType, config: Any, builder: BuilderConfig) -> None:
    if builder.compute_capabilities:
        config.num_compute_capabilities = len(builder.compute_capabilities)
        for index, capability in enumerate(builder.compute_capabilities):
            name = "SM" + capability.replace(".", "")
            config.set_compute_capability(_member(trt.ComputeCapability, name, "compute_capabilities"), index)


def _io_formats(trt: ModuleType, network: INetworkDefinition, builder: BuilderConfig) -> None:
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    by_name = {tensor.name: tensor for tensor in tensors}
    for name, text in builder.io_formats.items():
        kind, _, layout = text.partition(":")
        if name not in by_name or kind not in _TYPES or layout not in _LAYOUTS:
            raise ConvertError(
                "builder-option-unavailable",
                f"builder.io_formats: {name}: {text} is not a binding of this model with a type and layout",
                hint=f"bindings: {', '.join(by_name)}; types: {', '.join(_TYPES)}; layouts: {', '.join(_LAYOUTS)}",
            )
        by_name[name].dtype = _member(trt.DataType, _TYPES[kind], "io_formats")
        by_name[name].allowed_formats = 1 << int(_member(trt.TensorFormat, _LAYOUTS[layout], "io_formats"))


def _member(enumeration: object, member: str, key: str) -> Any:
    """Return the member of a backend's enumeration that the table of settings names."""
    found = getattr(enumeration, member, None)
    if found is None:
        raise _missing(key)
    return found


def _missing(key: str) -> ConvertError:
    return ConvertError(
        "builder-option-unavailable",
        f"this backend does not know builder.{key}",
        hint="remove the line from builder:, or build with a newer TensorRT",
    )


def _effective(trt: ModuleType, config: IBuilderConfig) -> Dict[str, object]:
    numbers = [row for row in rows(BuilderConfig) if row.option.attribute and not row.option.enumeration]
    found = {row.name: getattr(config, row.option.attribute, None) for row in numbers}
    limit: int = config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)
    is_set: Callable[[Any], bool] = config.get_flag
    flags = [name for name, flag in trt.BuilderFlag.__members__.items() if is_set(flag)]
    return {"workspace_bytes": limit if 0 < limit < 2**63 else None, **found, "flags": flags}
