"""Readers of single values: each returns the value, or None and a problem noted at the node."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.shapes import ShapeRange

from .nodes import Node, Problems

_SHAPE = re.compile(r"[0-9]+(?:x[0-9]+)*")
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) *(?P<unit>[KMG]i?B)")
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_INTEGER = re.compile("[0-9]{1,9}")


class Readers:
    """Reads values of a manifest that lies in ``directory``."""

    def __init__(self, directory: Path, problems: Problems) -> None:
        self.directory = directory
        self.problems = problems

    def place(self, text: str) -> Path:
        """Return a path of the manifest: relative to it, or below a home directory that is known."""
        return self.directory / os.path.expanduser(text)  # which leaves a user as is whom nobody knows

    def kind(self, node: Node, kind: str, expected: str) -> bool:
        """Note a problem unless a node is of a kind, and tell whether it is."""
        if node.kind != kind:
            self.problems.expected(node, expected)
        return node.kind == kind

    def text(self, node: Node, what: str, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return the text of a scalar that fits a pattern."""
        fits = node.kind == "scalar" and node.text and (pattern is None or pattern.fullmatch(node.text))
        if not fits:
            self.problems.expected(node, what)
            return None
        return node.text

    def one_of(self, node: Node, allowed: Sequence[str]) -> str | None:
        """Return a text out of an enumeration."""
        return self.text(node, f"one of {', '.join(allowed)}", re.compile("|".join(map(re.escape, allowed))))

    def inputs(self, node: Node) -> dict[str, ShapeRange] | None:
        """Return shapes by input name."""
        if not self.kind(node, "mapping", "input names with their shapes"):
            return None
        ranges = {name: self.range(value) for name, value in node.entries.items()}
        return {name: shapes for name, shapes in ranges.items() if shapes is not None}

    def range(self, node: Node) -> ShapeRange | None:
        """Return a shape, or min, opt and max."""
        if node.kind != "mapping":
            shape = self.shape(node)
            return None if shape is None else ShapeRange(shape, shape, shape)
        self.problems.check_keys(node, ("min", "opt", "max"), required=("min", "opt", "max"))
        shapes = [self.shape(node.entries[key]) for key in ("min", "opt", "max") if key in node.entries]
        if len(shapes) != 3 or None in shapes:
            return None
        found = ShapeRange(*(shape for shape in shapes if shape is not None))
        problem = found.problem()
        if problem:
            self.problems.add(node, problem)
        return found

    def shape(self, node: Node) -> tuple[int, ...] | None:
        """Return dimensions."""
        text = self.text(node, "a shape such as 1x3x544x960, or {min:, opt:, max:}", _SHAPE)
        if text is None:
            return None
        dims = tuple(int(size) for size in text.split("x"))
        if 0 in dims:
            self.problems.expected(node, "dimensions of at least 1")
            return None
        return dims

    def outputs(self, node: Node) -> tuple[str, ...] | None:
        """Return a list of tensor names."""
        if not self.kind(node, "list", "a list of output names"):
            return None
        names = [self.text(item, "the name of an output") for item in node.items]
        return tuple(name for name in names if name is not None)

    def size(self, node: Node) -> int | None:
        """Return a size in bytes."""
        text = self.text(node, "a size with its unit, such as 512MiB or 2GiB", _SIZE)
        match = _SIZE.fullmatch(text or "")
        return int(float(match["number"]) * _UNITS[match["unit"]]) if match else None

    def flag(self, node: Node) -> bool | None:
        """Return true or false."""
        text = self.text(node, "true or false", re.compile("true|True|TRUE|false|False|FALSE"))
        return None if text is None else text.lower() == "true"

    def integer(self, node: Node, what: str, low: int, high: int = 10**9) -> int | None:
        """Return a whole number within bounds."""
        text = self.text(node, what, _INTEGER)
        if text is None:
            return None
        if not low <= int(text) <= high:
            self.problems.expected(node, what)
            return None
        return int(text)

    def number(self, node: Node) -> float | None:
        """Return a number."""
        text = self.text(node, "a number", re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]+)?"))
        return None if text is None else float(text)

    def texts(self, node: Node, what: str) -> tuple[str, ...] | None:
        """Return a list of texts."""
        if not self.kind(node, "list", f"a list of {what}"):
            return None
        found = [self.text(item, what) for item in node.items]
        return tuple(text for text in found if text is not None)
