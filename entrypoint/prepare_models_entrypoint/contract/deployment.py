"""What an engine's consumers need besides it. It affects only its companion files, not its bytes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, cast

from . import consumers
from .codec import ContractError, check_printable
from .kinds import ByName, Flag, ListOf, Text
from .settings import Record, setting

if TYPE_CHECKING:
    from .report import Binding, DeploymentInfo, TensorNames

# The names that Isaac ROS' encoders and decoders use by default for a single tensor.
_SINGLE = {"input": "input_tensor", "output": "output_tensor"}
_NAMES = ListOf(Text("tensor names"), "a list of tensor names")
# Keys that follow from the engine, so no setting may give them.
FROM_ENGINE = ("model-engine-file", "batch-size", "network-mode", "output-blob-names", "labelfile-path")
_KEY = r"[a-z0-9-]+"


class DeployDir(Text):
    """An absolute path on another machine or in a container."""

    def decode(self, raw: object, what: str) -> str:
        return check_path(str(super().decode(raw, what)))


class Consumer(Text):
    """A consumer with or without a release."""

    def decode(self, raw: object, what: str) -> str:
        return consumers.check(str(super().decode(raw, what)))


DEPLOY_DIR = DeployDir("an absolute path")
CONSUMER = Consumer("a consumer, such as triton or isaac-ros@5.0")


class Deployment(Record):
    """Where and for which consumers; ``deploy_dir`` and ``consumers`` are top-level keys of a manifest.

    deploy_dir: the models directory as the consumers see it, such as a mount in their container; None: the same path.
    consumers: those whose rules count, such as isaac-ros@5.0; empty: all, with their default releases.
    """

    deploy_dir: Optional[str] = setting(DEPLOY_DIR, "", key="")
    consumers: Tuple[str, ...] = setting(ListOf(CONSUMER, "consumers"), "", default=(), key="")
    warmup: bool = setting(
        Flag(),
        "`true`: `config.pbtxt` has Triton run the engine once, with zeros, before it serves requests; "
        "for engines whose shapes are known",
        True,
        default=False,
    )

    @classmethod
    def of(cls, info: DeploymentInfo) -> Deployment:
        """Return the deployment in a report, without what concerns a single consumer."""
        return cls.from_dict({key: value for key, value in info.items() if key in cls.__dataclass_fields__})

    def info(self) -> DeploymentInfo:
        """Return the form that reports have."""
        return cast("DeploymentInfo", self.to_dict())

    def directory(self, name: str, otherwise: str) -> str:
        """Return a model's directory as the consumers see it. ``otherwise``: the default."""
        return otherwise if self.deploy_dir is None else str(PurePosixPath(self.deploy_dir) / name)


def check_path(path: str) -> str:
    """Return ``path`` if it may be a deploy directory.

    Raises:
        ContractError: it is not absolute, or has a character that can't be written in one line of a file.
    """
    if not PurePosixPath(path).is_absolute():
        raise ContractError(f"the deploy directory {path!r} is not an absolute path")
    return check_printable(path, "the deploy directory")


class RosConfig(Record):
    """Names of the tensors in a TensorList. Empty lists mean the defaults; ``by_binding`` overrides both."""

    input_tensor_names: Tuple[str, ...] = setting(
        _NAMES, "one name for each input, in the engine's order", ["left_image", "right_image"], default=()
    )
    output_tensor_names: Tuple[str, ...] = setting(
        _NAMES, "one name for each output, in the engine's order", ["disparity"], default=()
    )
    by_binding: Mapping[str, str] = setting(
        ByName(Text("a tensor name"), "names by binding"), "names of single bindings", default=dict, key=""
    )

    def resolve(self, bindings: Sequence[Binding]) -> TensorNames:
        """Return a name for every binding.

        Without a list, a single input or output gets Isaac ROS's default name; of several, each gets the name of its
        binding.

        Raises:
            ContractError: a list's length differs from the engine's, names repeat, or a binding is unknown.
        """
        unknown = sorted(set(self.by_binding) - {binding["name"] for binding in bindings})
        if unknown:
            known = ", ".join(binding["name"] for binding in bindings)
            raise ContractError(f"no binding is called {', '.join(unknown)}; the engine has {known}")
        return {
            "input_tensor_names": self._names("input", bindings, self.input_tensor_names),
            "output_tensor_names": self._names("output", bindings, self.output_tensor_names),
        }

    def _names(self, mode: str, bindings: Sequence[Binding], listed: Sequence[str]) -> List[str]:
        own = [binding["name"] for binding in bindings if binding["mode"] == mode]
        if listed and len(listed) != len(own):
            raise ContractError(
                f"{mode}_tensor_names has {len(listed)} names for the {len(own)} {mode}s {', '.join(own)}"
            )
        default = [_SINGLE[mode]] if len(own) == 1 else own
        names = [self.by_binding.get(name, given) for name, given in zip(own, listed or default)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ContractError(f"the {mode} tensor name {', '.join(repeated)} is used twice")
        return names


class _Value(Text):
    """A value in a key file: one line of text, a number or a Boolean."""

    def decode(self, raw: object, what: str) -> str:
        text = str(raw).lower() if isinstance(raw, bool) else str(raw)
        if not isinstance(raw, (str, int, float)) or not text.isprintable():
            raise ContractError(f"{what}: expected {self.expected}")
        return text

    def schema(self) -> Dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


class _Keys(ByName):
    """Keys of a group in nvinfer's file."""

    def decode(self, raw: object, what: str) -> Dict[str, object]:
        found = super().decode(raw, what)
        for name in found:
            if name in FROM_ENGINE:
                raise ContractError(f"{what}.{name}: it is written from the engine, or from labels")
            if not re.fullmatch(_KEY, name):
                raise ContractError(f"{what}.{name}: expected a key of nvinfer, such as net-scale-factor")
        return found


_VALUE = _Value("a number or one line of text")


class DeepStreamConfig(Record):
    """Lines of ``deepstream.txt`` and its label file; nothing here changes an engine."""

    SPARSE = True

    labels: Tuple[str, ...] = setting(
        ListOf(Text("names of classes"), "a list of names"),
        "class names, which go into a file next to the engine",
        ["Person", "Bag", "Face"],
        default=(),
    )
    properties: Mapping[str, str] = setting(
        _Keys(_VALUE, "keys of nvinfer with values"),
        "keys of `[property]`: preprocessing, network-type, the function that parses outputs and its library",
        {"net-scale-factor": 0.00392156, "network-type": 0, "num-detected-classes": 3},
        default=dict,
    )
    classes: Mapping[str, str] = setting(
        _Keys(_VALUE, "keys of nvinfer with values"),
        "keys of `[class-attrs-all]`: thresholds",
        {"pre-cluster-threshold": 0.4},
        default=dict,
    )
