"""What a call chose: models of a manifest or bundle, checked against the lock, and the executor that works on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from prepare_models_entrypoint.contract.values import Value

from ..errors import UsageError
from ..executors import choice
from ..executors.executor import Executor
from ..lock.document import Lock
from ..lock.pins import drift_of_platform, load, refuse
from ..manifest.load import of_value
from ..manifest.model import Manifest, ModelSpec
from ..options import ContainerOptions, Signatures
from ..planning import planner

OnBytes = Callable[[int, int], None]
StrPath = str | PathLike[str]
ManifestLike = StrPath | Mapping[str, object] | Manifest


class Bundle(Value):
    """A bundle's file, with manifest, models and images. ``bases``: bundles that it was made on top of."""

    file: StrPath
    bases: Sequence[StrPath] = ()


class Delivery(Value):
    """The consumers that engines are for. None or empty leaves the manifest's setting.

    tensor_names: names in ROS 2 messages by binding, of one model.
    """

    tensor_names: Mapping[str, str] = field(default_factory=dict)
    consumers: Sequence[str] = ()
    deploy_dir: str | None = None

    def of(self, specs: Sequence[ModelSpec]) -> Sequence[ModelSpec]:
        """Return models with these names, for these consumers.

        Raises:
            UsageError: there are names for one model, and several models.
        """
        if self.tensor_names and len(specs) != 1:
            known = ", ".join(spec.name for spec in specs)
            raise UsageError(f"--tensor-names is for one model, not for {known}", hint="name the model, or use ros:")
        chosen = self.tensor_names or self.consumers or self.deploy_dir
        return [self._applied(spec) for spec in specs] if chosen else specs

    def _applied(self, spec: ModelSpec) -> ModelSpec:
        ros = replace(spec.ros, by_binding=dict(self.tensor_names)) if self.tensor_names else spec.ros
        consumers = tuple(self.consumers) or spec.deployment.consumers
        place = self.deploy_dir or spec.deployment.deploy_dir
        return replace(spec, ros=ros, deployment=replace(spec.deployment, deploy_dir=place, consumers=consumers))


class Selection(Value):
    """Which models to prepare, where, and for which consumers.

    given: a manifest's file, its content, a loaded manifest, or a bundle. names: models; empty means all.
    locked: whether everything must match the manifest's lock.
    """

    given: ManifestLike | Bundle
    names: Sequence[str] = ()
    locked: bool = False
    signatures: Signatures = field(default_factory=Signatures)
    delivery: Delivery = field(default_factory=Delivery)
    executor: str = "auto"
    containers: ContainerOptions = field(default_factory=ContainerOptions)


class Chosen(NamedTuple):
    """A resolved selection.

    offline: whether all sources are local, from a bundle. elsewhere: models for targets not built here.
    """

    manifest: Manifest
    specs: Sequence[ModelSpec]
    executor: Executor
    offline: bool = False
    elsewhere: Sequence[ModelSpec] = ()


def chosen(selection: Selection, on_verified: OnBytes, *, accepts: bool = False) -> Chosen:
    """Return manifest, models and executor, checked against the lock.

    ``on_verified``: called with how many bytes of a bundle are verified, and of how many. ``accepts``: whether to
    refuse older editions of a signed bundle or lock from now on.
    """
    given, options = selection.given, selection.containers
    by_bundle = isinstance(given, Bundle)
    held_to: Lock | None
    if isinstance(given, Bundle):
        loaded, held_to, options = _unpacked(selection, given, on_verified, accepts=accepts)
    else:
        loaded, held_to = _loaded(given, selection, accepts=accepts)
    specs = selection.delivery.of(planner.select(loaded, selection.names))
    executor = choice.pick(selection.executor, options)
    if held_to is not None:
        refuse(drift_of_platform(held_to, *executor.locked_as()), None if by_bundle else loaded.path)
    here, others = _split_targets(loaded, specs, executor)
    return Chosen(loaded, here, executor, offline=by_bundle, elsewhere=others)


def _split_targets(
    manifest: Manifest, specs: Sequence[ModelSpec], executor: Executor
) -> tuple[Sequence[ModelSpec], Sequence[ModelSpec]]:
    """Return the models, each once for each of its targets: those that are built here, and those for other devices.

    Raises:
        UsageError: none is built here. HostError: the executor should build for a target and can't.
    """
    if not manifest.targets:
        return specs, ()
    pairs = [
        replace(spec, target=name, device=manifest.targets[name])
        for spec in specs
        for name in spec.targets or manifest.targets
    ]
    served = executor.serves({spec.device for spec in pairs})
    here = [spec for spec in pairs if spec.device in served]
    if not here:
        wanted = ", ".join(f"{name} ({device})" for name, device in manifest.targets.items())
        raise UsageError(
            f"engines are built here for {', '.join(served)}, and the manifest's targets are {wanted}",
            hint="build on a machine of one of them, on a farm with --executor dask, or add this one under targets:",
        )
    return here, [spec for spec in pairs if spec.device not in served]


def manifest_of(given: ManifestLike) -> Manifest:
    """Return a manifest from its file, its content, or itself."""
    if isinstance(given, Manifest):
        return given
    return of_value(given) if isinstance(given, Mapping) else load(Path(given))[0]


def _loaded(given: ManifestLike, selection: Selection, *, accepts: bool) -> tuple[Manifest, Lock | None]:
    """Return the manifest, and the lock if everything must match it."""
    locked = selection.locked
    if selection.signatures.required and not locked:
        hint = "give --locked: the signature is that of the lock"
        raise UsageError("--require-signed needs --locked or --bundle", hint=hint)
    if not isinstance(given, Manifest | Mapping):
        loaded, lock = load(Path(given), locked=locked, keys=selection.signatures.keys(), accepts=accepts)
        return loaded, lock if locked else None
    if locked:
        raise UsageError("only a manifest in a file has a lock next to it", hint="give the file's path")
    return manifest_of(given), None


def _unpacked(
    selection: Selection, bundle: Bundle, on_verified: OnBytes, *, accepts: bool
) -> tuple[Manifest, Lock, ContainerOptions]:
    """Verify and unpack a bundle, and load the image to use.

    An image is used if a container engine answers and the executor is not ``local``.
    """
    from ..bundle.unpack import load_image, unpack
    from ..docker import address

    options, keys = selection.containers, selection.signatures.keys()
    by_image = selection.executor != "local" and options.image is None
    by_image = by_image and (selection.executor == "docker" or address.may_answer())
    wanted = options.platform
    site = unpack(
        Path(bundle.file), [Path(base) for base in bundle.bases], keys, on_verified,
        lambda image: by_image and wanted in (None, image.platform), accepts=accepts,
    )  # fmt: skip
    image = site.image(wanted) if by_image and site.index.images else None
    if image is not None:
        load_image(site, image)
        options = replace(options, platform=image.platform, image=image.id)
    return site.manifest, site.lock, options
