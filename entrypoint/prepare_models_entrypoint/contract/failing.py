"""Errors of the system that come from a disk, a network share or a FUSE mount that fails."""

import errno

FAILING = (
    errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO, errno.EUCLEAN, errno.EBADMSG,
)  # fmt: skip
