"""What a process that parses a stranger's model gives up first: secrets, the network, and privileges to be gained."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import resource
import struct
from typing import List, Set

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_AF_INET, _AF_INET6, _AF_PACKET = 2, 10, 17
_IO_URING_SETUP = 425  # it opens sockets without the system call of that name
# Architecture's number for the kernel, and its system call socket.
_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}

# What builders, compilers of kernels and this tool look at; everything else of a user's environment may be a secret.
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TZ|TMPDIR|LANG|LANGUAGE|LC_.*|LD_.*|XDG_.*|CUDA_.*|NVIDIA_.*|NV_.*|CUDNN_.*|TRT_.*"
    r"|TENSORRT_.*|OMP_.*|MKL_.*|OPENBLAS_.*|KMP_.*|MALLOC_.*|ORT_.*|ONNX.*|POLYGRAPHY_.*|PYTHON.*|VIRTUAL_ENV|COV.*"
    r"|PREPARE_MODELS_.*"
)
_DESCRIPTOR = re.compile(r"/(?:proc/self|dev)/fd/(\d+)")
_secrets: Set[int] = set()


def note_secret(path: str) -> None:
    """Remember that a file holds a secret; if it is a descriptor of this process, ``confine`` closes it."""
    match = _DESCRIPTOR.fullmatch(path)
    if match:
        _secrets.add(int(match[1]))


def confine() -> List[str]:
    """Give up what a build doesn't need; return the names of the defences that hold here.

    Call it in a child process: nothing of it can be taken back.
    """
    for name in [name for name in os.environ if not _KEPT.fullmatch(name)]:
        del os.environ[name]
    for descriptor in _secrets:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    held = ["environment", "secrets closed", "no core dump"]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held.append("no new privileges")
        if _forbid_network(libc):
            held.append("no network")
    return held


def _forbid_network(libc: ctypes.CDLL) -> bool:
    """Refuse sockets of IPv4, IPv6 and raw packets from now on; those of one machine, as CUDA uses them, stay."""
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return False
    arch, socket = calls
    families = (_AF_INET, _AF_INET6, _AF_PACKET)
    program = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUALS, 1, 0, arch),
        (_RETURN, 0, 0, _EPERM),  # another architecture's numbers mean other calls
        (_LOAD, 0, 0, _NUMBER_AT),
        (_EQUALS, len(families) + 3, 0, _IO_URING_SETUP),
        (_EQUALS, 0, len(families) + 1, socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        *((_EQUALS, len(families) - number, 0, family) for number, family in enumerate(families)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)
