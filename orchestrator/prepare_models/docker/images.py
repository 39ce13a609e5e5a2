"""Building this tool's images: the context is part of the package, so that an installed wheel can build, too."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION

from .. import __version__
from ..errors import HostError, UsageError
from ..machine.platforms import Platform, table
from .container import Containers
from .daemon import MACHINES

_ENTRYPOINT = "prepare_models_entrypoint"
_CONVERTER = "tao-converter"
_AUTHORITY = "docker/requirements/ca.pem"  # where Dockerfiles look for it
DOCKER_ARCH = {machine: arch for arch, machine in MACHINES.items()}


def docker_directory() -> Path:
    """Return the directory of the Dockerfiles: package data of an installed wheel, or the checkout's own."""
    installed = Path(__file__).parents[1] / "dockerfiles"
    checkout = Path(__file__).parents[3] / "docker"
    for directory in (installed, checkout):
        if (directory / "rtx.Dockerfile").is_file():
            return directory
    raise HostError(f"the Dockerfiles are missing: {installed}", hint="install prepare-models again")


def context(*, tao_converter: Path | None = None, ca: Path | None = None) -> io.BytesIO:
    """Return the build context as a tar, laid out as in the repository; equal files give equal bytes."""
    entrypoint, directory, stream = Path(sys.modules[_ENTRYPOINT].__path__[0]), docker_directory(), io.BytesIO()
    code = [file for file in entrypoint.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    files = {f"entrypoint/{_ENTRYPOINT}/{file.relative_to(entrypoint)}": file for file in code}
    files |= {f"docker/{file.name}": file for file in directory.glob("*.Dockerfile")}
    files |= {f"docker/requirements/{file.name}": file for file in (directory / "requirements").glob("*.txt")}
    if tao_converter is not None:
        files[f"docker/{_CONVERTER}/{_CONVERTER}"] = tao_converter
    if ca is not None:
        files[_AUTHORITY] = ca
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, file in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
    stream.seek(0)
    return stream


def build(
    containers: Containers,
    platform: Platform,
    *,
    base_image: str | None = None,
    network: str | None = None,
    arch: str | None = None,
    tao_converter: Path | None = None,
    tag: str | None = None,
    ca: Path | None = None,
    build_args: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Build the image of a platform; yield the builder's lines.

    ``base_image``, ``tag``: in place of the platform's. ``network``: of the build's own containers, such as host.
    ``arch``: x86_64 or aarch64; None means the container engine's own. ``tao_converter``: NVIDIA's converter to put
    into the image. ``ca``: certificates (PEM) that pip trusts in the build, too. ``build_args``: further
    arguments, such as HTTPS_PROXY.

    Raises:
        UsageError: this platform's TensorRT has no tao-converter.
    """
    if tao_converter is not None and not platform.tensorrt.startswith("8."):
        with_one = ", ".join(row.name for row in table() if row.tensorrt.startswith("8."))
        raise UsageError(
            f"tao-converter was last published for TensorRT 8; {platform.name} has {platform.tensorrt}",
            hint=f"leave --tao-converter out, or choose a platform that it works on: {with_one}",
        )
    wanted = {
        **build_args,
        "BASE_IMAGE": base_image or platform.base,
        "VERSION": __version__,
        "REVISION": revision(),
        "CONTRACT": str(CONTRACT_VERSION),
        "PLATFORM": platform.name,
    }
    yield from containers.build(
        context(tao_converter=tao_converter, ca=ca),
        dockerfile=f"docker/{platform.dockerfile}",
        tag=tag or platform.image,
        buildargs=wanted,
        target=_CONVERTER if tao_converter else "runtime",
        network_mode=network,
        platform=f"linux/{DOCKER_ARCH[arch]}" if arch else None,
    )


def revision() -> str:
    """Return the commit of the checkout with this code, or ``unknown`` for an installed wheel."""
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():
        return "unknown"
    git = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
