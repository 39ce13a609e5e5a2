"""Readers of single values: each returns the value, or None and a problem noted at the node."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.job import ShapeRange

from .nodes import Node, Problems

_SHAPE = re.compile(r"[0-9]{1,18}(?:x[0-9]{1,18})*")
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) *(?P<unit>[KMG]i?B)")
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_INTEGER = re.compile("[0-9]{1,9}")
_WHOLE = re.compile("-?[0-9]{1,18}")
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_CONSTANT = re.compile(f"{_NUMBER}|true|True|TRUE|false|False|FALSE")


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
        """Return a shape, or min, opt and max; under ``values:`` those of a shape tensor's numbers."""
        if "values" not in node.entries:
            return self._bounds(node, self.shape, values=False)
        self.problems.check_keys(node, ("values",))
        return self._bounds(node.entries["values"], self.whole_numbers, values=True)

    def _bounds(self, node: Node, read: Callable[[Node], tuple[int, ...] | None], *, values: bool) -> ShapeRange | None:
        if node.kind != "mapping":
            same = read(node)
            return None if same is None else ShapeRange(same, same, same, values=values)
        self.problems.check_keys(node, ("min", "opt", "max"), required=("min", "opt", "max"))
        bounds = [read(node.entries[key]) for key in ("min", "opt", "max") if key in node.entries]
        complete = [bound for bound in bounds if bound is not None]
        if len(complete) != 3:
            return None
        low, mid, high = complete
        found = ShapeRange(low, mid, high, values=values)
        problem = found.problem()
        if problem:
            self.problems.add(node, problem)
        return found

    def whole_numbers(self, node: Node) -> tuple[int, ...] | None:
        """Return a whole number, or a list of them, as the values of a tensor."""
        texts = self._one_or_more(node, "a whole number, or a list of them", _WHOLE)
        return None if texts is None else tuple(int(text) for text in texts)

    def shape(self, node: Node) -> tuple[int, ...] | None:
        """Return dimensions."""
        text = self.text(node, "a shape such as 1x3x544x960, or {min:, opt:, max:}", _SHAPE)
        if text is None:
            return None
        return tuple(int(size) for size in text.split("x"))

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

    def constant(self, node: Node) -> tuple[float, ...] | None:
        """Return the values of a tensor: a number, true or false, or a list of them. Whole numbers stay whole."""
        texts = self._one_or_more(node, "a number, true or false, or a list of them", _CONSTANT)
        return None if texts is None else tuple(_number(text) for text in texts)

    def _one_or_more(self, node: Node, what: str, pattern: re.Pattern[str]) -> list[str] | None:
        if node.kind == "list" and not node.items:
            self.problems.expected(node, what)
            return None
        items = node.items if node.kind == "list" else [node]
        texts = [text for item in items if (text := self.text(item, what, pattern)) is not None]
        return texts if len(texts) == len(items) else None

    def texts(self, node: Node, what: str) -> tuple[str, ...] | None:
        """Return a list of texts."""
        if not self.kind(node, "list", f"a list of {what}"):
            return None
        found = [self.text(item, what) for item in node.items]
        return tuple(text for text in found if text is not None)


def _number(text: str) -> float:
    if text.lower() in ("true", "false"):
        return int(text.lower() == "true")
    return int(text) if _WHOLE.fullmatch(text) else float(text)
