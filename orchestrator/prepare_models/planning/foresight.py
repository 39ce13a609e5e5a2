"""What a run would refuse or warn about, as far as this is known before anything is fetched, read or built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract import external_data, known_faults
from prepare_models_entrypoint.contract.consumers import NOT_OF_RTX, RTX_ENGINE, RTX_HINT, of_rtx
from prepare_models_entrypoint.contract.converters import is_encrypted
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.error_codes import ERRORS
from prepare_models_entrypoint.contract.external_errors import ExternalDataError
from prepare_models_entrypoint.contract.source import NO_FILE_HINT, Source, no_file
from prepare_models_entrypoint.contract.verification import SAMPLES_HINT

from ..errors import PrepareModelsError
from ..manifest.model import ModelSpec, terms_accepted
from ..support.page import Message, of_warning
from .planned import BUILD, REBUILD, PlannedModel

_NEED_SCALES = ("int8", "fp8")


def of_models(planned: Sequence[PlannedModel]) -> list[Message]:
    """Return messages on what would be, or is likely to be, refused in the models that would be built."""
    return [message for spec in _builds(planned) for message in _of_model(spec)]


def of_run(planned: Sequence[PlannedModel], runtime: RuntimeInfo) -> list[Message]:
    """Return notes on the engines of this TensorRT, each once."""
    specs, about = _builds(planned), "this TensorRT"
    found = [each for spec in specs for each in known_faults.of_build(spec.job(Path()), runtime)]
    messages = [of_warning(each, about) for each in found]
    backend = runtime["backend"]
    if backend is not None and backend["name"] == "tensorrt_rtx" and any(map(_for_tensorrt, specs)):
        messages.append(Message("warning", RTX_ENGINE, about, of_rtx(backend["version"]), RTX_HINT))
    return list(dict.fromkeys(messages))


def _builds(planned: Sequence[PlannedModel]) -> list[ModelSpec]:
    return [model.spec for model in planned if model.action in (BUILD, REBUILD)]


def _for_tensorrt(spec: ModelSpec) -> bool:
    """Return whether an engine is for consumers that load engines of TensorRT itself, as all do if none is named."""
    wanted = [name.partition("@")[0] for name in spec.deployment.consumers]
    return not wanted or any(name in NOT_OF_RTX for name in wanted)


def _of_model(spec: ModelSpec) -> Iterator[Message]:
    yield from _of_files(spec)
    yield from _of_secrets(spec)
    yield from _of_samples(spec)
    if spec.eula and not terms_accepted(flag=False):
        text = f"it has terms that must be accepted: {spec.eula}"
        yield _message(spec, "licence-not-accepted", text, "read them, then run with --accept-eula", kind="warning")


def _of_files(spec: ModelSpec) -> Iterator[Message]:
    for source in filter(None, (spec.source, spec.calibration_cache)):
        path = Source.of(source).outer.path
        problem = no_file(path) if path is not None else None
        if problem is not None:
            yield _message(spec, "source-not-found", problem, NO_FILE_HINT)
    model = Source.of(spec.source).path
    if model is not None and model.is_file():
        try:
            external_data.files(model)
        except (ExternalDataError, OSError) as error:
            yield _message(spec, "onnx-external-data", str(error))
    for plugin in spec.plugins:
        problem = no_file(Path(plugin.file))
        if problem is not None:
            yield _message(spec, "plugin-invalid", problem)


def _of_secrets(spec: ModelSpec) -> Iterator[Message]:
    if spec.key is None and is_encrypted(spec.source):
        hint = "add key: {env: NAME}; the key is on the model's page on NGC"
        yield _message(spec, "etlt-key-missing", "an .etlt is encrypted, and the manifest names no key", hint)
    for read in (spec.key.read if spec.key else None, spec.network.secrets):
        try:
            if read is not None:
                read()
        except PrepareModelsError as error:
            yield _message(spec, error.code, error.message, error.hint)


def _of_samples(spec: ModelSpec) -> Iterator[Message]:
    if spec.calibration is not None and (problem := spec.calibration.problem()) is not None:
        yield _message(spec, "calibration-samples-unusable", problem, SAMPLES_HINT)
    elif spec.precision in _NEED_SCALES and spec.calibration is None and spec.calibration_cache is None:
        text = f"{spec.precision} without calibration: or calibration_cache: needs a model that has Q/DQ nodes"
        hint = "add one of them, or see what the model has: prepare-models check"
        yield _message(spec, "calibration-missing", text, hint, kind="warning")
    verify = spec.verify
    problem = verify.images.problem() if verify is not None and verify.images is not None else None
    if verify is not None and verify.npz is not None:
        problem = no_file(Path(verify.npz))
    if problem is not None:
        yield _message(spec, "verification-samples-unusable", problem, SAMPLES_HINT if verify and verify.images else "")


def _message(spec: ModelSpec, code: str, message: str, hint: str = "", *, kind: str = "error") -> Message:
    return Message(kind, code, spec.label, message, hint or ERRORS[code].advice)
