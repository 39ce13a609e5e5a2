"""A double of ROS 2's launch packages, which no package registry has: as much as a launch file for one node uses.

Strict: what the real ones would refuse (unknown arguments, a choice that is none) is refused here, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest


class LaunchDescription:
    def __init__(self, initial_entities: list[Any]) -> None:
        self.entities = initial_entities


class DeclareLaunchArgument:
    def __init__(
        self, name: str, *, default_value: str | None = None, choices: list[str] | None = None, description: str = ""
    ) -> None:
        assert choices is None or default_value is None or default_value in choices
        self.name, self.default_value, self.choices, self.description = name, default_value, choices, description


class LaunchContext:
    """What the values of arguments are known by while a launch runs."""

    def __init__(self, **launch_configurations: str) -> None:
        self.launch_configurations = launch_configurations


class LaunchConfiguration:
    def __init__(self, variable_name: str) -> None:
        self.variable_name = variable_name

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self.variable_name]


class OpaqueFunction:
    def __init__(self, *, function: Callable[[LaunchContext], list[Any] | None]) -> None:
        self.execute = function


class PythonLaunchDescriptionSource:
    def __init__(self, launch_file_path: str) -> None:
        self.location = launch_file_path


class IncludeLaunchDescription:
    def __init__(
        self, launch_description_source: PythonLaunchDescriptionSource, *,
        launch_arguments: Iterable[tuple[str, str]] | None = None,
    ) -> None:  # fmt: skip
        self.source, self.launch_arguments = launch_description_source, tuple(launch_arguments or ())


class PythonExpression:
    def __init__(self, expression: list[Any]) -> None:
        self.expression = expression

    def perform(self, value: str) -> bool:
        parts = [value if isinstance(part, LaunchConfiguration) else part for part in self.expression]
        result = eval("".join(parts))
        assert isinstance(result, bool)
        return result


def if_condition(predicate: PythonExpression) -> Callable[[str], bool]:
    return predicate.perform


class ComposableNode:
    def __init__(self, *, package: str, plugin: str, name: str, parameters: list[dict[str, Any]]) -> None:
        self.package, self.plugin, self.name, self.parameters = package, plugin, name, parameters


class ComposableNodeContainer:
    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        package: str,
        executable: str,
        composable_node_descriptions: list[ComposableNode],
        condition: Callable[[str], bool],
        output: str,
    ) -> None:
        assert output in ("screen", "log", "both", "own_log", "full")
        self.name, self.namespace, self.package, self.executable = name, namespace, package, executable
        self.nodes, self.condition = composable_node_descriptions, condition


_MODULES: dict[str, dict[str, Any]] = {
    "launch": {"LaunchDescription": LaunchDescription},
    "launch.actions": {
        "DeclareLaunchArgument": DeclareLaunchArgument,
        "IncludeLaunchDescription": IncludeLaunchDescription,
        "OpaqueFunction": OpaqueFunction,
    },
    "launch.launch_description_sources": {"PythonLaunchDescriptionSource": PythonLaunchDescriptionSource},
    "launch.conditions": {"IfCondition": if_condition},
    "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration, "PythonExpression": PythonExpression},
    "launch_ros": {},
    "launch_ros.actions": {"ComposableNodeContainer": ComposableNodeContainer},
    "launch_ros.descriptions": {"ComposableNode": ComposableNode},
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have imports find the double."""
    for name, members in _MODULES.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
