"""Limits of the system that stop work on any file, and what to do about them."""

import errno
from typing import NamedTuple


class Limit(NamedTuple):
    """What happened, what to do about it, and the code of a model's error."""

    what: str
    fix: str
    code: str = "out-of-memory"


_OUTPUT = "output-not-writable"
# What comes from a disk, a network share or a FUSE mount that fails.
_FAILING = (
    errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO, errno.EUCLEAN, errno.EBADMSG,
)  # fmt: skip
LIMITS = {
    errno.EMFILE: Limit("too many open files", "raise the limit: ulimit -n 4096, or do less at once: --jobs 1"),
    errno.ENFILE: Limit("too many open files on this machine", "end other programs, or raise it: sysctl fs.file-max"),
    errno.ENOMEM: Limit("no memory left", "end other programs, or add swap, then run again: finished work is kept"),
    errno.EFBIG: Limit("a file would exceed the limit for its size", "raise it: ulimit -f unlimited", _OUTPUT),
    errno.EAGAIN: Limit("no more processes can be started", "end other programs, or raise the limit: ulimit -u"),
    **dict.fromkeys(_FAILING, Limit("a disk or its connection failed", "look for disk errors: sudo dmesg", _OUTPUT)),
}
