"""The job: what the orchestrator asks the entrypoint to do. Both sides refuse unknown fields and versions."""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple

from .builder import BuilderConfig
from .codec import ContractError
from .conversion import OnnxConfig, Plugin, TaoConfig
from .converters import CONVERTERS
from .deployment import DeepStreamConfig, Deployment, RosConfig
from .fetch import NO_PINS, Connection, Pins
from .kinds import ByName, DigestText, File, Flag, Json, ListOf, Number, OneOf, SourceText, Text, WordsOrList
from .precision import AUTO, NONE, PRECISIONS, SPELLINGS
from .settings import REQUIRED, Document, Nested, Record, Setting, rows, setting
from .shapes import ShapeRange, Shapes
from .verification import CalibrationConfig, VerifyConfig

if TYPE_CHECKING:
    from .report import DeploymentInfo

_OF_CALIBRATION = 16  # samples of a calibration on which results are compared


class JobKind(enum.Enum):
    """What is done with a model."""

    FETCH = "fetch"
    RUN = "run"
    CHECK = "check"
    VERIFY = "verify"
    REWRITE = "rewrite"

    @property
    def writes(self) -> bool:
        """Return whether such a job writes to the model's directory."""
        return self in (JobKind.RUN, JobKind.REWRITE)

    def stages(self, *, fetch: bool = True) -> Tuple[str, ...]:
        """Return the stages of a job. ``fetch``: whether it fetches the model's files first."""
        return ("fetch", *_AFTER_FETCH[self]) if fetch else _AFTER_FETCH[self]

    @classmethod
    def of(cls, stages: Sequence[str]) -> JobKind:
        """Return the kind of a job with these stages.

        Raises:
            ContractError: no kind of job has these stages.
        """
        rest = tuple(stage for stage in stages if stage != "fetch")
        for kind, after in _AFTER_FETCH.items():
            if stages and rest == after:
                return kind
        if rest == _AFTER_FETCH[cls.RUN][:2]:  # nothing is compared
            return cls.RUN
        known = "; ".join(", ".join(kind.stages()) for kind in cls)
        raise ContractError(f"job.stages: expected one of {known}, found {', '.join(stages) or 'none'}")


_AFTER_FETCH: Dict[JobKind, Tuple[str, ...]] = {
    JobKind.FETCH: (),
    JobKind.RUN: ("convert", "inspect", "verify"),
    JobKind.CHECK: ("check",),
    JobKind.VERIFY: ("verify",),
    JobKind.REWRITE: ("rewrite",),
}

_INPUTS = ByName(Shapes(), "input names with their shapes")


class _Stages(ListOf):
    """The stages of a kind of job."""

    def decode(self, raw: object, what: str) -> Tuple[object, ...]:
        stages = super().decode(raw, what)
        JobKind.of([str(stage) for stage in stages])
        return stages


LONGEST_S = 6 * 3600.0  # limit of a build for which none is set


class _Place(Record):
    name: str = setting(Text("a name"), "", default=REQUIRED)
    source: str = setting(Text("a source"), "", default=REQUIRED)
    output_dir: str = setting(Text("a path"), "", default=REQUIRED)
    deploy_dir: str = setting(Text("a path"), "", default=REQUIRED)


class ModelSettings(Record):
    """What a manifest says about a model and the entrypoint needs; shared by the manifest's and the job's model.

    sha256, calibration_sha256: digests that the bytes must have; None accepts any.
    key_file: path of a file with the .etlt key; the key itself is never in a job.
    timeout_s: seconds that the conversion may take; None: ``LONGEST_S``.
    pins: what a lock records about the sources, and about weights that come with a fetched model.
    """

    sha256: Optional[str] = setting(
        DigestText(),
        "the digest that the source must have; without it the report records the one it has, "
        "and a [lock](lock.md) pins it",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    )
    precision: str = setting(
        OneOf(*PRECISIONS, AUTO, spellings=SPELLINGS),
        "precision of the engine; see [convert.md](convert.md)",
        default="fp32",
    )
    key_file: Optional[str] = setting(File("the path of a file"), "", key="")
    calibration_cache: Optional[str] = setting(
        SourceText(), "a source like that of the model, but not http://: TensorRT's or TAO's int8 calibration cache"
    )
    calibration_sha256: Optional[str] = setting(DigestText(), "", key="")
    inputs: Mapping[str, ShapeRange] = setting(
        _INPUTS,
        "shapes of dynamic inputs by binding name; a static model needs none",
        {"input_2:0": "1x3x544x960"},
        {"input_2:0": {"min": "1x3x544x960", "opt": "4x3x544x960", "max": "16x3x544x960"}},
        default=dict,
    )
    outputs: Tuple[str, ...] = setting(
        ListOf(Text("the name of an output"), "a list of output names"),
        "binding names that the model must have; any other set is an error that lists the real ones",
        ["argmax_1"], default=(),
    )  # fmt: skip
    builder: BuilderConfig = setting(
        Nested(BuilderConfig, "builder options"), "builder configuration, see below",
        {"workspace": "2GiB", "optimization_level": 3}, default=BuilderConfig(),
    )  # fmt: skip
    converter: str = setting(OneOf(AUTO, *CONVERTERS), "what builds the engine; `auto` chooses", default="auto")
    timeout_s: Optional[float] = setting(Number(), "", key="")
    profiles: Tuple[Mapping[str, ShapeRange], ...] = setting(
        ListOf(_INPUTS, "a list of profiles, each with shapes by input name"),
        "several optimization profiles, each like `inputs`; instead of `inputs`",
        [{"x": {"min": "1x3x32x32", "opt": "1x3x32x32", "max": "1x3x32x32"}}], default=(),
        conversion=True,
    )  # fmt: skip
    keep_fp32: Tuple[str, ...] = setting(
        WordsOrList((AUTO, NONE), Text("patterns of layer names"), "a list of patterns of layer names"),
        "patterns (with * and ?) of the names of layers that stay in fp32; `auto` and `none`: whether samples decide, "
        "see [convert.md](convert.md)", ["*softmax*"], "auto", default=(),
        conversion=True,
    )  # fmt: skip
    allow_fallback: bool = setting(
        Flag(),
        "`true`: less precision, or a smaller largest batch, is better than no engine",
        default=False,
        conversion=True,
    )
    plugins: Tuple[Plugin, ...] = setting(
        ListOf(Nested(Plugin), "a list of {file:, sha256:}"), "libraries of plugins, each pinned",
        [{"file": "libplugin.so", "sha256": "0" * 64}], default=(),
        conversion=True,
    )  # fmt: skip
    onnx: OnnxConfig = setting(
        Nested(OnnxConfig), "changes of the graph", {"sanitize": True, "static_shapes": {"x": "1x3x32x32"}},
        default=OnnxConfig(),
        conversion=True,
    )  # fmt: skip
    tao: TaoConfig = setting(
        Nested(TaoConfig), "options of tao-converter; with `converter: tao-converter` or `auto`", {"dims": "3,544,960"},
        default=TaoConfig(),
        conversion=True,
    )  # fmt: skip
    calibration: Optional[CalibrationConfig] = setting(
        Nested(CalibrationConfig),
        "a calibration cache from samples",
        {"images": "images", "limit": 100},
        conversion=True,
    )
    ros: RosConfig = setting(
        Nested(RosConfig),
        "names in ROS 2 TensorLists; `--tensor-names BINDING=NAME` does the same for one model",
        {"input_tensor_names": ["left_image", "right_image"], "output_tensor_names": ["disparity"]},
        default=RosConfig(),
    )
    deployment: Deployment = setting(
        Nested(Deployment), "how Triton serves the engine", {"warmup": True}, default=Deployment(), key="triton",
        later=True,
    )  # fmt: skip
    deepstream: DeepStreamConfig = setting(
        Nested(DeepStreamConfig), "what DeepStream's nvinfer does before and after the engine",
        {"labels": ["Person", "Bag", "Face"], "properties": {"network-type": 0}},
        default=DeepStreamConfig(), later=True,
    )  # fmt: skip
    verify: Optional[VerifyConfig] = setting(
        Nested(VerifyConfig),
        "compare the engine with its source model before it is published; see [verify.md](verify.md)",
        {"images": "samples", "thresholds": {"argmax": 0.97}},
        {"random": {"seed": 1, "ranges": {"input_2:0": [-1, 1]}}},
    )  # fmt: skip

    pins: Pins = setting(Nested(Pins), "", default=NO_PINS, key="", later=True)

    @property
    def kept_patterns(self) -> Tuple[str, ...]:
        """The patterns of ``keep_fp32``, without its keywords."""
        return tuple(pattern for pattern in self.keep_fp32 if pattern not in (AUTO, NONE))

    @property
    def keep_auto(self) -> Optional[bool]:
        """Whether samples decide what stays in fp32; None if not set, and then only the user's own samples do."""
        words = [word for word in self.keep_fp32 if word in (AUTO, NONE)]
        return words[-1] == AUTO if words else None

    @property
    def samples_decide(self) -> bool:
        """Whether the engine depends on ``verify``: on what stays in fp32 or out of int8, or on the precision."""
        if self.precision == AUTO or (self.precision == "int8" and self.calibration is not None):
            return True
        return self.precision in ("fp16", "bf16", "int8") and self.keep_auto is not False

    def deployed(self) -> DeploymentInfo:
        """Return what the companions are written for, in the form that reports have."""
        found, nvinfer = self.deployment.info(), self.deepstream.to_dict()
        if nvinfer:
            found["deepstream"] = nvinfer
        return found

    @property
    def limit_s(self) -> float:
        """Return the seconds after which the conversion is stopped."""
        return LONGEST_S if self.timeout_s is None else self.timeout_s

    @property
    def judged(self) -> Optional[VerifyConfig]:
        """How the engine is compared with its source; uses the calibration's samples if it has none of its own."""
        exported = self.verify is None and self.precision == "fp32"
        if self.calibration is None or exported or (self.verify is not None and self.verify.has_samples):
            return self.verify
        return replace(self.verify or VerifyConfig(), images=self.calibration.plain(_OF_CALIBRATION))

    def shared(self) -> Dict[str, Any]:
        """Return the settings shared by the manifest's and the job's model, by name."""
        return {row.name: getattr(self, row.name) for row in rows(ModelSettings)}

    def conversion(self) -> Dict[str, object]:
        """Return, in JSON form, what else decides the engine's bytes besides source, precision, shapes and builder."""
        return self.written(row for row in rows(type(self)) if row.conversion)


class ModelJob(ModelSettings, _Place):
    """One model to prepare.

    source: where the entrypoint finds the bytes (absolute path, ``file://``, ``https://``, ``ngc://``).
    output_dir: directory that receives ``1/model.plan`` and its companions.
    deploy_dir: the same directory outside the container; consumers see it there, too, unless ``deployment`` differs.
    done: results of the stages that an earlier process ran; the report begins with them.
    origin: the bundle that the model comes from, for the report; None for one that the user's manifest names.
    """

    done: Tuple[Mapping[str, object], ...] = setting(ListOf(Json(), ""), "", default=(), key="")
    origin: Optional[Mapping[str, object]] = setting(Json(), "", key="", later=True)


class Job(Document):
    """Models to prepare, the stages to run for each, the cache directory for downloads, and the network settings.

    tool: version of the orchestrator. image: digest of the container image that this runs in; None outside a container.
    """

    WHAT = "job"

    run_id: str = setting(Text("an id"), "", default=REQUIRED)
    models: Tuple[ModelJob, ...] = setting(ListOf(Nested(ModelJob), "models"), "", default=REQUIRED)
    cache_dir: str = setting(Text("a path"), "", default=REQUIRED)
    stages: Tuple[str, ...] = setting(_Stages(Text("a stage"), "stages"), "", default=JobKind.RUN.stages())
    network: Connection = setting(Nested(Connection), "", default=Connection())
    tool: str = setting(Text("a version"), "", default="")
    image: Optional[str] = setting(Text("a digest"), "")

    @classmethod
    def _needs(cls, row: Setting) -> bool:
        return row.name not in ("network", "tool") and super()._needs(row)  # people write jobs by hand, too

    @property
    def kind(self) -> JobKind:
        """What is done with the models."""
        return JobKind.of(self.stages)
