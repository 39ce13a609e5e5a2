"""The report: what became of each model. JSON objects with typed keys; a reader ignores keys that it doesn't know.

What a field means is said once, for people and the JSON Schema alike: in ``reports/fields.json`` of the orchestrator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, TypedDict

from . import schema
from .codec import ContractError
from .comparison import Verification
from .environment import RuntimeInfo
from .source import Source

SCHEMA_VERSION = 1
EDITED = (AttributeError, LookupError, TypeError, ValueError)  # errors that a record edited by hand leads to

BUILT = "built"
RESTORED = "restored"
UP_TO_DATE = "up-to-date"
FAILED = "failed"
SKIPPED = "skipped"
FETCHED = "fetched"  # of a job that only fetches; another job continues with its files
CHECKED = "checked"
VERIFIED = "verified"
REWRITTEN = "rewritten"

REWRITING = "model-rewritten"  # code of the warning that a model was rewritten so that it can be built
STATUSES = (BUILT, RESTORED, UP_TO_DATE, FAILED, SKIPPED)  # counted in a run's report


class ErrorInfo(TypedDict):
    """Why a model failed."""

    code: str
    stage: Optional[str]
    message: str
    hint: str
    retryable: bool


class WarningInfo(TypedDict):
    """Something that the user should know about an engine that was built nevertheless."""

    code: str
    message: str
    hint: str


class Material(TypedDict):
    """A file that an engine is made from."""

    role: str
    source: str
    source_id: str
    bytes: int
    sha256: str


class ValueRange(TypedDict):
    """Smallest, best and largest values of a shape tensor: an input whose values become sizes inside the network."""

    min: List[int]
    opt: List[int]
    max: List[int]


class ProfileShapes(ValueRange, total=False):
    """Shapes of one binding in one optimization profile. ``values``: only for a shape tensor."""

    values: ValueRange


class Binding(TypedDict):
    """One input or output. A dynamic dimension is -1."""

    name: str
    mode: str
    dtype: str
    shape: List[int]
    profiles: List[ProfileShapes]
    source: str


class Engine(TypedDict):
    """The engine file."""

    path: str
    bytes: int
    sha256: str
    header: Dict[str, Any]


class Layer(TypedDict):
    """One layer of an engine."""

    name: str
    type: str
    precision: Optional[str]
    outputs: List[str]


class EngineDetails(TypedDict):
    """What is inside an engine."""

    source: str
    name: str
    device_memory_bytes: Optional[int]
    streamable_weights_bytes: Optional[int]
    layers: List[Layer]


class TensorNames(TypedDict):
    """Names in ROS 2 TensorLists, paired by position with the engine's inputs and outputs."""

    input_tensor_names: List[str]
    output_tensor_names: List[str]


class StageResult(TypedDict):
    """How long a stage took, and how much memory its process."""

    name: str
    status: str
    started_at: float
    seconds: float
    peak_rss_bytes: Optional[int]


class Calibration(TypedDict):
    """What a calibration cache provided. ``covered`` of ``wanted`` activations have a scale.

    method: how the scales were measured; None if the cache is a given file. missing: activations that an int8 layer
    wants and the cache lacks. unusable: by name of such an activation, what its scale is instead of a positive number.
    stale: names in the cache that the model lacks. Both lists end after 50 names; their counts are complete.
    """

    header: str
    written_for: List[str]
    algorithm: str
    method: Optional[str]
    wanted: int
    covered: int
    missing_count: int
    missing: List[str]
    unusable: Dict[str, str]
    stale_count: int
    stale: List[str]


class KeptLayer(TypedDict):
    """A layer that stays in fp32, and why."""

    name: str
    op_type: str
    reason: str


class PrecisionChoice(TypedDict):
    """A precision that ``precision: auto`` considered. ``told``: the reason for its verdict."""

    precision: str
    verdict: str
    kept: int
    error: Optional[float]
    told: str


class HarmfulLayer(TypedDict):
    """A layer, and how far rounding it alone moves an output, over the output's range; None: it is not finite."""

    name: str
    op_type: str
    moves: Optional[float]


class PrecisionSearch(TypedDict):
    """How the search for the fewest layers in fp32 ended: whether ``kept`` of ``layers`` are enough, and the error."""

    right: bool
    error: Optional[float]
    layers: int
    kept: int
    harmful: List[HarmfulLayer]


class PrecisionProof(TypedDict):
    """Which precision was asked for, which one the engine has, how it got it, and the evidence."""

    requested: str
    delivered: Optional[str]
    how: Optional[str]
    source: Optional[str]
    layers: Dict[str, int]
    layers_share: Dict[str, float]
    weights_share: Dict[str, float]
    calibration: Optional[Calibration]
    means: Optional[str]
    flags: List[str]
    kept: List[KeptLayer]
    kept_harmless: int
    measured: Optional[str]
    measured_runs: int
    kept_share: Optional[float]
    search: Optional[PrecisionSearch]
    choices: List[PrecisionChoice]


class Attempt(TypedDict):
    """A build that ran out of memory, and the builder settings that were changed for the next one."""

    code: str
    message: str
    changed: Dict[str, object]


class _Deployment(TypedDict):
    deploy_dir: Optional[str]
    consumers: List[str]
    warmup: bool


class DeploymentInfo(_Deployment, total=False):
    """What the companions of the engine were written for, as in ``contract.deployment.Deployment``.

    deepstream: ``contract.deployment.DeepStreamConfig``, if the manifest sets any of it.
    """

    deepstream: Dict[str, Any]
    version: int


class MadeBy(TypedDict):
    """What built an engine."""

    tool: str
    image: Optional[str]


class Origin(TypedDict):
    """Where an engine that wasn't built here comes from: a bundle or a shared store; the other one is None."""

    bundle: Optional[str]
    signed_by: Optional[str]
    store: Optional[str]


class Confinement(TypedDict):
    """The defences active in the process that built an engine from an untrusted model, and those missing here."""

    held: List[str]
    missing: List[str]


class ModelReport(TypedDict):
    """The report of one model, written as ``<models-dir>/<name>/report.json`` and repeated in the run's report."""

    schema_version: int
    name: str
    status: str
    reason: str
    source: str
    converter: str
    precision_proof: PrecisionProof
    materials: List[Material]
    licences: List[str]
    engine: Optional[Engine]
    build_key: Optional[str]
    identity: Optional[Dict[str, Any]]
    builder: Dict[str, object]
    profiles: List[Dict[str, ProfileShapes]]
    io: List[Binding]
    stages: List[StageResult]
    runtime: Optional[RuntimeInfo]
    warnings: List[WarningInfo]
    error: Optional[ErrorInfo]
    trtexec_command: Optional[str]
    log: Optional[str]
    converter_reason: str
    attempts: List[Attempt]
    preflight: Optional[Dict[str, object]]
    details: Optional[EngineDetails]
    tensor_names: Optional[TensorNames]
    verification: Optional[Verification]
    made_by: MadeBy
    plugins: List[str]
    deployment: DeploymentInfo
    origin: Optional[Origin]
    confinement: Optional[Confinement]


def blank(name: str, source: str, *, precision: str, converter: str) -> ModelReport:
    """Return the report of a model before any work on it."""
    return {
        **schema.empty(ModelReport),
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "status": SKIPPED,
        "source": Source.of(source).public,
        "converter": converter,
        "precision_proof": {**schema.empty(PrecisionProof), "requested": precision},
        "made_by": schema.empty(MadeBy),
        "deployment": DeploymentInfo(deploy_dir=None, consumers=[], warmup=False),
    }


def read(raw: object) -> ModelReport:
    """Return ``raw``, parsed JSON, as a model report.

    Raises:
        ContractError: it is not a report, or one of another schema version.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or not isinstance(raw.get("status"), str):
        raise ContractError("report: not a model report")
    schema.check_version(raw, SCHEMA_VERSION, "report")
    report, proof = dict(raw), raw.get("precision_proof")
    of_this_version = ModelReport.__annotations__.keys() <= raw.keys()
    if not (of_this_version and isinstance(proof, dict) and PrecisionProof.__annotations__.keys() <= proof.keys()):
        empty = blank(raw["name"], str(raw.get("source", "")), precision="fp32", converter="auto")
        report = {**empty, **raw}
        if isinstance(proof, dict):
            report["precision_proof"] = {**empty["precision_proof"], **proof}
    return schema.read(ModelReport, report, "report")


def record_or_problem(output_dir: Path) -> Tuple[Optional[ModelReport], Optional[str]]:
    """Return the report next to an engine, or why it can't be read; (None, None) if it is missing."""
    try:
        return read(schema.load(output_dir / "report.json")), None
    except FileNotFoundError:
        return None, None
    except (OSError, ContractError) as error:
        return None, str(error)


def read_record(output_dir: Path) -> Optional[ModelReport]:
    """Return the report next to an engine, or None if it is missing or can't be read."""
    return record_or_problem(output_dir)[0]
