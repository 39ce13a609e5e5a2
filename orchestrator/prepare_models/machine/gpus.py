"""The GPUs of a machine as its driver reports them: through NVML if it can be loaded, else through nvidia-smi."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from prepare_models_entrypoint.contract.values import Value

NONE = "none"  # value that means no GPU

_FIELDS = "index,uuid,name,driver_version"
_CAPABILITY = "compute_cap"  # unknown to drivers before 510
_CAPABILITY_TEXT = r"\d+\.\d+"  # "[N/A]" means unknown
_QUERY_TIMEOUT_S = 20
_SMI_PLACES = ("usr/bin", "usr/lib/wsl/lib", "opt/bin")  # on WSL2 it is often not in PATH

_INSTALL_DRIVER = "install the NVIDIA driver"
_LOAD = "load the driver (sudo modprobe nvidia); after an update of the kernel, reinstall it"
_RESTART = "restart the machine; if it comes back, look for Xid errors in: sudo dmesg"
_MISMATCH = "restart the machine: the driver was updated while its old module is loaded"
_PERMISSION = "give this user access to /dev/nvidia*: often the group is video or render"
_NOT_THERE = "check whether the card is present (lspci), and what the driver reports: sudo dmesg"
# nvidia-smi's errors, and how to fix them.
_SAID = (
    ("version mismatch", _MISMATCH),
    ("communicate with the", _LOAD),
    ("insufficient permissions", _PERMISSION),
    ("gpu is lost", _RESTART),
    ("unable to determine the device handle", _RESTART),
    ("no devices were found", _NOT_THERE),
)
# NVML's status codes (nvmlReturn_t), and how to fix them.
_STATUS = {4: _PERMISSION, 9: _LOAD, 15: _RESTART, 18: _MISMATCH, 999: _RESTART}
_NO_LIBRARY = 12


class Gpu(Value):
    """A GPU. ``compute_capability`` such as 8.9, empty if the driver doesn't report it."""

    index: int
    uuid: str
    name: str
    driver: str
    compute_capability: str


class Answer(NamedTuple):
    """What a driver reports. reason: why there is no GPU, or why one is missing; fix: what to do about it."""

    gpus: tuple[Gpu, ...]
    reason: str = ""
    fix: str = ""


def ask(root: Path = Path("/")) -> Answer:
    """Return the GPUs of the machine whose files are below ``root``. NVML is used only for this machine."""
    answer = _nvml() if root == Path("/") else None
    return _smi(root) if answer is None else answer


def nvidia_smi(root: Path) -> str | None:
    """Return the path of nvidia-smi. Below another root, only that root's own program counts."""
    places = ":".join(str(root / place) for place in _SMI_PLACES)
    return (shutil.which("nvidia-smi") if root == Path("/") else None) or shutil.which("nvidia-smi", path=places)


def _nvml() -> Answer | None:
    """Return what NVML reports; None if its bindings or the library are missing."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return None if error.value == _NO_LIBRARY else Answer((), *_fault(error))
    try:
        return _listed(nvml)
    except nvml.NVMLError as error:
        return Answer((), *_fault(error))
    finally:
        nvml.nvmlShutdown()


def _listed(nvml: ModuleType) -> Answer:
    driver, gpus = str(nvml.nvmlSystemGetDriverVersion()), []
    reason = fix = ""
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_device(nvml, index, driver))
        except nvml.NVMLError as error:  # the other GPUs may work
            message, fix = _fault(error)
            reason = f"GPU {index}: {message}"
    if not gpus and not reason:
        return Answer((), "NVML lists no GPU", _NOT_THERE)
    return Answer(tuple(gpus), reason, fix)


def _device(nvml: ModuleType, index: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    try:
        capability = ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(handle)))
    except nvml.NVMLError:
        capability = ""
    return Gpu(index, str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle)), driver, capability)


def _fault(error: Exception) -> tuple[str, str]:
    status = getattr(error, "value", None)
    return f"NVML ends with status {status}: {error}", _STATUS.get(status or 0, _INSTALL_DRIVER)


def _smi(root: Path) -> Answer:
    program = nvidia_smi(root)
    if program is None:
        return _failed("nvidia-smi is not installed: no NVIDIA driver")
    try:
        answer = _query(program, f"{_FIELDS},{_CAPABILITY}")
        if answer.returncode != 0 and _CAPABILITY in answer.stdout + answer.stderr:
            answer = _query(program, _FIELDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _failed(f"nvidia-smi does not answer: {error}")
    if answer.returncode != 0:
        said = (answer.stdout + answer.stderr).strip().splitlines()
        return _failed(f"nvidia-smi ends with status {answer.returncode}: {said[0] if said else 'no message'}")
    import csv  # imported here, as the answers of drivers are remembered

    rows = [[cell.strip() for cell in row] for row in csv.reader(answer.stdout.splitlines())]
    rows = [[*row, ""][:5] for row in rows if len(row) in (4, 5) and row[0].isdigit()]
    gpus = tuple(
        Gpu(int(index), uuid, name, driver, capability if re.fullmatch(_CAPABILITY_TEXT, capability) else "")
        for index, uuid, name, driver, capability in rows
    )
    return Answer(gpus) if gpus else _failed("nvidia-smi lists no GPU")


def _query(program: str, fields: str) -> subprocess.CompletedProcess[str]:
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False)


def _failed(reason: str) -> Answer:
    lowered = reason.lower()
    return Answer((), reason, next((fix for part, fix in _SAID if part in lowered), _INSTALL_DRIVER))
