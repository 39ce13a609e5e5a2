"""Reading a ROS 2 parameter file: which of its sections are for TensorRTNode and TritonNode."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

from ...errors import InspectError
from .releases import TENSOR_RT, TRITON, Release

Values = Dict[str, Any]

_KEY = "ros__parameters"
# Parameters that only one of the nodes has, which identify a section of any name.
_TELLING = {
    TENSOR_RT: ("engine_file_path", "force_engine_update", "max_workspace_size"),
    TRITON: ("model_repository_paths", "model_name", "num_concurrent_requests"),
}


class ParametersError(ValueError):
    """ROS 2 would refuse the file; the message says why."""


def read(text: str, release: Release) -> Dict[str, Values]:
    """Return the parameters of those of the two nodes that the file has, by ``tensor_rt`` and ``triton``.

    A section belongs to a node if it has one of the node's usual names, with or without namespace or leading slash, or
    one of its own parameters. Sections with wildcards belong to both nodes; later ones win.

    Raises:
        ParametersError: ROS 2 would refuse it.
        InspectError: PyYAML is missing.
    """
    sections = list(_sections(_document(text), ""))
    nodes: Dict[str, Values] = {}
    for name, values in sections:
        for node in _nodes(name, values, release):
            nodes.setdefault(node, {})
    for name, values in sections:
        for node in nodes if "*" in name else _nodes(name, values, release):
            if _concerns(node, name, values, release):
                nodes[node].update(values)
    return nodes


def _document(text: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise InspectError("module-missing", "linting needs the module yaml", hint="pip install pyyaml") from error
    try:
        aliased = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader))
        document = None if aliased else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParametersError(f"it is not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, RecursionError) as error:  # numbers and dates that Python can't represent, and endless nesting
        raise ParametersError(f"it is not YAML: {error}") from error
    if aliased:
        raise ParametersError("it has aliases, which ROS 2 does not take")
    if not isinstance(document, dict):
        raise ParametersError("it has no sections of nodes")
    return document


def _sections(document: Mapping[str, Any], above: str) -> Iterator[Tuple[str, Values]]:
    """Yield each node's full name and its parameters; nested keys are namespaces, nested parameters have dots."""
    for key, value in document.items():
        name = f"{above}/{str(key).strip('/')}"
        if not isinstance(value, dict):
            raise ParametersError(f"{name} holds no {_KEY}")
        if _KEY not in value:
            yield from _sections(value, name)
        elif isinstance(value[_KEY], dict):
            yield name, dict(_flat(value[_KEY], ""))
        else:
            raise ParametersError(f"{_KEY} of {name} holds no parameters")


def _flat(values: Mapping[Any, Any], above: str) -> Iterator[Tuple[str, Any]]:
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _nodes(name: str, values: Values, release: Release) -> List[str]:
    """Return the nodes that a section belongs to by its name, or by parameters that no other node has."""
    last = name.rsplit("/", 1)[-1]
    named = [node for node, declared in release.nodes.items() if last in declared.names]
    return named or [node for node, telling in _TELLING.items() if any(key in values for key in telling)]


def _concerns(node: str, name: str, values: Values, release: Release) -> bool:
    """Return whether a section is meant for a node: one with wildcards may be for any node in the graph."""
    if "*" not in name:
        return True
    nodes = _nodes(name, values, release)
    known = {*release.nodes[node].parameters, *release.every_node}
    return node in nodes if nodes else known.issuperset(values)
