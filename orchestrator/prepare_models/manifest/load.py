"""Reading ``models.yaml``: strict, and with every problem reported at once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract import converters, skeleton
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.deployment import CONSUMER, DEPLOY_DIR, Deployment
from prepare_models_entrypoint.contract.kinds import Kind, Text
from prepare_models_entrypoint.contract.precision import AUTO
from prepare_models_entrypoint.contract.settings import Nested
from prepare_models_entrypoint.contract.source import Source

from ..catalog import PREFIX, find
from ..errors import UsageError
from ..running.connection import ConnectionSpec
from ..support import paths
from .model import DEFAULT_KEYS, MODEL_ROWS, NAME, TARGETS, Key, KeySource, Manifest, ModelSpec, Ngc
from .nodes import Node, Problems, node_of, parse, read
from .readers import Reader

NO_FILE = Path("-")  # stands in for the file of a manifest that isn't one
TOP_KEYS = ("version", "defaults", "models", "deploy_dir", "consumers", "targets")

# A model's own settings replace these of the catalog.
_INSTEAD = {"inputs": ("profiles",), "calibration_cache": ("calibration",)}

# Formats that this tool can't convert, each with how to get one that it can.
_OTHER_FORMATS = {
    **dict.fromkeys((".pt", ".pth", ".hdf5", ".h5", ".tlt", ".pb", ".tflite"), "export it to ONNX first"),
    **dict.fromkeys((".plan", ".engine"), "it is an engine already; give the model that it was built from"),
    ".uff": "UFF ended with TensorRT 8; use the model's ONNX release",
    ".caffemodel": "use the model's ONNX release",
}


def load(file: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        UsageError: the file doesn't exist, or is a model.
        ManifestError: it has problems; each has its line and a path such as ``models[2].inputs``.
    """
    _refuse_model(file)
    return of_text(read(file), file)


def _refuse_model(file: Path) -> None:
    try:
        with skeleton.mapped(file) as view:
            is_model = skeleton.verdict(view) == skeleton.WHOLE
    except OSError:
        return  # reading it raises the error
    if is_model or file.suffix.lower() == ".onnx" or converters.is_encrypted(file.name):
        name = shlex.quote(str(file))
        hint = f"convert it: prepare-models convert {name}; or write a manifest for it: prepare-models init {name}"
        raise UsageError(f"{file} is a model, not a manifest", hint=hint)


def of_text(text: str, file: Path) -> Manifest:
    """Check a manifest's text. ``file``: its path, to which paths in it are relative.

    Raises:
        ManifestError: it has problems; each has its line and a path such as ``models[2].inputs``.
        HostError: its directory's name can't be written into a report.
    """
    problems = Problems(file)
    return _manifest(parse(text, problems), file.parent, problems)


def of_value(value: Mapping[str, object]) -> Manifest:
    """Check the content of a manifest. Its paths are relative to the current directory.

    Raises:
        ManifestError: it has problems; each has a path such as ``models[2].inputs``.
    """
    return _manifest(node_of(value, 0, ""), Path(), Problems(NO_FILE))


def _manifest(root: Node, directory: Path, problems: Problems) -> Manifest:
    loader = _Loader(paths.named_in_utf8(directory), problems)
    models = loader.manifest(root)
    problems.raise_if_any()
    return Manifest(problems.file, models, loader.targets)


class _Loader(Reader):
    deployment = Deployment()  # what the top level sets for all models
    targets: Mapping[str, str] = {}  # replaced, never changed

    def manifest(self, root: Node) -> tuple[ModelSpec, ...]:
        if root.kind != "mapping":
            self.problems.expected(root, "version: 1 and models:")
            return ()
        self.problems.check_keys(root, TOP_KEYS, required=("version", "models"))
        version = root.entries.get("version")
        if version is not None and version.text != "1":
            self.problems.expected(version, "1, the version that this tool reads")
        defaults = root.entries.get("defaults", Node("mapping", root.line, "defaults"))
        if self.is_a(defaults, "mapping", "a mapping"):
            self.problems.check_keys(defaults, DEFAULT_KEYS)
        self.deployment = self._deployed(root.entries)
        self.targets = self._targets(root.entries.get("targets"))
        models = root.entries.get("models")
        if models is None or not self.is_a(models, "list", "a list of models"):
            return ()
        if not models.items:
            self.problems.expected(models, "at least one model")
        specs = [spec for item in models.items if (spec := self._model(item, defaults.entries)) is not None]
        self._unique(models.items)
        return tuple(specs)

    def _deployed(self, entries: Mapping[str, Node]) -> Deployment:
        """Return the consumers and the path for which companions are written."""
        place, names = entries.get("deploy_dir"), entries.get("consumers")
        items = [] if names is None else [names] if names.kind == "scalar" else names.items
        if names is not None and not items:
            self.problems.expected(names, CONSUMER.expected)
        chosen = [self._checked(CONSUMER, node) for node in items]
        path = self._checked(DEPLOY_DIR, place) if place is not None else None
        return Deployment(deploy_dir=path, consumers=tuple(filter(None, chosen)))

    def _checked(self, kind: Text, node: Node) -> str | None:
        text = self.value(kind, node)
        try:
            return None if text is None else str(kind.decode(text, node.path))
        except ContractError as error:
            self.problems.add(node, str(error))
            return None

    def _targets(self, node: Node | None) -> dict[str, str]:
        """Return the device classes by their names, which are those of directories."""
        if node is None:
            return {}
        if not node.entries:
            self.problems.expected(node, TARGETS.expected)
        for name in node.entries:
            if name == "report.json" or not re.fullmatch(NAME.pattern, name):
                self.problems.add(node, f"{name!r} can't be the name of a target: use {NAME.expected}")
        return self.value(TARGETS, node) or {}

    def _unique(self, items: Sequence[Node]) -> None:
        first: dict[str, int] = {}
        for item in items:
            name = item.entries.get("name")
            if name is None or name.text is None:
                continue
            if name.text == "report.json":
                self.problems.add(name, "the name report.json is reserved for the report of the run")
            if name.text in first:
                self.problems.add(name, f"the name {name.text!r} is taken by the model in line {first[name.text]}")
            first.setdefault(name.text, name.line)

    def _model(self, node: Node, defaults: Mapping[str, Node]) -> ModelSpec | None:
        if not self.is_a(node, "mapping", "a model with name: and source:"):
            return None
        before = len(self.problems.found)
        self.problems.check_keys(node, [row.key for row in MODEL_ROWS], required=("name", "source"))
        values = self._values(self._catalogued(node), defaults)
        found = (
            self.record(Ngc, defaults["ngc"], expected="api_url, auth_url or key_file") if "ngc" in defaults else None
        )
        ngc, headers = found or Ngc(), values.pop("network", None)
        network = ConnectionSpec(
            ngc_api=ngc.api_url, ngc_auth=ngc.auth_url, ngc_key_file=Path(ngc.key_file) if ngc.key_file else None,
            headers_file=Path(headers) if headers else None,
        )  # fmt: skip
        warmup = values.get("deployment", self.deployment).warmup
        values["deployment"] = replace(self.deployment, warmup=warmup)
        spec = ModelSpec(**{"name": "", "source": "", **values}, line=node.line, network=network)
        if len(self.problems.found) == before:
            self._check_together(node, spec)
        return spec

    def _values(self, entries: Mapping[str, Node], defaults: Mapping[str, Node]) -> dict[str, Any]:
        """Return a model's values by the names of their settings. Groups override those of defaults key by key."""
        values: dict[str, Any] = {}
        for row in MODEL_ROWS:
            layers = [layer[row.key] for layer in (defaults, entries) if row.key in layer]
            if layers and isinstance(row.kind, Nested):
                values[row.name] = self.record(row.kind.record, *layers, expected=row.kind.expected)
            elif layers:
                values[row.name] = self.value(row.kind, layers[-1])
        return {name: value for name, value in values.items() if value is not None}

    def value(self, kind: Kind, node: Node) -> Any:
        """Return the value of a setting."""
        return self._key(node) if isinstance(kind, KeySource) else super().value(kind, node)

    def _catalogued(self, node: Node) -> dict[str, Node]:
        """Return a model's entries, completed from the catalog for ``source: catalog:NAME``."""
        source = node.entries.get("source")
        if source is None or not (source.text or "").startswith(PREFIX):
            return node.entries
        try:
            known = dict(find((source.text or "").removeprefix(PREFIX)).manifest)
        except UsageError as error:
            self.problems.add(source, f"{error.message}; {error.hint}" if error.hint else error.message)
            return node.entries
        for key, others in _INSTEAD.items():
            if node.entries.keys() & set(others):
                known.pop(key, None)
        precision = node.entries.get("precision")
        if (precision.text if precision else known["precision"]) not in ("int8", AUTO):
            known.pop("calibration_cache", None)  # it only matters for int8
        filled = {key: node_of(value, source.line, source.path) for key, value in known.items()}
        return {**filled, **node.entries, "source": filled["source"]}

    def _check_together(self, node: Node, spec: ModelSpec) -> None:
        source = node.entries["source"]
        for name in spec.targets:
            if name not in self.targets:
                known = ", ".join(self.targets) or "none"
                self.problems.add(
                    node.entries["targets"], f"{name!r} is not under targets: of the manifest, which has {known}"
                )
        suffix = Path(spec.source.partition("?")[0]).suffix.lower()
        if suffix in _OTHER_FORMATS:
            self.problems.add(source, f"a {suffix} file can't be converted: {_OTHER_FORMATS[suffix]}")
        if spec.calibration is not None and spec.calibration_cache is not None:
            self.problems.add(node.entries["calibration"], "give calibration: or calibration_cache:, not both")
        if spec.profiles and spec.inputs:
            self.problems.add(node.entries["profiles"], "give inputs: or profiles:, not both")
        if "tao" in node.entries and spec.converter not in (AUTO, "tao-converter"):
            self.problems.add(
                node.entries["tao"], f"these are options of tao-converter, not of converter: {spec.converter}"
            )
        if Source.of(spec.source).scheme == "http" and spec.sha256 is None:
            self.problems.add(source, "an http:// source needs sha256:, as anyone in between may change its bytes")
        if Source.of(spec.calibration_cache or "").scheme == "http":
            cache = node.entries["calibration_cache"]
            self.problems.add(cache, "anyone in between may change the bytes of an http:// source; use https://")

    def _key(self, node: Node) -> Key | None:
        if not self.is_text(node):
            return None
        if node.kind == "scalar" and node.text:
            return Key(literal=node.text)
        if node.kind == "mapping" and len(node.entries) == 1 and set(node.entries) <= {"env", "file"}:
            ((form, value),) = node.entries.items()
            text = super().value(Text("the name of a variable" if form == "env" else "the path of a file"), value)
            if text is None:
                return None
            return Key(env=text) if form == "env" else Key(file=Path(self.path(text, value)))
        # The value may be a secret, so it is not repeated.
        self.problems.add(node, f"expected {KeySource.expected}")
        return None
