"""What a process gives up before it parses an untrusted model: secrets, files, the network, privileges."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional, Set, Tuple

from .landlock import WHOLE, Reach, restrict

if TYPE_CHECKING:
    from .contract.report import Confinement

# Names of the defences in reports; docs/report.md explains each.
ENVIRONMENT, SECRETS, CORE, MEMORY = "environment", "secrets-closed", "no-core-dump", "not-dumpable"
PRIVILEGES, ROOT, FILES, TRUNCATION = "no-new-privileges", "no-capabilities", "files", "truncation"
NETWORK = "no-network"

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION = 0x20080522
_KEPT_CAPABILITIES = sum(1 << number for number in (0, 1, 2, 3, 14, 23))  # for other users' files, memory, priority
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_LOAD, _EQUALS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_AF_INET, _AF_INET6, _AF_PACKET = 2, 10, 17
_OTHER_NUMBERS = 0x40000000  # x86_64 repeats its calls from here on, for programs with 32-bit pointers
_FORBIDDEN = (425, 438)  # io_uring_setup, which can open sockets; pidfd_getfd


class _Calls(NamedTuple):
    """The kernel's number of an architecture, and its system call numbers.

    forbidden: ptrace, process_vm_readv, process_vm_writev, add_key, request_key, keyctl.
    """

    arch: int
    socket: int
    forbidden: Tuple[int, ...]


_CALLS = {
    "x86_64": _Calls(0xC000003E, 41, (101, 310, 311, 248, 249, 250)),
    "aarch64": _Calls(0xC00000B7, 198, (117, 270, 271, 217, 218, 219)),
}

# Variables that builders, kernel compilers and this tool read; anything else in a user's environment may be a secret.
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TZ|TMPDIR|LANG|LANGUAGE|LC_.*|LD_.*|XDG_.*|CUDA_.*|NVIDIA_.*|NV_.*|CUDNN_.*|TRT_.*"
    r"|TENSORRT_.*|OMP_.*|MKL_.*|OPENBLAS_.*|KMP_.*|MALLOC_.*|ORT_.*|ONNX.*|POLYGRAPHY_.*|PYTHON.*|VIRTUAL_ENV|COV.*"
    r"|PREPARE_MODELS_.*"
)
_DESCRIPTOR = r"/(?:proc/self|dev)/fd/(\d+)"
_UNCONFINED = "PREPARE_MODELS_UNCONFINED"  # 1 skips what may interfere with a driver, 0 applies it on a Jetson, too
_UNTRIED = ("nvhost*", "nvmap", "nvgpu", "dxg")
_withheld: Set[int] = set()


def note_secret(path: str) -> None:
    """Remember that a file contains a secret; if it is a descriptor of this process, ``confine`` closes it."""
    match = re.fullmatch(_DESCRIPTOR, path)
    if match:
        withhold(int(match[1]))


def withhold(descriptor: int) -> None:
    """Have ``confine`` close a descriptor of this process, which no model may use."""
    _withheld.add(descriptor)


def confine(reach: Optional[Reach], *, private: Path) -> Confinement:
    """Give up what work on an untrusted model doesn't need; return which defences are active here and which aren't.

    Call it in a child process: it can't be undone.

    Args:
        reach: the files that it may open from now on; None if unknown.
        private: directory for its temporary files and caches.
    """
    for name in [name for name in os.environ if not _KEPT.fullmatch(name)]:
        del os.environ[name]
    for name in ("TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CUDA_CACHE_PATH"):
        os.environ[name] = str(private)
    tempfile.tempdir = None  # makes tempfile look it up again
    for descriptor in _withheld:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    strict = os.environ.get(_UNCONFINED, "1" if _is_untried() else "0") != "1"
    hidden = strict and hide()
    unprivileged = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    powerless = strict and _drop_capabilities(libc)
    files = restrict(reach) if strict and unprivileged and reach is not None else 0
    calls = unprivileged and _forbid_calls(libc)
    found = {
        ENVIRONMENT: True, SECRETS: True, CORE: True, MEMORY: hidden, PRIVILEGES: unprivileged, ROOT: powerless,
        FILES: files > 0, TRUNCATION: files >= WHOLE, NETWORK: calls,
    }  # fmt: skip
    held, missing = ([name for name in found if found[name] is holds] for holds in (True, False))
    return {"held": held, "missing": missing}


def _is_untried() -> bool:
    """Return whether CUDA may start here on a kind of device on which ``confine`` was never tested."""
    return any(True for pattern in _UNTRIED for _ in Path("/dev").glob(pattern))


def hide() -> bool:
    """Keep other processes of this user out of this one's memory and environment, and write no core dump."""
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    """Drop root's capabilities, except for opening other users' files: some of them circumvent Landlock."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    state = ctypes.create_string_buffer(24)  # effective, permitted, inheritable: of 32 capabilities, then 32 more
    if libc.capget(header, state) != 0:
        return False
    kept = [word & _KEPT_CAPABILITIES for word in struct.unpack("6I", state.raw)[:2]]
    return bool(libc.capset(header, struct.pack("6I", *kept, 0, 0, 0, 0)) == 0)


def _forbid_calls(libc: ctypes.CDLL) -> bool:
    """Refuse sockets to other machines, other processes' memory and the kernel's keys from now on.

    Local sockets, which CUDA uses, stay allowed.
    """
    calls = _CALLS.get(os.uname().machine)
    if calls is None:
        return False
    checks = [(_AT_LEAST, _OTHER_NUMBERS), *((_EQUALS, number) for number in (*calls.forbidden, *_FORBIDDEN))]
    families = (_AF_INET, _AF_INET6, _AF_PACKET)
    last = len(checks) + len(families) + 6  # the row that refuses; the one before it allows

    def refuse_where(comparison: int, value: int, row: int) -> Tuple[int, int, int, int]:
        return comparison, last - row - 1, 0, value

    program = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUALS, 0, last - 2, calls.arch),  # on another architecture, the numbers mean other calls
        (_LOAD, 0, 0, _NUMBER_AT),
        *(refuse_where(*check, row) for row, check in enumerate(checks, 3)),
    ]
    program += [(_EQUALS, 0, len(families) + 1, calls.socket), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT)]
    program += [refuse_where(_EQUALS, family, row) for row, family in enumerate(families, len(program))]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)
