"""Isaac ROS's rules: what TensorRTNode and TritonNode of a release need."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence

from ...contract.companions import CONFIG, LAUNCH, PARAMETERS
from ...contract.consumers import RTX_ENGINE, RTX_HINT, of_rtx
from ...contract.report import ModelReport
from ...contract.spelling import near
from ...contract.values import Value
from ..consumer import ENGINE, Check, Consumer, Rule, rules
from ..model_files import Model
from ..triton import rules as triton
from ..triton.backend import batching
from ..triton.text_format import first, parse
from . import files
from .parameters import read
from .releases import DEFAULT, RELEASES, TENSOR_RT, TRITON, Parameter, Release, dynamic_axes, release


class RosModel(Value):
    """A model as Isaac ROS sees it.

    nodes: parameters of each node in isaac_ros.yaml; None if the file is missing. unreadable: why it can't be read;
    None if it can. batches: possible values of TritonNode's max_batch_size; empty if unknown.
    """

    model: Model
    release: Release
    nodes: "Optional[Mapping[str, Mapping[str, Any]]]" = None
    unreadable: Optional[str] = None
    batches: Sequence[int] = field(default_factory=tuple)

    def has(self, node: str) -> bool:
        """Return whether a node is launched with this file; without a file, both may be."""
        return self.nodes is None or self.unreadable is not None or node in self.nodes

    def configured(self, node: str) -> Optional[Mapping[str, Any]]:
        """Return the parameters of a node, or None if the file or the node is missing."""
        return None if self.nodes is None else self.nodes.get(node)

    def value(self, node: str, name: str) -> Any:
        """Return a parameter of a configured node, or its default."""
        return (self.configured(node) or {}).get(name, self.declared(node)[name].default)

    def declared(self, node: str) -> Mapping[str, Parameter]:
        """Return the parameters that a node declares."""
        return self.release.nodes[node].parameters


def ros_model(model: Model, name: str) -> RosModel:
    """Read a model's files that Isaac ROS reads."""
    chosen = release(name)
    try:
        text = model.text(PARAMETERS)
        nodes = read(text, chosen) if text is not None else None
    except ValueError as error:
        return RosModel(model, chosen, {}, f"{PARAMETERS} can't be read: {error}")
    unreadable = f"{PARAMETERS} has no section of a node of Isaac ROS" if nodes == {} else None
    model = model.of_engine(str((nodes or {}).get(TENSOR_RT, {}).get("engine_file_path", "")))
    return RosModel(model, chosen, nodes, unreadable, tuple(_batches(model)))


def _batches(model: Model) -> Iterator[int]:
    """Yield the max_batch_size of config.pbtxt, and the one that Triton derives from it."""
    try:
        text = model.text(CONFIG)
        config = parse(text, triton.SCHEMA) if text is not None else None
    except ValueError:
        return
    if config is not None:
        yield first(config, "max_batch_size", 0)
        if model.io:
            yield batching(config, model.io)


def _rtx(of: RosModel) -> Iterator[str]:
    engine = of.model.report["engine"] if of.model.report else None
    header = engine.get("header", {}) if engine else {}
    if header.get("format") == "tensorrt_rtx":
        yield of_rtx(header.get("version"))


def _dynamic_dimension(of: RosModel) -> Iterator[str]:
    for binding in of.model.io if of.has(TENSOR_RT) else ():
        axes = dynamic_axes(binding)
        if axes:
            yield f"{binding['mode']} {binding['name']!r} {binding['shape']} is dynamic in dimension {axes[0]}"


def _output_type(of: RosModel) -> Iterator[str]:
    for binding in of.model.of("output") if of.has(TENSOR_RT) else ():
        if binding["dtype"] not in of.release.nodes[TENSOR_RT].output_types:
            yield f"output {binding['name']!r} is {binding['dtype']}, which {of.release.name} does not publish"


def _no_ends(of: RosModel) -> Iterator[str]:
    """Find engines without inputs or outputs, if the engine itself reported them: a manifest may list only some."""
    inputs, outputs = of.model.of("input"), of.model.of("output")
    if any(binding["source"] == "engine" for binding in of.model.io) and not (inputs and outputs):
        yield f"the engine has {len(inputs)} inputs and {len(outputs)} outputs"


def _unreadable(of: RosModel) -> Iterator[str]:
    if of.unreadable is not None:
        yield of.unreadable


def _names(of: RosModel) -> Iterator[str]:
    """Compare names with the engine's bindings: complete, identical, and paired by position."""
    for node in (of.nodes or {}) if of.model.report is not None else ():
        for mode in ("input", "output"):
            bindings, tensors = (of.value(node, f"{mode}_{kind}_names") for kind in ("binding", "tensor"))
            own = [binding["name"] for binding in of.model.of(mode)]
            if not isinstance(bindings, list) or sorted(map(str, bindings)) != sorted(own):
                yield f"{node}: {mode}_binding_names is {bindings}, the engine's {mode}s are {own}"
            elif not isinstance(tensors, list) or len(tensors) != len(bindings):
                yield f"{node}: {mode}_tensor_names is {tensors}, which does not pair with {bindings}"
            elif len(set(map(str, tensors))) < len(tensors):
                yield f"{node}: a name in {mode}_tensor_names is used twice: {tensors}"


def _engine_update(of: RosModel) -> Iterator[str]:
    if of.configured(TENSOR_RT) is not None:
        value = of.value(TENSOR_RT, "force_engine_update")
        if value is not False:
            yield f"tensor_rt: force_engine_update is {value}"


def _workspace(of: RosModel) -> Iterator[str]:
    if of.configured(TENSOR_RT) is None or of.model.report is None:
        return
    value, default = of.value(TENSOR_RT, "max_workspace_size"), of.declared(TENSOR_RT)["max_workspace_size"].default
    wanted = files.workspace_bytes(of.model.report)
    if isinstance(value, int) and value <= default < wanted:
        yield f"tensor_rt: max_workspace_size is {value} bytes, the engine's builder had {wanted}"


def _engine_path(of: RosModel) -> Iterator[str]:
    if of.configured(TENSOR_RT) is not None:
        value = str(of.value(TENSOR_RT, "engine_file_path"))
        if not of.model.names_engine(value):
            expected = f"{of.model.directory.name}/1/model.plan"
            yield f"tensor_rt: engine_file_path is {value}, which does not end in {expected}"


def _deploy_dir(of: RosModel) -> Iterator[str]:
    if of.configured(TENSOR_RT) is not None:
        value = PurePosixPath(str(of.value(TENSOR_RT, "engine_file_path")))
        why = of.model.elsewhere(value.parent.parent) if of.model.names_engine(str(value)) else None
        if why is not None:
            yield f"tensor_rt: engine_file_path is in {why}"
    if of.configured(TRITON) is not None:
        paths = of.value(TRITON, "model_repository_paths")
        targets = [PurePosixPath(str(path)) / of.model.place.name for path in paths or ()]
        reasons = [of.model.elsewhere(path) for path in targets]
        if reasons and all(reasons):
            yield f"triton: model_repository_paths leads to {reasons[0]}"


def _foreign_directory(of: RosModel) -> Iterator[str]:
    if of.release.nodes[TRITON].loads == "repository" and triton.judge(of.model).found.get("triton-foreign-directory"):
        yield f"TritonNode of {of.release.name} loads every directory, and {of.model.directory.name} is not a model"


def _served_model(of: RosModel) -> Iterator[str]:
    if of.configured(TRITON) is not None:
        name, own = of.value(TRITON, "model_name"), of.model.place.name
        if name != own:
            yield f"triton: model_name is {name!r}, the directory is {own!r}"
        if not of.value(TRITON, "model_repository_paths"):
            yield "triton: model_repository_paths is empty"


def _plugin(of: RosModel) -> Iterator[str]:
    """Find an engine whose plugins the node would not load. If the node sees another root, the file name must match."""
    key = "custom_plugin_lib"
    if of.configured(TENSOR_RT) is None or of.model.report is None or not of.model.report["plugins"]:
        return
    wanted = [PurePosixPath(file).name for file in of.model.report["plugins"]]
    if key not in of.declared(TENSOR_RT):
        yield f"tensor_rt: {key} does not exist in {of.release.name}, the engine was built with {', '.join(wanted)}"
        return
    value = str(of.value(TENSOR_RT, key))
    if len(wanted) > 1 and not value:
        yield f"tensor_rt: {key} is not set, the engine was built with {', '.join(wanted)}"
    elif len(wanted) == 1 and PurePosixPath(value).name != wanted[0]:
        yield f"tensor_rt: {key} is {value or 'not set'}, the engine was built with {wanted[0]}"


def _fp16(of: RosModel) -> Iterator[str]:
    if of.release.fp16_is_tf32 and (of.configured(TENSOR_RT) or {}).get("enable_fp16") is True:
        yield "tensor_rt: enable_fp16 is true"


def _parameter(of: RosModel) -> Iterator[str]:
    for node, values in (of.nodes or {}).items():
        declared = {**of.release.every_node, **of.declared(node)}
        for name, value in values.items():
            if name in declared:
                if not declared[name].takes(value):
                    yield f"{node}: {name} is {value!r}, the node declares it as {declared[name].type}"
            elif name in of.release.removed:
                yield f"{node}: {name} was removed in {of.release.name}, along with {of.release.removed[name]}"
            elif name not in of.release.ignored and not name.startswith("qos_overrides."):
                meant = near(name, declared)
                text = f"; did you mean {meant[0]}?" if meant else ""
                yield f"{node}: {name} is not a parameter of the node in {of.release.name}{text}"


def _batch(of: RosModel) -> Iterator[str]:
    if of.configured(TRITON) is not None and of.batches:
        value = of.value(TRITON, "max_batch_size")
        if value not in of.batches:
            yield f"triton: max_batch_size is {value}, config.pbtxt says {of.batches[0]}"


_CHECKS: Dict[str, Check[RosModel]] = {
    "isaac-ros-dynamic-dimension": _dynamic_dimension,
    "isaac-ros-output-type": _output_type,
    "isaac-ros-no-inputs": _no_ends,
    "isaac-ros-file": _unreadable,
    "isaac-ros-names": _names,
    "isaac-ros-engine-update": _engine_update,
    "isaac-ros-workspace": _workspace,
    "isaac-ros-engine-path": _engine_path,
    "isaac-ros-deploy-dir": _deploy_dir,
    "isaac-ros-model": _served_model,
    "isaac-ros-foreign-directory": _foreign_directory,
    "isaac-ros-plugin": _plugin,
    "isaac-ros-fp16": _fp16,
    "isaac-ros-parameter": _parameter,
    "isaac-ros-batch": _batch,
}
RULES: Dict[str, Rule[RosModel]] = {
    RTX_ENGINE: Rule(ENGINE, "the engine is for TensorRT-RTX, and only that exact runtime loads it", RTX_HINT, _rtx),
    **rules(Path(__file__).with_name("rules.json"), _CHECKS.__getitem__),
}


def _files(report: ModelReport, deploy_dir: str, name: str) -> Dict[str, Optional[str]]:
    return {
        PARAMETERS: files.parameters(report, deploy_dir, release(name)),
        LAUNCH: files.launch(report, deploy_dir, release(name)),
    }


CONSUMER: Consumer[RosModel] = Consumer(
    name="isaac-ros", place=0, rules=RULES, read=ros_model, files=_files, concerns=lambda _: True,
    releases=RELEASES, default=DEFAULT,
)  # fmt: skip
