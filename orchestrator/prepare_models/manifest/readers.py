"""Reading settings from a manifest, each by the row that describes it. Problems are recorded at their nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from prepare_models_entrypoint.contract import kinds
from prepare_models_entrypoint.contract.settings import REQUIRED, Nested, Record, Setting, keys, rows
from prepare_models_entrypoint.contract.shapes import Dims, Shape, ShapeRange, Shapes
from prepare_models_entrypoint.contract.source import Source, ngc_advice

from .nodes import Node, Problems, odd_text

R = TypeVar("R", bound=Record)

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # in bytes, as Linux has them


class Reader:
    """Reads values of a manifest in ``directory``. An invalid one is None, and a problem is recorded."""

    def __init__(self, directory: Path, problems: Problems) -> None:
        self.directory = directory
        self.problems = problems

    def place(self, text: str) -> Path:
        """Return a path of the manifest: relative to it, or below a known home directory."""
        return self.directory / os.path.expanduser(text)  # which leaves unknown users as they are

    def is_a(self, node: Node, kind: str, expected: str) -> bool:
        """Return whether a node is of a kind; record a problem if it isn't."""
        if node.kind != kind:
            self.problems.expected(node, expected)
        return node.kind == kind

    def value(self, kind: kinds.Kind, node: Node) -> Any:
        """Return the value of a setting."""
        match kind:
            case kinds.ListOf():
                return self._items(kind, node)
            case kinds.ByName():
                return self._by_name(kind, node)
            case Shapes():
                return self._shapes(node)
            case Nested():  # after Shapes, which is one
                return self.record(kind.record, node, expected=kind.expected)
            case kinds.Interval():
                return self._interval(kind, node)
        value = self._scalar(kind, node)
        if value is None or not isinstance(kind, kinds.File | kinds.SourceText):
            return value
        return self.path(value, node) if isinstance(kind, kinds.File) else self._source(value, node)

    def path(self, text: str, node: Node) -> str:
        """Return a path of the manifest; record a problem if no file can have it."""
        path = str(self.place(text))
        if self.problems.has(node):
            return path
        encoded = path.encode("utf-8", "surrogateescape")  # whatever encoding this process has for files
        if max(map(len, encoded.split(b"/"))) > _LONGEST_NAME or len(encoded) > _LONGEST_PATH:
            most = f"a name has at most {_LONGEST_NAME} bytes, a path {_LONGEST_PATH}"
            self.problems.add(node, f"no file has a path this long: {most}")
        return path

    def is_text(self, node: Node) -> bool:
        """Return whether a value is what files and programs take as a name; record a problem if it isn't."""
        problem = odd_text(node.text or "")
        if problem is not None:
            self.problems.add(node, problem)
        return problem is None

    def _scalar(self, kind: kinds.Kind, node: Node) -> Any:
        if not self.is_text(node):
            return None
        try:
            if node.kind == "scalar" and node.text:
                return kind.parse(node.text)
            if isinstance(kind, Dims) and node.kind == "list" and node.items:
                return kind.parse("x".join(each.text or "?" for each in node.items))
        except ValueError as error:
            self.problems.expected(node, str(error), meant=kind.meant(node.text or ""))
        else:
            self.problems.expected(node, kind.expected)
        return None

    def _source(self, text: str, node: Node) -> str:
        source, advice = Source.of(text), ngc_advice(text)
        if source.problem is not None:
            self.problems.expected(node, source.problem)
        elif advice is not None and source.scheme is None and not self.place(text).exists():
            self.problems.expected(node, f"ngc:// before a name on NGC: {advice}")
        return text if source.outer.scheme is not None else self.path(text, node)

    def _items(self, kind: kinds.ListOf, node: Node) -> tuple[object, ...] | None:
        if isinstance(kind, kinds.WordsOrList) and node.kind == "scalar":
            word = self._scalar(kind.word, node)
            return None if word is None else (word,)
        if isinstance(kind, kinds.OneOrMore) and (node.kind == "scalar" or not node.items):
            value = self._scalar(kind.item, node)
            return None if value is None else (value,)
        if not self.is_a(node, "list", kind.expected):
            return None
        found = [self.value(kind.item, item) for item in node.items]
        return tuple(value for value in found if value is not None)

    def _by_name(self, kind: kinds.ByName, node: Node) -> dict[str, object] | None:
        of_shapes = isinstance(kind.item, Shapes)
        named = ", such as {NAME: 1x3x48x192}" if of_shapes and node.kind != "mapping" else ""
        if not self.is_a(node, "mapping", kind.expected + named):
            return None
        empty = [name for name, entry in node.entries.items() if entry.kind == "scalar" and entry.text is None]
        if of_shapes and any(map(str.isdigit, empty)):  # {x: 1,3,48,192}
            self.problems.add(node, "a comma ends an entry here; write shapes such as 1x3x48x192 or [1, 3, 48, 192]")
            return None
        found = {name: self.value(kind.item, entry) for name, entry in node.entries.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _shapes(self, node: Node) -> ShapeRange | None:
        if "values" not in node.entries:
            return self._bounds(node, lambda each: self._scalar(Shape(), each), values=False)
        self.problems.check_keys(node, ("values",))
        return self._bounds(
            node.entries["values"], lambda each: self._items(kinds.OneOrMore(kinds.Whole()), each), values=True
        )

    def _bounds(self, node: Node, read: Callable[[Node], Any], *, values: bool) -> ShapeRange | None:
        if node.kind != "mapping":
            same = read(node)
            return None if same is None else ShapeRange(min=same, opt=same, max=same, values=values)
        ends = ("min", "opt", "max")
        self.problems.check_keys(node, ends, required=ends)
        found_ends = [read(node.entries[end]) for end in ends if end in node.entries]
        if len(found_ends) != len(ends) or None in found_ends:
            return None
        low, mid, high = found_ends
        found = ShapeRange(min=low, opt=mid, max=high, values=values)
        problem = found.problem()
        if problem:
            self.problems.add(node, problem)
        return found

    def _interval(self, kind: kinds.Interval, node: Node) -> tuple[float, float] | None:
        ends = self._items(kinds.ListOf(kinds.Number(), "a list of numbers"), node)
        if ends is None or len(ends) != 2 or not ends[0] < ends[1]:  # type: ignore[operator]  # they are numbers
            self.problems.add(node, f"expected {kind.expected}")
            return None
        return ends  # type: ignore[return-value]  # two of them

    def record(self, record: type[R], *layers: Node, expected: str = "") -> R | None:
        """Return a group of settings; later layers win key by key."""
        values: dict[str, Any] = {}
        for node in layers:
            if self.is_a(node, "mapping", expected or Nested(record).expected):
                values |= self.settings(rows(record), node, keys(record))
                given = [name for name in record.EXCLUSIVE if name in node.entries]
                if len(given) > 1:
                    *others, last = record.EXCLUSIVE
                    choice = f"{', '.join(f'{name}:' for name in others)} and {last}:"
                    self.problems.add(node, f"give one of {choice}, not {' and '.join(given)}")
        missing = [row for row in rows(record) if row.default is REQUIRED and row.name not in values]
        return None if missing or not any(node.kind == "mapping" for node in layers) else record(**values)

    def settings(self, some: Iterable[Setting], node: Node, known: Iterable[str]) -> dict[str, Any]:
        """Return the values of a mapping by the names of their settings, without invalid ones."""
        some = list(some)
        required = [row.key for row in some if row.default is REQUIRED]
        self.problems.check_keys(node, known, required=required)
        values: dict[str, Any] = {}
        groups: dict[str, list[Setting]] = {}
        for row in some:
            if row.inline and isinstance(row.kind, Nested):
                own = {key: entry for key, entry in node.entries.items() if key in keys(row.kind.record)}
                inner = Node("mapping", node.line, node.path, entries=own)
                values[row.name] = self.record(row.kind.record, inner) if own else None
            elif row.group:
                groups.setdefault(row.group, []).append(row._replace(group=""))
            elif row.key in node.entries:
                values[row.name] = self.value(row.kind, node.entries[row.key])
        for group, inside in groups.items():
            names = [row.key for row in inside]
            entry = node.entries.get(group)
            if entry is not None and self.is_a(entry, "mapping", f"a mapping of {', '.join(names)}"):
                values |= self.settings(inside, entry, names)
        return {name: value for name, value in values.items() if value is not None}
