"""What builds need on a machine: containers, this Python, directories, clock and network."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prepare_models_entrypoint.contract import backends, converters, extras, known_faults, packages, sizes
from prepare_models_entrypoint.contract.values import Value

from ..docker import daemon_errors, gpu
from ..docker.daemon import Daemon
from ..errors import HostError
from ..support.paths import cache_dir
from . import platforms
from .environments import unavailable
from .facts import Machine, Power
from .platforms import Platform

if TYPE_CHECKING:
    from ..docker.container import Containers


OK = "ok"
WARN = "warn"
FAIL = "fail"

CONTAINERS, LOCAL = "docker", "local"  # executors


class Finding(Value):
    """One thing that was checked. of: the executor that needs it; empty if all do."""

    name: str
    status: str
    message: str
    fix: str = ""
    of: str = ""


_ENGINE_BYTES = 2 << 30
_RTX_IMAGE_BYTES = 2 << 30
_TENSORRT_IMAGE_BYTES = 15 << 30
_SMALL_MEMORY_BYTES, _LARGE_MEMORY_BYTES, _SWAP_BYTES = 9 * 10**9, 20 * 10**9, 3 * 10**9
_SWAP = (
    "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile; "
    "a line '/swapfile none swap sw 0 0' in /etc/fstab keeps it"
)
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def examine(
    machine: Machine, *, models_dir: Path, platform: str | None, image: str | None = None,
    automatic: str | HostError | None = None, power: Power | None = None,
) -> list[Finding]:  # fmt: skip
    """Return all findings.

    ``platform``, ``image``: what the user wants, None for the machine's own. ``automatic``: the executor that ``auto``
    means, or why there is none; None if another machine was probed, about which neither this Python nor the container
    engine's images say anything. Unless a platform was asked for, only what it needs can fail. ``power``: the state of
    a Jetson.

    Raises:
        UsageError: there is no platform with that name.
    """
    findings = list(_machine(machine))
    chosen, reason = _platform(machine, platform)
    containers, answer = _connect()
    findings += [reason, answer]
    if chosen is not None:
        findings += _fits(machine, chosen)
    if containers is not None:
        findings += _engine(containers, machine, chosen)
        if chosen is not None and automatic is not None:
            findings += _image(containers, chosen, image or chosen.image)
    if automatic is not None:
        findings += [_automatic(automatic), *_this_python(machine)]
        if not platform and isinstance(automatic, str):  # what others lack than the one that works is a warning
            findings = [
                replace(each, status=WARN) if each.status == FAIL and each.of not in ("", automatic) else each
                for each in findings
            ]
    findings += [*_memory(machine), *([_power(power)] if power else [])]
    findings += [_writable("models directory", models_dir), _writable("cache", cache_dir())]
    return [*findings, _clock(), *_network()]


def _automatic(automatic: str | HostError) -> Finding:
    if isinstance(automatic, HostError):
        return Finding("executor", FAIL, automatic.message, automatic.hint)
    what = "containers" if automatic == CONTAINERS else "this Python"
    return Finding("executor", OK, f"auto takes {automatic}: {what}")


def _machine(machine: Machine) -> Iterator[Finding]:
    if machine.jetson:
        module = f", module {machine.board}" if machine.board else ""
        soc = machine.soc or "unknown SoC"
        board = f"{machine.model or 'a Jetson'} ({soc}{module}), L4T "
        board += platforms.dotted(machine.l4t) if machine.l4t else "unknown"
        yield Finding("machine", OK if machine.l4t else WARN, board, "" if machine.l4t else "name its --platform")
        if machine.l4t:
            yield Finding("JetPack", OK, platforms.about_jetpack(machine))
    else:
        for card in machine.gpus:
            capability = card.compute_capability or "unknown"
            text = f"GPU {card.index}: {card.name}, compute capability {capability}, driver {card.driver}"
            yield Finding("machine", OK, text)
        if len(machine.capabilities) > 1:
            kinds = ", ".join(machine.capabilities)
            text = f"different GPUs ({kinds}): an engine runs only on the kind that built it"
            yield Finding("machine", WARN, text, "choose the GPU that will run them: --gpu NUMBER")
        if machine.gpus and machine.gpu_reason:
            yield Finding("machine", WARN, machine.gpu_reason, machine.gpu_fix)
        if not machine.gpus:
            fix = f"nothing to do to build engines ahead of time with TensorRT-RTX; otherwise {machine.gpu_fix}"
            yield Finding("machine", WARN, f"{machine.arch}, no GPU: {machine.gpu_reason}", fix)
    if machine.cdi:
        yield Finding("CDI", OK, f"specifications name {', '.join(machine.cdi)}")
    elif machine.gpus or machine.jetson:
        mode = "--mode=csv " if machine.jetson else ""
        generate = f"sudo nvidia-ctk cdi generate {mode}--output=/etc/cdi/nvidia.yaml"
        fix = f"only needed without the runtime nvidia: {generate}"
        yield Finding("CDI", WARN, "no specification names a GPU", fix)


def _platform(machine: Machine, name: str | None) -> tuple[Platform | None, Finding]:
    try:
        choice = platforms.Choice(platforms.named(name), "--platform") if name else platforms.pick(machine)
    except HostError as error:
        return None, Finding("platform", FAIL, error.message, error.hint, of=CONTAINERS)
    return choice.platform, Finding("platform", OK, f"{choice.platform.name}: {choice.reason}")


def _fits(machine: Machine, chosen: Platform) -> Iterator[Finding]:
    why_not = platforms.unsuitable(chosen, machine)
    what = "L4T against image" if chosen.l4t else "driver against image"
    if why_not is not None:
        yield Finding(what, FAIL, why_not, "leave --platform out, or see docs/platforms.md", of=CONTAINERS)
    elif chosen.l4t:
        yield Finding(what, OK, f"{chosen.name} runs on L4T {chosen.l4t[0]} to {chosen.l4t[1]}")
    elif chosen.min_driver and machine.gpus:
        yield Finding(what, OK, f"{chosen.name} needs {chosen.min_driver}, found {machine.gpus[0].driver}")
    elif chosen.min_driver:
        message = f"{chosen.name} needs a GPU: {machine.gpu_reason}"
        yield Finding(what, FAIL, message, "use --platform rtx", of=CONTAINERS)
    if not chosen.confirmed:
        text = f"base image {chosen.base_image} was not confirmed for {chosen.name}"
        yield Finding("base image", WARN, text, "if it is wrong, use --base-image and report it", of=CONTAINERS)
    for fault in () if chosen.builds_without_gpu else known_faults.of_version(chosen.tensorrt, machine.capabilities):
        yield Finding("known faults", WARN, fault["message"], fault["hint"], of=CONTAINERS)


def _connect() -> tuple[Containers | None, Finding]:
    from ..docker.container import Containers

    try:
        containers = Containers()
    except HostError as error:
        return None, Finding("engine", FAIL, f"{error.message} [{error.code}]", error.hint, of=CONTAINERS)
    found = containers.daemon
    kind = "Podman" if found.podman else "Docker"
    notes = ", rootless" if found.rootless else ""
    message = f"{kind} {found.version}, API {platforms.dotted(found.api)}{notes}"
    if found.api < gpu.DEVICE_REQUEST_API:
        text = f"{message} is too old"
        return containers, Finding("engine", FAIL, text, "install Docker 19.03 or later", of=CONTAINERS)
    return containers, Finding("engine", OK, message)


def _engine(containers: Containers, machine: Machine, chosen: Platform | None) -> Iterator[Finding]:
    daemon = containers.daemon
    if not daemon.local:
        text = "the engine is on another machine, to which files are sent; this report is about this machine"
        fix = "give --platform NAME to run, and run prepare-models doctor there"
        yield Finding("engine's place", WARN, text, fix)
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
        return Finding("GPU access", FAIL, error.message, error.hint, of=CONTAINERS)
    text = f"{access.way}: {access.reason}"
    # No container engine reports whether it has the hook. If nothing else of its package exists, it is missing.
    if access.way == gpu.DEVICE_REQUEST and not machine.toolkit and gpu.NVIDIA_RUNTIME not in daemon.runtimes:
        message = f"{text}, which is not installed"
        return Finding("GPU access", FAIL, message, daemon_errors.TOOLKIT, of=CONTAINERS)
    return Finding("GPU access", OK, text)


def _image(containers: Containers, chosen: Platform, name: str) -> Iterator[Finding]:
    image = containers.image(name)
    build = f"prepare-models image build --platform {chosen.name}"
    if image is None:
        text = f"the container engine does not have {name}"
        yield Finding("image", FAIL, text, f"{build}; or image pull, image load", of=CONTAINERS)
        return
    why_not = image.unfit()
    if why_not is None:
        yield Finding("image", OK, f"{name}, {sizes.readable(image.bytes)}")
    else:
        yield Finding("image", FAIL, f"{name}: {why_not}", build, of=CONTAINERS)


def _memory(machine: Machine) -> Iterator[Finding]:
    """Look for swap where builds are likely to need it: a small machine, or a GPU that uses the same memory."""
    if not machine.memory_bytes or (machine.memory_bytes > _SMALL_MEMORY_BYTES and not machine.jetson):
        return
    message = f"{sizes.readable(machine.memory_bytes)}, {sizes.readable(machine.swap_bytes)} of swap on disks"
    if machine.swap_bytes >= _SWAP_BYTES or machine.memory_bytes > _LARGE_MEMORY_BYTES:
        yield Finding("memory", OK, message)
    else:
        yield Finding("memory", WARN, f"{message}; a large model's build may be killed", _SWAP)


def _power(power: Power) -> Finding:
    clocks = {True: ", clocks fixed", False: ", clocks vary", None: ""}[power["clocks_fixed"]]
    hottest = max(power["celsius"].items(), key=lambda zone: zone[1], default=None)
    heat = f", {hottest[0]} {hottest[1]:.0f} °C" if hottest else ""
    return Finding("power", OK, f"nvpmodel mode {power['mode']}{clocks}{heat}")


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
    """Check the clock: a time before this tool's installation, as on boards without one, breaks all certificates."""
    installed = Path(__file__).stat().st_mtime
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    if time.time() < installed - 86400:
        return Finding("clock", FAIL, f"it says {now}, before this tool was made", "sudo timedatectl set-ntp true")
    return Finding("clock", OK, f"{now} UTC")


def _network() -> Iterator[Finding]:
    proxies = [name for each in _PROXIES for name in (each, each.lower()) if os.environ.get(name)]
    wrong = [name for name in proxies if not _is_proxy(os.environ[name])]
    if wrong:  # the value is not repeated, as it may contain a password
        text = f"{', '.join(wrong)}: not the address of a proxy"
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
    """Check whether TLS finds certificates where a variable says."""
    name, fix = f"CA of {variable}", f"correct or unset {variable}"
    try:
        if not (place.is_dir() if variable.endswith("DIR") else place.exists()):
            return Finding(name, FAIL, f"{variable} names {place}, which doesn't exist", fix)
        if place.is_file():
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=place)
    except OSError as error:  # ssl.SSLError is one
        return Finding(name, FAIL, f"{variable} names {place}, where no certificate can be read: {error}", fix)
    return Finding(name, OK, f"{variable}: {place}")


# Packages of an extra of this distribution, beyond those of every installation.
EXTRAS = {
    "calibrate": ("onnxruntime", "pillow"),
    "verify": ("onnxruntime", "pillow", "polygraphy"),
    "sanitize": ("onnx-graphsurgeon", "onnxruntime", "polygraphy"),
    "modelopt": ("nvidia-modelopt",),
}
_CODEC = "pip install cryptography and then pip install --no-deps nvidia-eff-tao-encryption"


def _this_python(machine: Machine) -> Iterator[Finding]:
    """Check what builds in this Python need, without importing any of it."""
    installed, found = packages.installed(), converters.find()
    yield from _backend(machine)
    if "onnx" in installed:
        yield Finding("onnx here", OK, f"onnx {installed['onnx']}", of=LOCAL)
    else:
        text = "onnx is not installed: models can't be changed"
        yield Finding("onnx here", WARN, text, extras.install("local"), of=LOCAL)
    yield _codec(found.codec)
    programs = [f"{name} {path}" for name, path in found.programs.items()]
    yield Finding("converters here", OK, ", ".join(programs) or "no trtexec, no tao-converter", of=LOCAL)
    there = [name for name, needed in EXTRAS.items() if set(needed) <= set(installed)]
    absent = [name for name in EXTRAS if name not in there]
    text = f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    yield Finding("extras here", OK, text, of=LOCAL)


def _backend(machine: Machine) -> Iterator[Finding]:
    backend, why_not = backends.installed_backend(), unavailable()
    if why_not is not None:
        yield Finding("TensorRT here", FAIL, why_not, extras.install("local"), of=LOCAL)
        return
    name, version = (backend["name"], backend["version"]) if backend else ("trtexec", backends.library_version() or "")
    text = f"{name} {version}".strip()
    if name == "tensorrt_rtx":
        text += ", which builds without a GPU, for RTX GPUs only: not for Isaac ROS and Triton"
        yield Finding("TensorRT here", OK, text, of=LOCAL)
        return
    if not (machine.gpus or machine.jetson):
        text += f", which builds on a GPU, and there is none: {machine.gpu_reason}"
        yield Finding("TensorRT here", FAIL, text, machine.gpu_fix, of=LOCAL)
    else:
        yield Finding("TensorRT here", OK, text, of=LOCAL)
    for fault in known_faults.of_version(version, machine.capabilities):
        yield Finding("known faults", WARN, fault["message"], fault["hint"], of=LOCAL)


def _codec(installed: bool) -> Finding:
    if installed:
        return Finding(".etlt here", OK, "NVIDIA's codec is installed", of=LOCAL)
    possible = os.uname().machine == "x86_64" and sys.version_info[:2] in ((3, 10), (3, 12))
    fix = _CODEC if possible else "decrypt .etlt models on x86_64 with Python 3.10 or 3.12, or in an image"
    text = "NVIDIA's codec is not installed: .etlt models can't be decrypted"
    return Finding(".etlt here", WARN, text, fix, of=LOCAL)
