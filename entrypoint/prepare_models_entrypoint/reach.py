"""Which files a process needs to build, compare or read a model: the system's, and the model's own."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Sequence

from .contract import external_data
from .contract.external_errors import ExternalDataError
from .contract.files import PathLike
from .landlock import Reach

if TYPE_CHECKING:
    from .contract.job import ModelJob
    from .contract.verification import SampleConfig

# Programs, libraries and what the kernel reports about this machine. None of these belong to users or are secret.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store")
_TOLD = (
    "/proc", "/sys", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/passwd",
    "/etc/group", "/etc/nsswitch.conf", "/etc/localtime", "/etc/alternatives", "/etc/nvidia", "/etc/nv_tegra_release",
    "/etc/nvsciipc.cfg", "/etc/os-release", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies",
    "/etc/python3",
)  # fmt: skip
# In /dev: no disks (nvme) and no terminals.
_DEVICES = (
    "nvidia*", "nvhost*", "nvmap", "nvgpu", "nvsci*", "host1x*", "tegra*", "dri", "dxg", "shm", "null", "zero", "full",
    "random", "urandom",
)  # fmt: skip
_MULTI_PROCESS_SERVICE = "/tmp/nvidia-mps"  # noqa: S108  # where NVIDIA's daemon has its pipes unless CUDA_MPS_... says


def of(
    *, work_dir: Path, source: Optional[Path] = None, model: Optional[ModelJob] = None,
    read: Sequence[Optional[PathLike]] = (), write: Sequence[Optional[PathLike]] = (), program: Optional[str] = None,
) -> Reach:  # fmt: skip
    """Return the reach of a process that works on one model.

    Args:
        work_dir: private directory, where everything may be changed.
        source: the ONNX file; its external data is found here.
        model: the model's settings, for its libraries and samples.
        read: more files to read.
        write: more files and directories to change.
        program: a converter; the libraries of its installation are included.
    """
    files, folders = samples_of(model) if model is not None else ([], [])
    if source is not None:
        files += [str(source), *_weights_of(source)]
    return Reach(
        run=[*_SYSTEM, *_pythons(), *_libraries(program, model)],
        read=[*_TOLD, *files, *(str(file) for file in read if file)],
        listed=folders,
        write=[str(work_dir), *(str(path) for path in write if path), *_of_cuda()],
        devices=[
            *(str(path) for pattern in _DEVICES for path in Path("/dev").glob(pattern)),
            os.environ.get("CUDA_MPS_PIPE_DIRECTORY", _MULTI_PROCESS_SERVICE),
        ],
    )


def has_cuda() -> bool:
    """Return whether this machine has a device on which CUDA may start."""
    return any(Path("/dev", name).exists() for name in ("nvidiactl", "nvmap", "nvgpu", "dxg"))


def _of_cuda() -> List[str]:
    """Return what CUDA has to change on a machine with a GPU: the names of this process's threads."""
    return [f"/proc/{os.getpid()}"] if has_cuda() else []


def _weights_of(source: Path) -> List[str]:
    """Return the files of a model's external data that can be resolved; reading the model reports the others."""
    found = []
    with contextlib.suppress(OSError, ExternalDataError):
        for location in external_data.locations(source):
            with contextlib.suppress(OSError, ExternalDataError):
                found.append(str(external_data.resolve(source, location)))
    return found


def _pythons() -> List[str]:
    """Return the directories of this interpreter and of what it may import; never the whole home directory."""
    here = str(Path(__file__).absolute().parent)
    places = [
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        os.path.realpath(sys.executable),
        here,
        *filter(None, sys.path),
    ]
    home = os.path.join(os.path.realpath(os.path.expanduser("~")), "")
    return [place for place in places if not home.startswith(os.path.join(os.path.realpath(place), ""))]


def _libraries(program: Optional[str], model: Optional[ModelJob]) -> List[str]:
    found = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path]
    found += [path for path in os.environ.get("LD_PRELOAD", "").replace(":", " ").split() if path]
    if program is not None:
        binary = Path(os.path.realpath(program))
        found += [program, str(binary), str(binary.parent.parent / "lib")]
    for plugin in model.plugins if model is not None else ():
        found += [plugin.file, *map(str, Path(plugin.file).parent.glob("*.so*"))]  # libraries that it is linked with
    return found


def samples_of(model: ModelJob) -> "tuple[List[str], List[str]]":
    """Return the files of samples, and the directories to search for them."""
    judged = model.judged
    sources: List[Optional[SampleConfig]] = [model.calibration, judged.images if judged else None]
    given = [each for each in sources if each is not None]
    files = [str(file) for each in given for file in each.samples()]
    return [*files, *([judged.npz] if judged and judged.npz else [])], [each.images for each in given]
