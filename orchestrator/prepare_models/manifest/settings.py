"""Readers of the nested settings of a model: builder, profiles, plugins, ONNX, tao-converter, calibration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from prepare_models_entrypoint.contract import consumers
from prepare_models_entrypoint.contract.builder import (
    HARDWARE_LEVELS,
    REFIT_MODES,
    REMAINDERS,
    VERBOSITIES,
    BuilderConfig,
)
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.conversion import (
    COLOURS,
    INPUT_ORDERS,
    LAYOUTS,
    CalibrationConfig,
    OnnxConfig,
    Plugin,
    TaoConfig,
)
from prepare_models_entrypoint.contract.deployment import Deployment, check_path
from prepare_models_entrypoint.contract.job import ShapeRange
from prepare_models_entrypoint.contract.ros import RosConfig

from .nodes import Node
from .readers import Readers

_SIZES = {
    "workspace": "workspace_bytes",
    "tactic_dram": "tactic_dram_bytes",
    "tactic_shared_memory": "tactic_shared_bytes",
    "dla_sram": "dla_sram_bytes",
    "dla_local_dram": "dla_local_dram_bytes",
    "dla_global_dram": "dla_global_dram_bytes",
}
_FLAGS = (
    "tf32", "timing_cache", "version_compatible", "exclude_lean_runtime", "strip_weights", "weight_streaming",
    "sparsity", "dla_gpu_fallback", "strongly_typed", "strict_types",
)  # fmt: skip
_ENUMERATIONS = {
    "hardware_compatibility": HARDWARE_LEVELS,
    "refit": REFIT_MODES,
    "int8_remainder": REMAINDERS,
    "profiling_verbosity": VERBOSITIES,
}
_INTEGERS = {
    "optimization_level": ("a level from 0 (quick) to 5 (thorough)", 0, 5),
    "max_tactics": ("a number of at least 1", 1, 10**6),
    "avg_timing_iterations": ("a number from 1 to 1000", 1, 1000),
    "max_aux_streams": ("a number from 0 to 64", 0, 64),
    "dla_core": ("the number of a DLA core, 0 or 1", 0, 1),
}
BUILDER_KEYS = (*_SIZES, *_FLAGS, *_ENUMERATIONS, *_INTEGERS, "compute_capabilities", "io_formats")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_FORMAT = re.compile(r"[a-z0-9]+:[a-z0-9]+")

Reader = Callable[[Node], Any]


class Settings(Readers):
    """Reads nested settings."""

    def builder(self, *layers: Node | None) -> BuilderConfig:
        """Return the builder configuration; later layers win key by key."""
        options: dict[str, Any] = {}
        for node in layers:
            if node is None or not self.kind(node, "mapping", "builder options"):
                continue
            self.problems.check_keys(node, BUILDER_KEYS)
            for key, value in node.entries.items():
                if key in BUILDER_KEYS:
                    options[_SIZES.get(key, key)] = self._setting(key, value)
        defaults = BuilderConfig()
        return BuilderConfig(**{k: getattr(defaults, k) if v is None else v for k, v in options.items()})

    def _setting(self, key: str, node: Node) -> Any:
        if key in _SIZES:
            return self.size(node)
        if key in _FLAGS:
            return self.flag(node)
        if key in _ENUMERATIONS:
            return self.one_of(node, _ENUMERATIONS[key])
        if key in _INTEGERS:
            return self.integer(node, *_INTEGERS[key])
        if key == "compute_capabilities":
            return self.texts(node, "compute capabilities such as 8.6")
        return self._texts_by_name(node, "a type and layout such as fp16:chw", _FORMAT)

    def profiles(self, node: Node) -> tuple[dict[str, ShapeRange], ...] | None:
        """Return several optimization profiles."""
        if not self.kind(node, "list", "a list of profiles, each with shapes by input name"):
            return None
        found = [self.inputs(item) for item in node.items]
        return tuple(profile for profile in found if profile is not None)

    def plugins(self, node: Node) -> tuple[Plugin, ...] | None:
        """Return plugin libraries; a path is relative to the manifest."""
        if not self.kind(node, "list", "a list of {file:, sha256:}"):
            return None
        return tuple(plugin for item in node.items if (plugin := self._plugin(item)) is not None)

    def _plugin(self, node: Node) -> Plugin | None:
        values = self.fields(
            node,
            {
                "file": lambda n: self.text(n, "the path of a library"),
                "sha256": lambda n: self.text(n, "64 hexadecimal digits", _SHA256),
            },
            required=("file", "sha256"),
        )
        if "file" not in values or "sha256" not in values:
            return None
        return Plugin(str(self.place(values["file"])), values["sha256"].lower())

    def onnx(self, node: Node) -> OnnxConfig:
        """Return changes of the ONNX graph."""
        readers: dict[str, Reader] = {
            "sanitize": self.flag,
            "static_shapes": self._shapes,
            "outputs": lambda n: self.texts(n, "tensor names"),
        }
        return OnnxConfig(**self.fields(node, readers))

    def _shapes(self, node: Node) -> dict[str, tuple[int, ...]] | None:
        if not self.kind(node, "mapping", "input names with their shapes"):
            return None
        shapes = {name: self.shape(value) for name, value in node.entries.items()}
        return {name: shape for name, shape in shapes.items() if shape is not None}

    def ros(self, node: Node) -> RosConfig:
        """Return the names of tensors in ROS 2 messages."""
        read: Reader = lambda n: self.texts(n, "tensor names")  # noqa: E731  # used twice below
        return RosConfig(**self.fields(node, {"input_tensor_names": read, "output_tensor_names": read}))

    def warmup(self, node: Node) -> bool | None:
        """Return whether Triton shall run an engine once before it serves requests."""
        return self.fields(node, {"warmup": self.flag}).get("warmup")

    def deployed(self, entries: Mapping[str, Node]) -> Deployment:
        """Return for whom and for which place the companions are written."""
        place, names = entries.get("deploy_dir"), entries.get("consumers")
        told = [] if names is None else [names] if names.kind == "scalar" else names.items
        if names is not None and not told:
            self.problems.expected(names, "consumers, such as triton or isaac-ros@5.0")
        chosen = [self._checked(node, consumers.check, "a consumer, such as isaac-ros@5.0") for node in told]
        path = self._checked(place, check_path, "an absolute path") if place is not None else None
        return Deployment(deploy_dir=path, consumers=tuple(filter(None, chosen)))

    def _checked(self, node: Node, check: Callable[[str], str], what: str) -> str | None:
        text = self.text(node, what)
        try:
            return None if text is None else check(text)
        except ContractError as error:
            self.problems.add(node, str(error))
            return None

    def tao(self, node: Node) -> TaoConfig:
        """Return options of tao-converter."""
        readers: dict[str, Reader] = {
            "dims": self._dims,
            "batch": lambda n: self.integer(n, "a batch size of at least 1", 1),
            "max_batch": lambda n: self.integer(n, "a batch size of at least 1", 1),
            "input_order": lambda n: self.one_of(n, INPUT_ORDERS),
        }
        return TaoConfig(**self.fields(node, readers))

    def _dims(self, node: Node) -> tuple[int, ...] | None:
        text = self.text(node, "dimensions such as 3,544,960", re.compile(r"[0-9]+(?:[,x][0-9]+)*"))
        return None if text is None else tuple(int(size) for size in re.split("[,x]", text))

    def calibration(self, node: Node) -> CalibrationConfig | None:
        """Return how a calibration cache is made from samples."""
        readers: dict[str, Reader] = {
            "images": lambda n: self.text(n, "the path of a directory"),
            "preprocess": self._preprocess,
            "limit": lambda n: self.integer(n, "a number of samples", 1),
        }
        values = self.fields(node, readers, required=("images",))
        if "images" not in values:
            return None
        images = str(self.place(values.pop("images")))
        return CalibrationConfig(images=images, **values.pop("preprocess", {}), **values)

    def _preprocess(self, node: Node) -> dict[str, Any]:
        readers: dict[str, Reader] = {
            "scale": self.number,
            "mean": self.numbers,
            "std": self.numbers,
            "colour": lambda n: self.one_of(n, COLOURS),
            "layout": lambda n: self.one_of(n, LAYOUTS),
        }
        return self.fields(node, readers)

    def numbers(self, node: Node) -> tuple[float, ...] | None:
        """Return a list of numbers."""
        if not self.kind(node, "list", "a list of numbers"):
            return None
        values = [self.number(item) for item in node.items]
        return tuple(value for value in values if value is not None)

    def _texts_by_name(self, node: Node, what: str, pattern: re.Pattern[str]) -> dict[str, str] | None:
        if not self.kind(node, "mapping", f"names with {what}"):
            return None
        texts = {name: self.text(value, what, pattern) for name, value in node.entries.items()}
        return {name: text for name, text in texts.items() if text is not None}

    def fields(self, node: Node, readers: dict[str, Reader], required: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the values of a mapping by their keys, without those that are wrong."""
        if not self.kind(node, "mapping", f"a mapping of {', '.join(readers)}"):
            return {}
        self.problems.check_keys(node, readers, required=required)
        values = {key: readers[key](value) for key, value in node.entries.items() if key in readers}
        return {key: value for key, value in values.items() if value is not None}
