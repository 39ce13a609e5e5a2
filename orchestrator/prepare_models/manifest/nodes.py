"""YAML with line numbers: a tree of nodes that know where they are, and a list of the problems found in them."""

from __future__ import annotations

import difflib
import errno
import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from prepare_models_entrypoint.contract import other_formats
from prepare_models_entrypoint.contract.files import read_small

from ..errors import ManifestError, Problem, UsageError

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Far beyond any manifest; a few lines of aliases to aliases stand for more than memory holds.
_MAX_NODES = 100_000
_MAX_DEPTH = 20
_MAX_BYTES = 16 << 20
_MAX_SHOWN = 80
_TOO_MUCH = "holds too many or too deeply nested values for a manifest"
# $${VAR} stays ${VAR}; ${VAR} and ${VAR:-default} are replaced.
_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


@dataclass
class Node:
    """A value of the file. Exactly one of text (None for an empty value), entries and items is set, by ``kind``."""

    kind: str
    line: int
    path: str
    text: str | None = None
    quoted: bool = False
    entries: dict[str, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)

    def describe(self) -> str:
        """Say what was found, for an error message."""
        if self.kind == "scalar":
            return "nothing" if self.text is None else _shown(self.text)
        return {"mapping": "a mapping", "list": "a list" if self.items else "an empty list"}[self.kind]


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def node_of(value: object, line: int, path: str) -> Node:
    """Return a plain value as if it stood in the file at a line."""
    if isinstance(value, dict):
        entries = {key: node_of(item, line, f"{path}.{key}") for key, item in value.items()}
        return Node("mapping", line, path, entries=entries)
    if isinstance(value, list):
        return Node("list", line, path, items=[node_of(item, line, path) for item in value])
    return Node("scalar", line, path, text=str(value))


class Problems:
    """Collects what is wrong, so that the user sees all of it at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, node: Node, message: str) -> None:
        """Note a problem at a node."""
        problem = Problem(node.line, node.path, message)
        if problem not in self.found:  # defaults are read once for each model
            self.found.append(problem)

    def expected(self, node: Node, what: str, meant: str | None = None) -> None:
        """Note that something else was expected at a node. ``meant``: what was probably meant."""
        self.add(node, f"expected {what}, found {node.describe()}" + (f"; did you mean {meant}?" if meant else ""))

    def raise_if_any(self) -> None:
        """Raise all problems, in the order of their lines."""
        if self.found:
            raise ManifestError(self.file, sorted(self.found, key=lambda problem: problem.line))

    def check_keys(self, node: Node, allowed: Iterable[str], required: Iterable[str] = ()) -> None:
        """Note unknown keys, with the nearest known one, and missing keys."""
        known = list(allowed)
        for key, value in node.entries.items():
            if key not in known:
                nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                meant = f"did you mean {nearest[0]!r}?" if nearest else f"known keys: {', '.join(known)}"
                self.add(value, f"unknown key {key!r}; {meant}")
        for key in required:
            if key not in node.entries:
                self.add(node, f"key {key!r} is missing")


def parse(text: str, problems: Problems) -> Node:
    """Return the nodes of a YAML text.

    Raises:
        ManifestError: it is not YAML, or has a duplicate key.
    """
    file = problems.file
    try:
        _check_depth(file, text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ManifestError(file, [_malformed(text, error)]) from None
    if root is None:
        raise ManifestError(file, [Problem(1, "", "is empty; expected version: 1 and models:")])
    return _Reader(problems).read(root, "")


def _malformed(text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line = mark.line if mark else 0
    for number, found in enumerate(text.splitlines()[: line + 1]):
        if "\t" in found[: len(found) - len(found.lstrip())]:
            return Problem(
                number + 1, "", "a tab indents this line, and YAML takes spaces only: replace it with spaces"
            )
    what = " ".join(str(getattr(error, "problem", None) or error).split())
    return Problem(line + 1, "", f"is not YAML: {what}")


def read(file: Path) -> str:
    """Return a manifest's text; a model in its place is not read to its end.

    Raises:
        UsageError: there is no such file, or it is a directory.
        ManifestError: it can't be read.
    """
    try:
        return read_small(file, largest=_MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        hint = (
            f"write one with prepare-models init -o {shlex.quote(str(file))}, or convert a single model without one: "
        )
        raise UsageError(f"{file} doesn't exist", hint=f"{hint}prepare-models convert MODEL") from None
    except IsADirectoryError:
        raise UsageError(f"{file} is a directory, not a manifest", hint="give the path of a models.yaml") from None
    except OSError as error:
        what = f"can't be read: {error.strerror}"
        if error.errno == errno.EFBIG:
            what = f"is larger than {_MAX_BYTES >> 20} MiB, so it is not a manifest"
        raise ManifestError(file, [Problem(1, "", what)]) from None
    except UnicodeDecodeError as error:
        known = other_formats.kind(file)
        if known is not None:
            raise UsageError(f"{file} is {known[0]}, not a manifest", hint=known[1]) from None
        raise ManifestError(file, [Problem(1, "", f"is not UTF-8: {error.reason} at byte {error.start}")]) from None


def _check_depth(file: Path, text: str) -> None:
    """Refuse what would overflow the stack of the composer, which calls itself for each level."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            mark = event.start_mark
            raise ManifestError(file, [Problem(mark.line + 1 if mark else 1, "", _TOO_MUCH)])


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._open: set[int] = set()
        self._count = 0

    def read(self, raw: yaml.Node, path: str) -> Node:
        line = raw.start_mark.line + 1
        self._count += 1
        if self._count > _MAX_NODES or len(self._open) > _MAX_DEPTH:
            raise ManifestError(self._problems.file, [Problem(line, "", _TOO_MUCH)])
        if id(raw) in self._open:
            return self._refuse(Node("scalar", line, path), "an alias refers to a value that holds it")
        self._open.add(id(raw))
        try:
            if isinstance(raw, yaml.MappingNode):
                return self._mapping(raw, Node("mapping", line, path))
            if isinstance(raw, yaml.ScalarNode):
                return self._scalar(raw, Node("scalar", line, path))
            items = [self.read(item, f"{path}[{index}]") for index, item in enumerate(raw.value)]
            return Node("list", line, path, items=items)
        finally:
            self._open.discard(id(raw))

    def _mapping(self, raw: yaml.MappingNode, node: Node) -> Node:
        for key, value in raw.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(node, "keys must be plain text")
                continue
            child = self.read(value, f"{node.path}.{key.value}" if node.path else key.value)
            child.line = key.start_mark.line + 1
            if key.value in node.entries:
                self._refuse(child, f"key {key.value!r} is given twice")
            node.entries[key.value] = child
        return node

    def _scalar(self, raw: yaml.ScalarNode, node: Node) -> Node:
        node.quoted = raw.style in ("'", '"')
        if raw.tag == "tag:yaml.org,2002:null" and not node.quoted:
            return node
        try:
            node.text = substitute(raw.value)
        except KeyError as error:
            self._refuse(
                node, f"environment variable {error.args[0]} is not set; ${{{error.args[0]}:-default}} gives a default"
            )
            node.text = raw.value
        return node

    def _refuse(self, node: Node, message: str) -> Node:
        self._problems.add(node, message)
        return node


def substitute(text: str) -> str:
    """Replace ``${VAR}`` and ``${VAR:-default}`` (default also for an empty variable) from the environment.

    Raises:
        KeyError: a variable without a default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.group("name"), match.group("default")
        if name is None:
            return "${"
        if default is None:
            return os.environ[name]
        return os.environ.get(name) or default

    return _VARIABLE.sub(value, text) if "${" in text else text
