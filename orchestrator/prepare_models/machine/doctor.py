"""What containers need on this machine: each finding is ok, warn or fail, and names its fix."""

from __future__ import annotations

import os
import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..docker import daemon_errors, gpu
from ..docker.daemon import Daemon
from ..errors import HostError
from ..support.paths import cache_dir
from . import platforms
from .facts import Machine
from .platforms import Platform

if TYPE_CHECKING:
    from ..docker.container import Containers

OK = "ok"
WARN = "warn"
FAIL = "fail"

_OLDEST_API = (1, 40)
_ENGINE_BYTES = 2 << 30
_RTX_IMAGE_BYTES = 2 << 30
_TENSORRT_IMAGE_BYTES = 15 << 30
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: str
    message: str
    fix: str = ""


def examine(machine: Machine, *, models_dir: Path, platform: str | None, is_this_machine: bool = True) -> list[Finding]:
    """Return all findings.

    Args:
        machine: what was probed.
        models_dir: where engines shall go.
        platform: name of the platform that the user wants, None for the machine's own.
        is_this_machine: whether ``machine`` was probed here, so that the engine's word about images counts for it.

    Raises:
        UsageError: there is no platform of that name.
    """
    findings = list(_machine(machine))
    chosen, reason = _platform(machine, platform)
    findings.append(reason)
    containers, answer = _connect()
    findings.append(answer)
    if chosen is not None:
        findings += _fits(machine, chosen)
    if containers is not None:
        findings += _engine(containers, machine, chosen)
        if chosen is not None and is_this_machine:
            findings += _image(containers, chosen)
    findings += [_writable("models directory", models_dir), _writable("cache", cache_dir())]
    findings += [_clock(), *_network()]
    return findings


def _machine(machine: Machine) -> Iterator[Finding]:
    if machine.jetson:
        module = f", module {machine.board}" if machine.board else ""
        soc = machine.soc or "unknown SoC"
        board = f"{machine.model or 'a Jetson'} ({soc}{module}), L4T "
        board += platforms.dotted(machine.l4t) if machine.l4t else "unknown"
        yield Finding("machine", OK if machine.l4t else WARN, board, "" if machine.l4t else "name its --platform")
    else:
        for card in machine.gpus:
            capability = card.compute_capability or "unknown"
            text = f"GPU {card.index}: {card.name}, compute capability {capability}, driver {card.driver}"
            yield Finding("machine", OK, text)
        if len(machine.capabilities) > 1:
            yield Finding(
                "machine",
                WARN,
                f"unlike GPUs ({', '.join(machine.capabilities)}): an engine serves the kind of GPU that built it",
                "choose the GPU that will run them: --gpu NUMBER",
            )
        if not machine.gpus:
            yield Finding(
                "machine",
                WARN,
                f"{machine.arch}, no GPU: {machine.gpu_reason}",
                f"nothing, to build engines ahead of time with TensorRT-RTX; else {machine.gpu_fix}",
            )
    if machine.cdi:
        yield Finding("CDI", OK, f"specifications name {', '.join(machine.cdi)}")
    elif machine.gpus or machine.jetson:
        mode = "--mode=csv " if machine.jetson else ""
        yield Finding(
            "CDI",
            WARN,
            "no specification names a GPU",
            f"only needed without the runtime nvidia: sudo nvidia-ctk cdi generate {mode}--output=/etc/cdi/nvidia.yaml",
        )


def _platform(machine: Machine, name: str | None) -> tuple[Platform | None, Finding]:
    try:
        choice = platforms.Choice(platforms.named(name), "--platform") if name else platforms.pick(machine)
    except HostError as error:
        return None, Finding("platform", FAIL, error.message, error.hint)
    return choice.platform, Finding("platform", OK, f"{choice.platform.name}: {choice.reason}")


def _fits(machine: Machine, chosen: Platform) -> Iterator[Finding]:
    why_not = platforms.unsuitable(chosen, machine)
    what = "L4T against image" if chosen.l4t else "driver against image"
    if why_not is not None:
        yield Finding(what, FAIL, why_not, "leave --platform out, or see docs/platforms.md")
    elif chosen.l4t:
        yield Finding(what, OK, f"{chosen.name} runs on L4T {chosen.l4t[0]} to {chosen.l4t[1]}")
    elif chosen.min_driver and machine.gpus:
        yield Finding(what, OK, f"{chosen.name} needs {chosen.min_driver}, found {machine.gpus[0].driver}")
    elif chosen.min_driver:
        yield Finding(what, FAIL, f"{chosen.name} needs a GPU: {machine.gpu_reason}", "use --platform rtx")
    if not chosen.confirmed:
        text = f"base image {chosen.base_image} was not confirmed for {chosen.name}"
        yield Finding("base image", WARN, text, "if it is wrong, use --base-image and report it")


def _connect() -> tuple[Containers | None, Finding]:
    from ..docker.container import Containers

    try:
        containers = Containers()
    except HostError as error:
        return None, Finding("engine", FAIL, f"{error.message} [{error.code}]", error.hint)
    found = containers.daemon
    kind = "Podman" if found.podman else "Docker"
    notes = ", rootless" if found.rootless else ""
    message = f"{kind} {found.version}, API {platforms.dotted(found.api)}{notes}"
    if found.api < _OLDEST_API:
        return containers, Finding("engine", FAIL, f"{message} is too old", "install Docker 19.03 or later")
    return containers, Finding("engine", OK, message)


def _engine(containers: Containers, machine: Machine, chosen: Platform | None) -> Iterator[Finding]:
    daemon = containers.daemon
    if not daemon.local:
        yield Finding(
            "engine's place",
            WARN,
            "the engine is on another machine, to which files are sent; what is told here is of this one",
            "give --platform NAME to run, and run prepare-models doctor there",
        )
        return
    if daemon.arch and daemon.arch != machine.arch:
        text = f"the engine's machine is {daemon.arch}, this one {machine.arch}"
        yield Finding("architecture", WARN, text, "build on the machine that the engines are for")
    if chosen is not None and not chosen.builds_without_gpu:
        yield gpu_access(daemon, machine)
    if daemon.docker_root and Path(daemon.docker_root).exists():
        needed = _RTX_IMAGE_BYTES if chosen is None or chosen.builds_without_gpu else _TENSORRT_IMAGE_BYTES
        yield _space("disk for images", Path(daemon.docker_root), needed, "docker image prune, or move data-root")


def gpu_access(daemon: Daemon, machine: Machine) -> Finding:
    """Return how a container would get the GPU, or what is missing for it."""
    try:
        access = gpu.choose(daemon, machine)
    except HostError as error:
        return Finding("GPU access", FAIL, error.message, error.hint)
    text = f"{access.way}: {access.reason}"
    # No engine tells whether it has the hook. Where its package brought nothing else either, it is not there.
    if access.way == gpu.DEVICE_REQUEST and not machine.toolkit and gpu.NVIDIA_RUNTIME not in daemon.runtimes:
        return Finding("GPU access", FAIL, f"{text}, which is not installed", daemon_errors.TOOLKIT)
    return Finding("GPU access", OK, text)


def _image(containers: Containers, chosen: Platform) -> Iterator[Finding]:
    image = containers.image(chosen.image)
    build = f"prepare-models image build --platform {chosen.name}"
    if image is None:
        yield Finding("image", FAIL, f"the engine does not have {chosen.image}", f"{build}; or image pull, image load")
        return
    why_not = image.unfit()
    if why_not is None:
        yield Finding("image", OK, f"{chosen.image}, {image.bytes / 1e6:.0f} MB")
    else:
        yield Finding("image", FAIL, f"{chosen.image}: {why_not}", build)


def _writable(name: str, path: Path) -> Finding:
    existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding(name, FAIL, f"{existing} can't be written by this user", "choose another, or give write access")
    return _space(name, existing, _ENGINE_BYTES, "free space there, or choose another disk", what=str(path))


def _space(name: str, path: Path, needed: int, fix: str, *, what: str = "") -> Finding:
    free = shutil.disk_usage(path).free
    message = f"{what or path}: {free / 1e9:.0f} GB free"
    if free < needed:
        return Finding(name, WARN, f"{message}, {needed / 1e9:.0f} GB are needed", fix)
    return Finding(name, OK, message)


def _clock() -> Finding:
    """A clock that stands before this tool was installed makes every certificate invalid, as on boards without one."""
    installed = Path(__file__).stat().st_mtime
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    if time.time() < installed - 86400:
        return Finding("clock", FAIL, f"it says {now}, before this tool was made", "sudo timedatectl set-ntp true")
    return Finding("clock", OK, f"{now} UTC")


def _network() -> Iterator[Finding]:
    proxies = [name for each in _PROXIES for name in (each, each.lower()) if os.environ.get(name)]
    wrong = [name for name in proxies if not _is_proxy(os.environ[name])]
    if wrong:  # the value is not repeated, it may hold a password
        text = f"{', '.join(wrong)}: no address of a proxy"
        yield Finding("proxy", FAIL, text, "write http://HOST:PORT, or unset it")
    elif proxies:
        yield Finding("proxy", OK, f"{', '.join(proxies)} set; containers that download get it")
    else:
        yield Finding("proxy", OK, "none set")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        if os.environ.get(name):
            yield _authority(name, Path(os.environ[name]))


def _is_proxy(text: str) -> bool:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _authority(variable: str, place: Path) -> Finding:
    """Look whether TLS finds certificates where a variable says."""
    name, fix = f"CA of {variable}", f"correct or unset {variable}"
    try:
        if not (place.is_dir() if variable.endswith("DIR") else place.exists()):
            return Finding(name, FAIL, f"{variable} names {place}, which is not there", fix)
        if place.is_file():
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=place)
    except OSError as error:  # ssl.SSLError is one
        return Finding(name, FAIL, f"{variable} names {place}, where no certificate can be read: {error}", fix)
    return Finding(name, OK, f"{variable}: {place}")
