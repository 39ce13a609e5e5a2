"""YAML with line numbers: a tree of nodes that know their place, and a list of problems found in them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from prepare_models_entrypoint.contract import other_formats
from prepare_models_entrypoint.contract.files import TOO_LARGE, read_small
from prepare_models_entrypoint.contract.spelling import near

from ..errors import ManifestError, Problem, UsageError
from .variables import VariableError, substitute

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Far beyond any manifest; a few lines of aliases to aliases could expand beyond all memory.
_MAX_NODES = 100_000
_MAX_DEPTH = 20
_MAX_BYTES = 16 << 20
_MAX_SHOWN = 80
EXTENSION = "x-"  # prefix of the user's own keys, such as anchors to merge
_LOOP = "an alias refers to a value that holds it"
_TOO_MUCH = "holds too many or too deeply nested values for a manifest"
_YAML = "tag:yaml.org,2002:"
_MERGE = f"{_YAML}merge"  # tag of a plain <<
# Types that a plain value resolves to, or may be tagged with; every value is still read as text.
_TAGS = {_YAML + kind for kind in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value", "map", "seq")}
# Keys from other tools, each with its name here.
_MEANT = {
    **dict.fromkeys(("url", "uri", "path", "file", "model", "onnx_file", "src"), "source"),
    **dict.fromkeys(("dtype", "fp16", "int8", "mode"), "precision"),
    **dict.fromkeys(("shape", "shapes", "input_shapes", "dims"), "inputs"),
    **dict.fromkeys(("checksum", "digest", "hash", "md5"), "sha256"),
    **dict.fromkeys(("workspace_size", "max_workspace_size", "memory"), "workspace"),
}


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
        """Return what was found, for an error message."""
        if self.kind == "scalar":
            return "nothing" if self.text is None else _shown(self.text)
        return {"mapping": "a mapping", "list": "a list" if self.items else "an empty list"}[self.kind]


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def odd_text(text: str) -> str | None:
    """Return why a text can't be the name of anything, without quoting it, or None."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "a value is not UTF-8 once its variables are replaced"
    return "a value contains the character NUL, which no name or path can have" if "\0" in text else None


def node_of(value: object, line: int, path: str) -> Node:
    """Return a plain value as if it were in the file at a line. Texts are used as they are."""
    if isinstance(value, Mapping):
        entries = {str(key): node_of(item, line, f"{path}.{key}".lstrip(".")) for key, item in value.items()}
        return Node("mapping", line, path, entries=entries)
    if isinstance(value, list | tuple):
        items = [node_of(item, line, f"{path}[{index}]") for index, item in enumerate(value)]
        return Node("list", line, path, items=items)
    text = str(value).lower() if isinstance(value, bool) else None if value is None else str(value)
    return Node("scalar", line, path, text=text, quoted=isinstance(value, str))


class Problems:
    """Collects what is wrong, so that the user sees all of it at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, node: Node, message: str) -> None:
        """Record a problem at a node."""
        problem = Problem(node.line, node.path, message)
        if problem not in self.found:  # defaults are read once for each model
            self.found.append(problem)

    def has(self, node: Node) -> bool:
        """Return whether there is a problem at a node."""
        return any((each.line, each.path) == (node.line, node.path) for each in self.found)

    def expected(self, node: Node, what: str, meant: str | None = None) -> None:
        """Record that something else was expected at a node. ``meant``: what was probably meant."""
        self.add(node, f"expected {what}, found {node.describe()}" + (f"; did you mean {meant}?" if meant else ""))

    def raise_if_any(self) -> None:
        """Raise all problems, in the order of their lines."""
        if self.found:
            raise ManifestError(self.file, sorted(self.found, key=lambda problem: problem.line))

    def check_keys(self, node: Node, allowed: Iterable[str], required: Iterable[str] = ()) -> None:
        """Record unknown keys, with the nearest known one, and missing keys."""
        known = list(allowed)
        for key, value in node.entries.items():
            if key not in known:
                if key.startswith(EXTENSION):
                    continue
                nearest = [_MEANT[key]] if _MEANT.get(key) in known else near(key, known, 0.5)
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
                number + 1, "", "a tab indents this line, and YAML accepts only spaces: replace it with spaces"
            )
    what = " ".join(str(getattr(error, "problem", None) or error).split())
    return Problem(line + 1, "", f"is not YAML: {what}")


def _missing(file: Path) -> UsageError:
    alone = "convert a single model without one: prepare-models convert MODEL"
    if not file.absolute().parent.is_dir():
        return UsageError(f"{file} doesn't exist, nor does its directory", hint=f"check the path, or {alone}")
    init = f"prepare-models init -o {shlex.quote(str(file))}"
    return UsageError(f"{file} doesn't exist", hint=f"write one with {init}, or {alone}")


def read(file: Path) -> str:
    """Return a manifest's text; if it is a model instead, it is not read completely.

    Raises:
        UsageError: there is no such file, or it is a directory.
        ManifestError: it can't be read.
    """
    try:
        return read_small(file, largest=_MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise _missing(file) from None
    except IsADirectoryError:
        raise UsageError(f"{file} is a directory, not a manifest", hint="give the path of a models.yaml") from None
    except OSError as error:
        what = f"can't be read: {error.strerror}"
        if error.errno == TOO_LARGE:
            what = f"is larger than {_MAX_BYTES >> 20} MiB, so it is not a manifest"
        raise ManifestError(file, [Problem(1, "", what)]) from None
    except UnicodeDecodeError as error:
        known = other_formats.kind(file)
        if known is not None:
            raise UsageError(f"{file} is {known[0]}, not a manifest", hint=known[1]) from None
        raise ManifestError(file, [Problem(1, "", f"is not UTF-8: {error.reason} at byte {error.start}")]) from None


def _check_depth(file: Path, text: str) -> None:
    """Refuse what would overflow the stack of the composer, which is recursive."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            mark = event.start_mark
            raise ManifestError(file, [Problem(mark.line + 1 if mark else 1, "", _TOO_MUCH)])


_Pair = tuple[yaml.ScalarNode, yaml.Node]


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._open: set[int] = set()
        self._count = 0

    def read(self, raw: yaml.Node, path: str) -> Node:
        line = raw.start_mark.line + 1
        if raw.tag not in _TAGS:
            tag = raw.tag.replace(_YAML, "!!")
            what = f"the tag {_shown(tag)} is unknown; the form for a variable is ${{NAME}}"
            return self._refuse(Node("scalar", line, path), what)
        if not self._enter(raw):
            return self._refuse(Node("scalar", line, path), _LOOP)
        try:
            if isinstance(raw, yaml.MappingNode):
                node = Node("mapping", line, path)
                for name, (key, value) in self._pairs(raw, node).items():
                    if path or not name.startswith(EXTENSION):  # the user's own keys count where they are used
                        child = node.entries[name] = self.read(value, f"{path}.{name}" if path else name)
                        child.line = key.start_mark.line + 1
                return node
            if isinstance(raw, yaml.ScalarNode):
                return self._scalar(raw, Node("scalar", line, path))
            items = [self.read(item, f"{path}[{index}]") for index, item in enumerate(raw.value)]
            return Node("list", line, path, items=items)
        finally:
            self._open.discard(id(raw))

    def _enter(self, raw: yaml.Node) -> bool:
        """Record that a value is being read; return False for one that contains itself."""
        copied = len(raw.value) if isinstance(raw, yaml.MappingNode) else 0  # by each << that names it
        self._count += 1 + copied
        if self._count > _MAX_NODES or len(self._open) > _MAX_DEPTH:
            raise ManifestError(self._problems.file, [Problem(raw.start_mark.line + 1, "", _TOO_MUCH)])
        if id(raw) in self._open:
            return False
        self._open.add(id(raw))
        return True

    def _pairs(self, raw: yaml.MappingNode, node: Node) -> dict[str, _Pair]:
        """Return the keys of a mapping with their values; its own override those that ``<<`` merges."""
        own: dict[str, _Pair] = {}
        merged: dict[str, _Pair] = {}
        for key, value in raw.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(node, "keys must be plain text")
            elif key.tag == _MERGE:
                merged = {**self._merged(value, node), **merged}
            else:
                if key.value in own:
                    place = f"{node.path}.{key.value}".lstrip(".")
                    self._refuse(Node("scalar", key.start_mark.line + 1, place), f"key {key.value!r} is given twice")
                own[key.value] = (key, value)
        return {**merged, **own}

    def _merged(self, raw: yaml.Node, node: Node) -> dict[str, _Pair]:
        """Return the keys of what ``<<`` names: a mapping, or several, of which earlier ones win."""
        found: dict[str, _Pair] = {}
        for source in raw.value if isinstance(raw, yaml.SequenceNode) else [raw]:
            if not isinstance(source, yaml.MappingNode):
                self._refuse(Node("scalar", raw.start_mark.line + 1, node.path), "<< takes mappings, such as *base")
            elif not self._enter(source):
                self._refuse(Node("scalar", raw.start_mark.line + 1, node.path), _LOOP)
            else:
                found = {**self._pairs(source, node), **found}
                self._open.discard(id(source))
        return found

    def _scalar(self, raw: yaml.ScalarNode, node: Node) -> Node:
        node.quoted = raw.style in ("'", '"')
        if raw.tag == "tag:yaml.org,2002:null" and not node.quoted:
            return node
        try:
            node.text = substitute(raw.value)
        except VariableError as error:
            self._refuse(node, str(error))
            node.text = raw.value
        return node

    def _refuse(self, node: Node, message: str) -> Node:
        self._problems.add(node, message)
        return node
