"""The job: what the orchestrator asks of the entrypoint. Strict both ways: an unknown field or version is refused."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from . import codec
from .builder import BuilderConfig
from .codec import CONTRACT_VERSION, ContractError
from .connection import Connection
from .conversion import CalibrationConfig, OnnxConfig, Plugin, TaoConfig
from .deployment import Deployment
from .ros import RosConfig
from .verification import VerifyConfig

PRECISIONS = ("fp32", "fp16", "int8", "bf16", "fp8")
CONVERTERS = ("auto", "api", "trtexec", "tao-converter")


class JobKind(enum.Enum):
    """What is done with a model once its files are here; the value lists the stages of that."""

    FETCH = ()
    RUN = ("convert", "inspect", "verify")
    CHECK = ("check",)
    VERIFY = ("verify",)

    def stages(self, *, fetch: bool = True) -> Tuple[str, ...]:
        """Return the stages of a job. ``fetch``: whether it brings the model's files here, too."""
        return ("fetch", *self.value) if fetch else self.value

    @classmethod
    def of(cls, stages: Sequence[str]) -> JobKind:
        """Return the kind of a job with these stages.

        Raises:
            ContractError: no job has them.
        """
        rest = tuple(stage for stage in stages if stage != "fetch")
        for kind in cls:
            if stages and rest == kind.value:
                return kind
        if rest == cls.RUN.value[:2]:  # nothing is compared
            return cls.RUN
        known = "; ".join(", ".join(kind.stages()) for kind in cls)
        raise ContractError(f"job.stages: expected one of {known}, found {', '.join(stages) or 'none'}")


@dataclass(frozen=True)
class ShapeRange:
    """Shapes of one input binding in an optimization profile: minimum, optimum and maximum, as dimensions."""

    min: Tuple[int, ...]
    opt: Tuple[int, ...]
    max: Tuple[int, ...]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ShapeRange:
        """Read a range; the three shapes must have one rank and rise from min over opt to max."""
        codec.check_keys(raw, ("min", "opt", "max"), "inputs")
        shapes = cls(*(codec.integers(raw, key, "inputs") for key in ("min", "opt", "max")))
        problem = shapes.problem()
        if problem:
            raise ContractError(f"inputs: {problem}")
        return shapes

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {"min": list(self.min), "opt": list(self.opt), "max": list(self.max)}

    def problem(self) -> Optional[str]:
        """Say what is wrong with the range, or None."""
        if not len(self.min) == len(self.opt) == len(self.max):
            return f"min, opt and max differ in rank ({len(self.min)}, {len(self.opt)}, {len(self.max)})"
        for axis, (low, mid, high) in enumerate(zip(self.min, self.opt, self.max)):
            if not 0 < low <= mid <= high:
                return f"axis {axis}: expected 0 < min <= opt <= max, found {low}, {mid}, {high}"
        return None


@dataclass(frozen=True)
class ModelJob:
    """One model to prepare.

    source, calibration_cache: where the entrypoint finds the bytes (absolute path, ``file://``, ``https://``, ``ngc://``).
    sha256, calibration_sha256: digests that they must have; None takes what is there.
    key_file: path of a file that holds the .etlt key; the key itself never stands in a job.
    output_dir: directory that receives ``1/model.plan`` and its companions.
    deploy_dir: the same directory outside of a container; its consumers see it there, too, unless ``deployment`` says
        otherwise.
    timeout_s: seconds that the conversion may take.
    profiles: further optimization profiles beside ``inputs``, which is the first.
    keep_fp32: patterns (with * and ?) of the names of layers that stay in fp32.
    allow_fallback: whether a lower precision than asked, or a smaller largest batch, is better than no engine.
    ros: names of tensors in ROS 2 messages; they stand in companions of the engine and decide nothing of its bytes.
    verify: how the engine's numbers are compared with the model's; None leaves them uncompared.
    deployment: where the consumers see the engine, and which they are.
    done: results of the stages that an earlier process did; the report begins with them.
    origin: the bundle that the model comes from, for the report; None for one that the user's manifest names.
    """

    name: str
    source: str
    output_dir: str
    deploy_dir: str
    sha256: Optional[str] = None
    precision: str = "fp32"
    key_file: Optional[str] = None
    calibration_cache: Optional[str] = None
    calibration_sha256: Optional[str] = None
    inputs: Mapping[str, ShapeRange] = field(default_factory=dict)
    outputs: Tuple[str, ...] = ()
    builder: BuilderConfig = BuilderConfig()
    converter: str = "auto"
    timeout_s: Optional[float] = None
    profiles: Tuple[Mapping[str, ShapeRange], ...] = ()
    keep_fp32: Tuple[str, ...] = ()
    allow_fallback: bool = False
    plugins: Tuple[Plugin, ...] = ()
    onnx: OnnxConfig = OnnxConfig()
    tao: TaoConfig = TaoConfig()
    calibration: Optional[CalibrationConfig] = None
    ros: RosConfig = RosConfig()
    verify: Optional[VerifyConfig] = None
    deployment: Deployment = Deployment()
    done: Tuple[Mapping[str, Any], ...] = ()
    origin: Optional[Mapping[str, Any]] = None

    KEYS = (
        "name", "source", "output_dir", "deploy_dir", "sha256", "precision", "key_file", "calibration_cache",
        "calibration_sha256",
        "inputs", "outputs", "builder", "converter", "timeout_s", "profiles", "keep_fp32", "allow_fallback", "plugins",
        "onnx", "tao", "calibration", "ros", "verify", "deployment", "done", "origin",
    )  # fmt: skip

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ModelJob:
        """Read a model; values outside the enumerations are refused."""
        what = f"model {raw.get('name', '?')}"
        codec.check_keys(raw, cls.KEYS, what)
        inputs: Dict[str, Any] = codec.optional(raw, "inputs", dict, what) or {}
        return cls(
            name=codec.require(raw, "name", str, what),
            source=codec.require(raw, "source", str, what),
            output_dir=codec.require(raw, "output_dir", str, what),
            deploy_dir=codec.require(raw, "deploy_dir", str, what),
            sha256=codec.optional(raw, "sha256", str, what),
            precision=codec.one_of(raw, "precision", PRECISIONS, what),
            key_file=codec.optional(raw, "key_file", str, what),
            calibration_cache=codec.optional(raw, "calibration_cache", str, what),
            calibration_sha256=codec.optional(raw, "calibration_sha256", str, what),
            inputs=_ranges(inputs),
            outputs=codec.strings(raw, "outputs", what),
            builder=BuilderConfig.from_dict(codec.optional(raw, "builder", dict, what) or {}),
            converter=codec.one_of(raw, "converter", CONVERTERS, what),
            timeout_s=codec.optional(raw, "timeout_s", float, what),
            profiles=codec.each(raw, "profiles", _ranges, what),
            keep_fp32=codec.strings(raw, "keep_fp32", what),
            allow_fallback=bool(codec.optional(raw, "allow_fallback", bool, what)),
            plugins=codec.each(raw, "plugins", Plugin.from_dict, what),
            onnx=OnnxConfig.from_dict(codec.optional(raw, "onnx", dict, what) or {}),
            tao=TaoConfig.from_dict(codec.optional(raw, "tao", dict, what) or {}),
            calibration=codec.maybe(raw, "calibration", CalibrationConfig.from_dict, what),
            ros=RosConfig.from_dict(codec.optional(raw, "ros", dict, what) or {}),
            verify=codec.maybe(raw, "verify", VerifyConfig.from_dict, what),
            deployment=Deployment.from_dict(codec.optional(raw, "deployment", dict, what) or {}),
            done=codec.each(raw, "done", dict, what),
            origin=codec.optional(raw, "origin", dict, what),
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "source": self.source,
            "output_dir": self.output_dir,
            "deploy_dir": self.deploy_dir,
            "sha256": self.sha256,
            "precision": self.precision,
            "key_file": self.key_file,
            "calibration_cache": self.calibration_cache,
            "calibration_sha256": self.calibration_sha256,
            "inputs": {name: shapes.to_dict() for name, shapes in self.inputs.items()},
            "outputs": list(self.outputs),
            "builder": self.builder.to_dict(),
            "converter": self.converter,
            "timeout_s": self.timeout_s,
            **self.conversion(),
            "ros": self.ros.to_dict(),
            "verify": self.verify.to_dict() if self.verify else None,
            "deployment": self.deployment.to_dict(),
            "done": [dict(stage) for stage in self.done],
            **({"origin": dict(self.origin)} if self.origin else {}),
        }

    def conversion(self) -> Dict[str, Any]:
        """Return, in JSON form, what decides the engine's bytes beside source, precision, shapes and builder."""
        return {
            "profiles": [{name: shapes.to_dict() for name, shapes in each.items()} for each in self.profiles],
            "keep_fp32": list(self.keep_fp32),
            "allow_fallback": self.allow_fallback,
            "plugins": [plugin.to_dict() for plugin in self.plugins],
            "onnx": self.onnx.to_dict(),
            "tao": self.tao.to_dict(),
            "calibration": self.calibration.to_dict() if self.calibration else None,
        }


@dataclass(frozen=True)
class Job:
    """Models to prepare, the stages to run for each, the cache directory for downloads, and the way to the network.

    tool: version of the orchestrator. image: digest of the container image that this runs in, None outside of one.
    """

    run_id: str
    models: Tuple[ModelJob, ...]
    cache_dir: str
    stages: Tuple[str, ...] = JobKind.RUN.stages()
    network: Connection = field(default_factory=Connection)
    tool: str = ""
    image: Optional[str] = None

    KEYS = ("contract", "run_id", "models", "cache_dir", "stages", "network", "tool", "image")

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Job:
        """Read a job.

        Raises:
            ContractError: another contract version, an unknown field, or a value outside its range.
        """
        codec.check_version(raw, "job")
        codec.check_keys(raw, cls.KEYS, "job")
        stages = codec.strings(raw, "stages", "job")
        JobKind.of(stages)
        return cls(
            run_id=codec.require(raw, "run_id", str, "job"),
            models=codec.each(raw, "models", ModelJob.from_dict, "job"),
            cache_dir=codec.require(raw, "cache_dir", str, "job"),
            stages=stages,
            network=codec.maybe(raw, "network", Connection.from_dict, "job") or Connection(),
            tool=codec.optional(raw, "tool", str, "job") or "",
            image=codec.optional(raw, "image", str, "job"),
        )

    @property
    def kind(self) -> JobKind:
        """What is done with the models."""
        return JobKind.of(self.stages)

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {
            "contract": CONTRACT_VERSION,
            "run_id": self.run_id,
            "models": [model.to_dict() for model in self.models],
            "cache_dir": self.cache_dir,
            "stages": list(self.stages),
            "network": self.network.to_dict(),
            "tool": self.tool,
            "image": self.image,
        }


def _ranges(raw: Mapping[str, Any]) -> Dict[str, ShapeRange]:
    return {name: ShapeRange.from_dict(shapes) for name, shapes in raw.items()}
