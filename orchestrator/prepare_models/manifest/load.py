"""Reading ``models.yaml``: strict, and with every problem told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from prepare_models_entrypoint.contract.conversion import OnnxConfig, TaoConfig
from prepare_models_entrypoint.contract.deployment import Deployment
from prepare_models_entrypoint.contract.job import CONVERTERS, PRECISIONS
from prepare_models_entrypoint.contract.ros import RosConfig
from prepare_models_entrypoint.contract.source import member_of, problem_of, scheme_of

from ..catalog import PREFIX, find
from ..errors import UsageError
from ..running.connection import ConnectionSpec
from .model import Key, Manifest, ModelSpec
from .nodes import Node, Problems, node_of, parse
from .settings import BUILDER_KEYS, Settings
from .verification import VerifySettings

T = TypeVar("T")

__all__ = ["BUILDER_KEYS", "DEFAULT_KEYS", "MODEL_KEYS", "TOP_KEYS", "load"]

TOP_KEYS = ("version", "defaults", "models", "deploy_dir", "consumers")
DEFAULT_KEYS = ("precision", "key", "builder", "converter", "allow_fallback", "headers_file", "ngc")
NGC_KEYS = ("api_url", "auth_url", "key_file")
MODEL_KEYS = (
    "name", "source", "sha256", "precision", "key", "calibration_cache", "inputs", "outputs", "builder", "converter",
    "profiles", "keep_fp32", "allow_fallback", "plugins", "onnx", "tao", "calibration", "verify", "headers_file",
    "eula", "ros", "triton",
)  # fmt: skip

# What a model says itself takes the place of these words of the catalog.
_INSTEAD = {"inputs": ("profiles",), "calibration_cache": ("calibration",)}

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")  # names of files are made of it, and those end at 255 bytes
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
# Formats that people have and this tool can't convert, each with the way to one that it can.
_OTHER_FORMATS = {
    **dict.fromkeys((".pt", ".pth", ".hdf5", ".h5", ".tlt", ".pb", ".tflite"), "export it to ONNX first"),
    **dict.fromkeys((".plan", ".engine"), "it is an engine already; give the model that it was built from"),
    ".uff": "UFF ended with TensorRT 8; use the model's ONNX release",
    ".caffemodel": "use the model's ONNX release",
}


def load(file: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        ManifestError: with every problem, its line and its path such as ``models[2].inputs``.
    """
    problems = Problems(file)
    root = parse(file, problems)
    models = _Loader(file.absolute().parent, problems).manifest(root)
    problems.raise_if_any()
    return Manifest(file, models)


class _Loader(Settings):
    deployment = Deployment()  # what the top level says of all models

    def manifest(self, root: Node) -> tuple[ModelSpec, ...]:
        if root.kind != "mapping":
            self.problems.expected(root, "version: 1 and models:")
            return ()
        self.problems.check_keys(root, TOP_KEYS, required=("version", "models"))
        version = root.entries.get("version")
        if version is not None and version.text != "1":
            self.problems.expected(version, "1, the version that this tool reads")
        defaults = root.entries.get("defaults", Node("mapping", root.line, "defaults"))
        if self.kind(defaults, "mapping", "a mapping"):
            self.problems.check_keys(defaults, DEFAULT_KEYS)
        self.deployment = self.deployed(root.entries)
        models = root.entries.get("models")
        if models is None or not self.kind(models, "list", "a list of models"):
            return ()
        if not models.items:
            self.problems.expected(models, "at least one model")
        specs = [spec for item in models.items if (spec := self._model(item, defaults.entries)) is not None]
        self._unique(models.items)
        return tuple(specs)

    def _unique(self, items: Sequence[Node]) -> None:
        first: dict[str, int] = {}
        for item in items:
            name = item.entries.get("name")
            if name is None or name.text is None:
                continue
            if name.text in first:
                self.problems.add(name, f"the name {name.text!r} is taken by the model in line {first[name.text]}")
            first.setdefault(name.text, name.line)

    def _model(self, node: Node, defaults: Mapping[str, Node]) -> ModelSpec | None:
        if not self.kind(node, "mapping", "a model with name: and source:"):
            return None
        before = len(self.problems.found)
        self.problems.check_keys(node, MODEL_KEYS, required=("name", "source"))
        entries = {**defaults, **self._catalogued(node)}

        def read(key: str, reader: Callable[[Node], T | None], default: T) -> T:
            value = reader(entries[key]) if key in entries else None
            return default if value is None else value

        spec = ModelSpec(
            name=read("name", self._name, ""),
            source=read("source", self._source, ""),
            line=node.line,
            sha256=read("sha256", self._sha256, None),
            precision=read("precision", lambda n: self.one_of(n, PRECISIONS), "fp32"),
            key=read("key", self._key, None),
            calibration_cache=read("calibration_cache", self._source, None),
            inputs=read("inputs", self.inputs, {}),
            outputs=read("outputs", self.outputs, ()),
            builder=self.builder(defaults.get("builder"), node.entries.get("builder")),
            converter=read("converter", lambda n: self.one_of(n, CONVERTERS), "auto"),
            profiles=read("profiles", self.profiles, ()),
            keep_fp32=read("keep_fp32", lambda n: self.texts(n, "patterns of layer names"), ()),
            allow_fallback=read("allow_fallback", self.flag, default=False),
            plugins=read("plugins", self.plugins, ()),
            onnx=read("onnx", self.onnx, OnnxConfig()),
            tao=read("tao", self.tao, TaoConfig()),
            calibration=read("calibration", self.calibration, None),
            verify=read("verify", VerifySettings(self.directory, self.problems).verify, None),
            network=self._network(defaults.get("ngc"), read("headers_file", self._path, None)),
            eula=read("eula", self._url, None),
            ros=read("ros", self.ros, RosConfig()),
            deployment=replace(self.deployment, warmup=read("triton", self.warmup, default=False)),
        )
        if len(self.problems.found) == before:
            self._check_together(node, spec)
        return spec

    def _catalogued(self, node: Node) -> dict[str, Node]:
        """Return a model's entries, filled up with what the catalog says of ``source: catalog:NAME``."""
        source = node.entries.get("source")
        if source is None or not (source.text or "").startswith(PREFIX):
            return node.entries
        try:
            known = dict(find((source.text or "").removeprefix(PREFIX)).manifest)
        except UsageError as error:
            self.problems.add(source, error.diagnostics().replace("\n  -> ", "; "))
            return node.entries
        for key, others in _INSTEAD.items():
            if node.entries.keys() & set(others):
                known.pop(key, None)
        precision = node.entries.get("precision")
        if (precision.text if precision else known["precision"]) != "int8":
            known.pop("calibration_cache", None)  # it is there for those who want int8
        filled = {key: node_of(value, source.line, source.path) for key, value in known.items()}
        return {**filled, **node.entries, "source": filled["source"]}

    def _network(self, ngc: Node | None, headers_file: Path | None) -> ConnectionSpec:
        if ngc is None or not self.kind(ngc, "mapping", "api_url, auth_url or key_file"):
            return ConnectionSpec(headers_file=headers_file)
        self.problems.check_keys(ngc, NGC_KEYS)
        urls = {key: self._url(ngc.entries[key]) for key in ("api_url", "auth_url") if key in ngc.entries}
        key_file = self._path(ngc.entries["key_file"]) if "key_file" in ngc.entries else None
        return ConnectionSpec(
            ngc_api=urls.get("api_url"), ngc_auth=urls.get("auth_url"), ngc_key_file=key_file, headers_file=headers_file
        )

    def _path(self, node: Node) -> Path | None:
        text = self.text(node, "the path of a file")
        return self.place(text) if text else None

    def _url(self, node: Node) -> str | None:
        return self.text(node, "a URL that starts with https://", re.compile(r"https?://[^\s]+"))

    def _check_together(self, node: Node, spec: ModelSpec) -> None:
        source = node.entries["source"]
        suffix = Path(spec.source.partition("?")[0]).suffix.lower()
        if suffix in _OTHER_FORMATS:
            self.problems.add(source, f"a {suffix} file can't be converted: {_OTHER_FORMATS[suffix]}")
        if spec.calibration is not None and spec.calibration_cache is not None:
            self.problems.add(node.entries["calibration"], "give calibration: or calibration_cache:, not both")
        if spec.profiles and spec.inputs:
            self.problems.add(node.entries["profiles"], "give inputs: or profiles:, not both")
        if "tao" in node.entries and spec.converter in ("api", "trtexec"):
            self.problems.add(
                node.entries["tao"], f"these are options of tao-converter, not of converter: {spec.converter}"
            )
        if scheme_of(spec.source) == "http" and spec.sha256 is None:
            self.problems.add(source, "an http:// source needs sha256:, as anybody on the way may change its bytes")
        if scheme_of(spec.calibration_cache or "") == "http":
            cache = node.entries["calibration_cache"]
            self.problems.add(cache, "anybody on the way may change the bytes of an http:// source; use https://")

    def _name(self, node: Node) -> str | None:
        if node.text == "report.json":
            self.problems.add(node, "the name report.json is that of the run's own report")
        return self.text(node, "at most 128 of a-z, 0-9, '.', '_' and '-', a letter or digit first", _NAME)

    def _sha256(self, node: Node) -> str | None:
        text = self.text(node, "64 hexadecimal digits", _SHA256)
        return text.lower() if text else None

    def _source(self, node: Node) -> str | None:
        text = self.text(node, "a path, file://, https:// or ngc:// URL")
        if text is None:
            return None
        expected = problem_of(text)
        if expected is not None:
            self.problems.expected(node, expected)
        member = member_of(text)
        inner = member.archive if member else text
        return text if scheme_of(inner) is not None else str(self.place(text))

    def _key(self, node: Node) -> Key | None:
        if node.kind == "scalar" and node.text:
            return Key(literal=node.text)
        if node.kind == "mapping" and len(node.entries) == 1 and set(node.entries) <= {"env", "file"}:
            ((kind, value),) = node.entries.items()
            text = self.text(value, "the name of a variable" if kind == "env" else "the path of a file")
            if text is None:
                return None
            return Key(env=text) if kind == "env" else Key(file=self.place(text))
        # The value may be a secret, so it is not repeated.
        self.problems.add(node, "expected the key, {env: NAME} or {file: PATH}")
        return None
