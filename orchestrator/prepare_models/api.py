"""The functions of the Python API, available as ``import prepare_models``; see docs/python.md.

They don't print, exit or set signal handlers, so they work in any thread. A call that fails raises a
PrepareModelsError with ``code``, ``message`` and ``hint``; a model that fails is part of the result.

Each function imports what the others don't need.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.event import PROGRESS, Event

from .executors import choice
from .manifest.model import Manifest
from .options import ContainerOptions, RunSettings, Sharing, Signatures
from .reports.documents import Conversion, RunReport
from .running import selection
from .running.progress import Events, Observer, OnEvent
from .running.selection import Bundle, Chosen, Delivery, ManifestLike, OnBytes, Selection, StrPath
from .support import paths
from .support.os_errors import in_words

if TYPE_CHECKING:
    from .manifest.draft import ShapeText
    from .planning.plan import Plan
    from .provisioning.health import Health
    from .provisioning.status_document import Provisioned, Rollback
    from .running.inspecting import Inspection, LintReport

_HERE = ContainerOptions()
_UNSIGNED = Signatures()
_AS_IT_SAYS = Delivery()
_BUNDLE, _VERIFY = "bundle", "verify"  # stage and phase of events before those of the first model


@contextlib.contextmanager
def _call() -> Iterator[None]:
    """Leave a bundle's scope when the call ends, and raise this machine's shortcomings like any other failure."""
    with paths.own_scope(), in_words():
        yield


@_call()
def load(manifest: ManifestLike) -> Manifest:
    """Read and check a manifest.

    Args:
        manifest: path of a models.yaml, or its content as a dict, with paths relative to the current directory.

    Raises:
        UsageError: there is no such file.
        ManifestError: it has problems; ``problems`` lists each with line and path, such as ``models[2].inputs``.
    """
    return selection.manifest_of(manifest)


@_call()
def run(
    manifest: ManifestLike | Bundle,
    *,
    models: Sequence[str] = (),
    models_dir: StrPath = "models",
    executor: str = "auto",
    containers: ContainerOptions = _HERE,
    delivery: Delivery = _AS_IT_SAYS,
    locked: bool = False,
    signatures: Signatures = _UNSIGNED,
    sharing: Sharing | None = None,
    jobs: int = 1,
    fail_fast: bool = False,
    force: bool = False,
    timeout_s: float | None = None,
    accept_eula: bool = False,
    reports: Mapping[str, StrPath] | None = None,
    on_event: OnEvent | None = None,
    observer: Observer | None = None,
) -> RunReport:
    """Fetch, convert and inspect the models of a manifest, as ``prepare-models run`` does.

    Args:
        manifest: path, content as a dict, result of ``load``, or a bundle, which needs no network.
        models: names of the models to work on; none means all.
        models_dir: Triton model repository for the engines. It is created, and the run's report.json goes there, too.
        executor: ``auto``, ``local``, ``docker`` or ``dask``.
        containers: platform, image, GPU and memory (bytes) of containers; how a farm is reached.
        delivery: names in ROS 2 messages, consumers and deploy_dir, where not the manifest has them.
        locked: refuse whatever differs from the lock next to the manifest.
        signatures: which signature lock or bundle must have.
        sharing: shared store that engines come from, or go to.
        jobs: models to work on at once, at least 1.
        fail_fast: start no further model after a failure.
        force: build engines that are up to date, too.
        timeout_s: seconds for the conversion of one model; None means 6 hours.
        accept_eula: whether you accept the terms of use of the models.
        reports: further files for the report, by form: json, html, markdown, junit.
        on_event: called with each event, one at a time, in the run's own threads. An exception in it ends the run and
        reaches the caller.
        observer: gets the same events as calls of its methods, some of them concurrent.

    Returns:
        The result of each model, including failures; ``raise_for_failure`` raises an exception for these.

    Raises:
        PrepareModelsError: the run could not be started or finished. docs/python.md has the classes.
    """
    started = time.time()
    from .running import runner

    settings = RunSettings(
        Path(models_dir), jobs, fail_fast, force, timeout_s, accept_eula, _paths(reports or {}), sharing
    )
    runner.get_ready(settings)
    hears = _observer(on_event, observer)
    wanted = Selection(manifest, models, locked, signatures, delivery, executor, containers)
    chosen = selection.chosen(wanted, _verifying(hears), accepts=True)
    return RunReport(runner.perform(chosen, settings, hears, started=started))


@_call()
def convert(  # noqa: D417  # the others are those of run
    model: StrPath,
    *,
    name: str | None = None,
    precision: str | None = None,
    shapes: Mapping[str, ShapeText | Mapping[str, ShapeText]] | None = None,
    images: StrPath | None = None,
    key_file: StrPath | None = None,
    key_env: str | None = None,
    write_manifest: StrPath | None = None,
    models_dir: StrPath = "models",
    executor: str = "auto",
    containers: ContainerOptions = _HERE,
    delivery: Delivery = _AS_IT_SAYS,
    force: bool = False,
    timeout_s: float | None = None,
    accept_eula: bool = False,
    reports: Mapping[str, StrPath] | None = None,
    on_event: OnEvent | None = None,
    observer: Observer | None = None,
) -> Conversion:
    """Convert one model without a manifest, as ``prepare-models convert`` does.

    Args:
        model: path, https://, ngc:// or hf:// URL, or ``catalog:NAME``; ``#sha256=HEX`` pins it.
        name: the model's directory and its name in Triton; None means its file's name.
        precision: fp32, fp16, bf16, int8, fp8 or auto; None means the precision in the catalog, else fp32.
        shapes: of dynamic inputs by name: ``"1x3x640x640"``, ``(1, 3, 640, 640)``, or a dict with min, opt and max.
        images: directory of typical samples, used to calibrate int8 and to verify the engine.
        key_file: file with the key of an .etlt.
        key_env: environment variable with that key.
        write_manifest: file for a manifest that repeats the conversion.
        models_dir, executor, containers, delivery, force, timeout_s, accept_eula: as in ``run``.
        reports, on_event, observer: as in ``run``.

    Returns:
        The model's result, and the text of that manifest.

    Raises:
        UsageError: a value is invalid.
        PrepareModelsError: as ``run``.
    """
    started = time.time()
    from .manifest import draft
    from .running import runner

    settings = RunSettings(Path(models_dir), 1, False, force, timeout_s, accept_eula, _paths(reports or {}))
    runner.get_ready(settings)
    target = None if write_manifest is None else Path(write_manifest)
    wanted = draft.SingleModel(str(model), name, precision, shapes or {}, _path(images), _path(key_file), key_env)
    drafted = wanted.draft((target or Path("models.yaml")).absolute().parent)
    loaded = draft.load(drafted, target)
    specs = delivery.of(loaded.models)
    chosen = Chosen(loaded, specs, choice.pick(executor, containers))
    if target is not None:
        draft.keep(drafted, target)
    report = runner.perform(chosen, settings, _observer(on_event, observer), started=started)
    return Conversion(report, draft.manifest([drafted], head=draft.START))


@_call()
def plan(
    manifest: ManifestLike | Bundle,
    *,
    models: Sequence[str] = (),
    models_dir: StrPath = "models",
    executor: str = "auto",
    containers: ContainerOptions = _HERE,
    delivery: Delivery = _AS_IT_SAYS,
    locked: bool = False,
    signatures: Signatures = _UNSIGNED,
    force: bool = False,
    on_event: OnEvent | None = None,
) -> Plan:
    """Return what ``run`` would do for each model, and why. Changes nothing; takes the arguments of ``run``.

    Raises:
        PrepareModelsError: ``run`` would raise it, too.
    """
    from .planning import plan as plans

    chosen = selection.chosen(
        Selection(manifest, models, locked, signatures, delivery, executor, containers),
        _verifying(_observer(on_event, None)),
    )
    return plans.make(chosen.specs, chosen.executor, Path(models_dir), force=force, elsewhere=chosen.elsewhere)


@_call()
def provision(  # noqa: D417  # the others are those of run
    manifest: ManifestLike | Bundle,
    *,
    models: Sequence[str] = (),
    models_dir: StrPath = "models",
    executor: str = "auto",
    containers: ContainerOptions = _HERE,
    delivery: Delivery = _AS_IT_SAYS,
    locked: bool = False,
    signatures: Signatures = _UNSIGNED,
    sharing: Sharing | None = None,
    force: bool = False,
    timeout_s: float | None = None,
    accept_eula: bool = False,
    device: str | None = None,
    keep: int = 2,
    health: Health | None = None,
    on_event: OnEvent | None = None,
    observer: Observer | None = None,
) -> Provisioned:
    """Update a models directory to what a manifest asks for, as ``prepare-models provision`` does.

    Missing engines are built in a separate directory, verified and linted; then each model switches to its new version
    atomically. A model that fails keeps serving its current version.

    Args:
        manifest, models, models_dir, executor, containers, delivery, locked, signatures, sharing, force, timeout_s:
            as in ``run``, and so is accept_eula; force also returns to a version that was taken back.
        device: name of this machine in status and ledger; None means its host name.
        keep: versions of each model that stay, at least 1.
        health: judges each new version once it is current; None keeps all.
        on_event, observer: as in ``run``; they also hear the phases of each model.

    Returns:
        The result of each model: the document that is also in ``provision.json`` of the models directory.

    Raises:
        PrepareModelsError: as ``run``; the status file has the error, too.
    """
    from .provisioning import provision as provisioning
    from .provisioning.status_document import Provisioned

    listener = _observer(on_event, observer)
    wanted = Selection(manifest, models, locked, signatures, delivery, executor, containers)
    run = RunSettings(Path(models_dir), force=force, timeout_s=timeout_s, accept_eula=accept_eula, sharing=sharing)
    settings = provisioning.Settings(run, device or os.uname().nodename, max(keep, 1), health)
    place = manifest.file if isinstance(manifest, Bundle) else manifest
    place = place.path if isinstance(place, Manifest) else place
    name = "" if isinstance(place, Mapping) else str(Path(place).absolute())  # of the manifest or bundle in a status
    choose = lambda: selection.chosen(wanted, _verifying(listener), accepts=True)  # noqa: E731  # shorter than a function
    return Provisioned(provisioning.perform(choose, name, settings, listener))


@_call()
def rollback(
    name: str, *, models_dir: StrPath = "models", to: int | None = None, device: str | None = None, why: str = ""
) -> Rollback:
    """Make an earlier version of a provisioned model current again, as ``prepare-models rollback`` does.

    Args:
        name: name of the model.
        models_dir: its models directory.
        to: version to switch to; None means the previous one.
        device: name of this machine in the ledger; None means its host name.
        why: reason for the ledger.

    Raises:
        UsageError: there is no such model or version.
        PrepareModelsError: there is no version to go back to, or it is damaged; ``code`` says which.
    """
    from .provisioning import provision as provisioning

    place = Path(models_dir).absolute()
    return provisioning.roll_back(
        name, place, device or os.uname().nodename, to=to, why=why or "rollback was asked for"
    )


@_call()
def inspect(
    file: StrPath, *, layers: bool = False, weights: bool = False, key_file: StrPath | None = None
) -> Inspection:
    """Describe an .onnx, .etlt, .plan or .engine, or the engines of a models directory.

    Args:
        file: its path.
        layers: also list layers or nodes in ``document``.
        weights: also list the weights of an ONNX model there.
        key_file: file with the key of an .etlt.

    Raises:
        InspectionError: it can't be read; ``code`` is one of docs/errors.md.
    """
    from .running import inspecting

    (document,) = inspecting.inspect([Path(file)], layers=layers, weights=weights, key_file=_path(key_file))
    return inspecting.inspection(document)


@_call()
def lint(models_dir: StrPath = "models", *, consumers: Sequence[str] = ()) -> LintReport:
    """Check a models directory against what Isaac ROS, Triton and DeepStream need.

    Args:
        models_dir: Triton model repository.
        consumers: whose rules to check, such as ``triton`` or ``isaac-ros@5.0``; empty: those in each model's record.

    Raises:
        InspectionError: there are no models; ``code`` is one of docs/errors.md.
    """
    from .running import inspecting

    return inspecting.lint_report(inspecting.lint(Path(models_dir), consumers))


def _path(given: StrPath | None) -> Path | None:
    return None if given is None else Path(given)


def _paths(given: Mapping[str, StrPath]) -> dict[str, Path]:
    return {form: Path(file) for form, file in given.items()}


def _observer(on_event: OnEvent | None, observer: Observer | None) -> Observer:
    return observer or (Observer() if on_event is None else Events(on_event))


def _verifying(observer: Observer) -> OnBytes:
    """Return a callback that reports to an observer how far a bundle is verified."""

    def tell(done: int, total: int) -> None:
        data = {"phase": _VERIFY, "done": done, "total": total}
        observer.event(Event(0, time.time(), PROGRESS, None, _BUNDLE, data))

    return tell
