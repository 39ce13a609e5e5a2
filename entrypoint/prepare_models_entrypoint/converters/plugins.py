"""Plugin libraries: verified against the digest that the manifest pins, then loaded into the build process."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Sequence

from ..contract.conversion import Plugin
from ..contract.files import sha256_file
from ..errors import ConvertError

if TYPE_CHECKING:
    from .backend import Log


def verify(plugins: Sequence[Plugin]) -> None:
    """Refuse a library that is missing or not the pinned one: it would run as code in this process."""
    for plugin in plugins:
        file = Path(plugin.file)
        if not file.is_file():
            raise _invalid(plugin, "there is no such file", "check plugins: file:")
        found = sha256_file(file)
        if found != plugin.sha256.lower():
            raise _invalid(
                plugin, f"it has sha256 {found}, the manifest pins {plugin.sha256}", "find out which is right"
            )


def load(plugins: Sequence[Plugin], trt: ModuleType, log: Log) -> None:
    """Load the backend's own plugins, if any, and those of the manifest."""
    verify(plugins)
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(log, "")
    for plugin in plugins:
        try:
            ctypes.CDLL(plugin.file, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise _invalid(plugin, str(error), "build the plugin for this TensorRT version and architecture") from None


def _invalid(plugin: Plugin, why: str, hint: str) -> ConvertError:
    return ConvertError("plugin-invalid", f"plugin library {plugin.file} can't be used: {why}", hint=hint)
