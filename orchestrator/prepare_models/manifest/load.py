"""Reading ``models.yaml``: strict, and with every problem told at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prepare_models_entrypoint.contract import CONVERTERS, PRECISIONS, BuilderConfig, ShapeRange
from prepare_models_entrypoint.contract.source import NGC_EXAMPLE, SCHEMES, ngc_parts, scheme_of

from .model import Key, Manifest, ModelSpec
from .nodes import Node, Problems, parse

T = TypeVar("T")

TOP_KEYS = ("version", "defaults", "models")
DEFAULT_KEYS = ("precision", "key", "builder", "converter")
MODEL_KEYS = (
    "name", "source", "sha256", "precision", "key", "calibration_cache", "inputs", "outputs", "builder", "converter",
)  # fmt: skip
BUILDER_KEYS = ("workspace", "optimization_level", "tf32")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SHAPE = re.compile(r"[0-9]+(?:x[0-9]+)*")
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) *(?P<unit>[KMG]i?B)")
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
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
    models = _Loader(file, problems).manifest(root)
    problems.raise_if_any()
    return Manifest(file, models)


class _Loader:
    def __init__(self, file: Path, problems: Problems) -> None:
        self.directory = file.absolute().parent
        self.problems = problems

    def manifest(self, root: Node) -> tuple[ModelSpec, ...]:
        if root.kind != "mapping":
            self.problems.expected(root, "version: 1 and models:")
            return ()
        self.problems.check_keys(root, TOP_KEYS, required=("version", "models"))
        version = root.entries.get("version")
        if version is not None and version.text != "1":
            self.problems.expected(version, "1, the version that this tool reads")
        defaults = root.entries.get("defaults", Node("mapping", root.line, "defaults"))
        if self._kind(defaults, "mapping", "a mapping"):
            self.problems.check_keys(defaults, DEFAULT_KEYS)
        models = root.entries.get("models")
        if models is None or not self._kind(models, "list", "a list of models"):
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
        if not self._kind(node, "mapping", "a model with name: and source:"):
            return None
        before = len(self.problems.found)
        self.problems.check_keys(node, MODEL_KEYS, required=("name", "source"))
        entries = {**defaults, **node.entries}

        def read(key: str, reader: Callable[[Node], T | None], default: T) -> T:
            value = reader(entries[key]) if key in entries else None
            return default if value is None else value

        spec = ModelSpec(
            name=read("name", self._name, ""),
            source=read("source", self._source, ""),
            line=node.line,
            sha256=read("sha256", self._sha256, None),
            precision=read("precision", lambda n: self._one_of(n, PRECISIONS), "fp32"),
            key=read("key", self._key, None),
            calibration_cache=read("calibration_cache", self._source, None),
            inputs=read("inputs", self._inputs, {}),
            outputs=read("outputs", self._outputs, ()),
            builder=self._builder(defaults.get("builder"), node.entries.get("builder")),
            converter=read("converter", lambda n: self._one_of(n, CONVERTERS), "auto"),
        )
        if len(self.problems.found) == before:
            self._check_together(node, spec)
        return spec

    def _check_together(self, node: Node, spec: ModelSpec) -> None:
        source = node.entries["source"]
        suffix = Path(spec.source.partition("?")[0]).suffix.lower()
        if suffix in _OTHER_FORMATS:
            self.problems.add(source, f"a {suffix} file can't be converted: {_OTHER_FORMATS[suffix]}")
        if scheme_of(spec.source) == "http" and spec.sha256 is None:
            self.problems.add(source, "an http:// source needs sha256:, as anybody on the way may change its bytes")
        if scheme_of(spec.calibration_cache or "") == "http":
            cache = node.entries["calibration_cache"]
            self.problems.add(cache, "anybody on the way may change the bytes of an http:// source; use https://")

    def _kind(self, node: Node, kind: str, expected: str) -> bool:
        if node.kind != kind:
            self.problems.expected(node, expected)
        return node.kind == kind

    def _text(self, node: Node, what: str, pattern: re.Pattern[str] | None = None) -> str | None:
        fits = node.kind == "scalar" and node.text and (pattern is None or pattern.fullmatch(node.text))
        if not fits:
            self.problems.expected(node, what)
            return None
        return node.text

    def _name(self, node: Node) -> str | None:
        if node.text == "report.json":
            self.problems.add(node, "the name report.json is that of the run's own report")
        return self._text(node, "a name of a-z, 0-9, '.', '_' and '-' that starts with a letter or digit", _NAME)

    def _sha256(self, node: Node) -> str | None:
        text = self._text(node, "64 hexadecimal digits", _SHA256)
        return text.lower() if text else None

    def _one_of(self, node: Node, allowed: Sequence[str]) -> str | None:
        return self._text(node, f"one of {', '.join(allowed)}", re.compile("|".join(map(re.escape, allowed))))

    def _source(self, node: Node) -> str | None:
        text = self._text(node, "a path, file://, https:// or ngc:// URL")
        if text is None:
            return None
        scheme = scheme_of(text)
        if scheme is None:
            return str(self.directory / Path(text).expanduser())
        if scheme not in SCHEMES:
            self.problems.expected(node, "a path, file://, https:// or ngc:// URL")
        elif scheme == "ngc" and ngc_parts(text) is None:
            self.problems.expected(node, f"ngc://org[/team]/model:version/file, such as {NGC_EXAMPLE}")
        elif scheme == "file" and not text.startswith("file:///"):
            self.problems.expected(node, "file:/// and an absolute path")
        return text

    def _key(self, node: Node) -> Key | None:
        if node.kind == "scalar" and node.text:
            return Key(literal=node.text)
        if node.kind == "mapping" and len(node.entries) == 1 and set(node.entries) <= {"env", "file"}:
            ((kind, value),) = node.entries.items()
            text = self._text(value, "the name of a variable" if kind == "env" else "the path of a file")
            if text is None:
                return None
            return Key(env=text) if kind == "env" else Key(file=self.directory / os.path.expanduser(text))
        # The value may be a secret, so it is not repeated.
        self.problems.add(node, "expected the key, {env: NAME} or {file: PATH}")
        return None

    def _inputs(self, node: Node) -> dict[str, ShapeRange] | None:
        if not self._kind(node, "mapping", "input names with their shapes"):
            return None
        ranges = {name: self._range(value) for name, value in node.entries.items()}
        return {name: shapes for name, shapes in ranges.items() if shapes is not None}

    def _range(self, node: Node) -> ShapeRange | None:
        if node.kind != "mapping":
            shape = self._shape(node)
            return None if shape is None else ShapeRange(shape, shape, shape)
        self.problems.check_keys(node, ("min", "opt", "max"), required=("min", "opt", "max"))
        shapes = [self._shape(node.entries[key]) for key in ("min", "opt", "max") if key in node.entries]
        if len(shapes) != 3 or None in shapes:
            return None
        found = ShapeRange(*(shape for shape in shapes if shape is not None))
        problem = found.problem()
        if problem:
            self.problems.add(node, problem)
        return found

    def _shape(self, node: Node) -> tuple[int, ...] | None:
        text = self._text(node, "a shape such as 1x3x544x960, or {min:, opt:, max:}", _SHAPE)
        if text is None:
            return None
        dims = tuple(int(size) for size in text.split("x"))
        if 0 in dims:
            self.problems.expected(node, "dimensions of at least 1")
            return None
        return dims

    def _outputs(self, node: Node) -> tuple[str, ...] | None:
        if not self._kind(node, "list", "a list of output names"):
            return None
        names = [self._text(item, "the name of an output") for item in node.items]
        return tuple(name for name in names if name is not None)

    def _builder(self, *layers: Node | None) -> BuilderConfig:
        options: dict[str, Any] = {}
        for node in layers:
            if node is None or not self._kind(node, "mapping", "builder options"):
                continue
            self.problems.check_keys(node, BUILDER_KEYS)
            readers = {
                "workspace": ("workspace_bytes", self._size),
                "optimization_level": ("optimization_level", self._level),
                "tf32": ("tf32", self._flag),
            }
            options.update(
                {readers[key][0]: readers[key][1](value) for key, value in node.entries.items() if key in readers}
            )
        return BuilderConfig(**options)

    def _size(self, node: Node) -> int | None:
        text = self._text(node, "a size with its unit, such as 512MiB or 2GiB", _SIZE)
        match = _SIZE.fullmatch(text or "")
        return int(float(match["number"]) * _UNITS[match["unit"]]) if match else None

    def _level(self, node: Node) -> int | None:
        text = self._text(node, "a level from 0 (quick) to 5 (thorough)", re.compile("[0-5]"))
        return int(text) if text else None

    def _flag(self, node: Node) -> bool | None:
        text = self._text(node, "true or false", re.compile("true|True|TRUE|false|False|FALSE"))
        return None if text is None else text.lower() == "true"
