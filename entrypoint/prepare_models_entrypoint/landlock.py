"""Landlock: from now on, this process and its children can only open files listed beforehand. Linux 5.13 and later."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from typing import NamedTuple, Sequence

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture
_ASK_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE, _READ, _LIST = 1, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _DEVICE_CONTROL = 1 << 14, 1 << 15
_OF_VERSION_1 = (1 << 13) - 1
_MOVE = 1 << 13  # moving into another directory
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _DEVICE_CONTROL
_SCOPES = 0b11  # other processes' abstract sockets, signals to them
WHOLE = 3  # the first version that also refuses to truncate a file


class Reach(NamedTuple):
    """What a process may open: files, and directories with everything below them. Missing paths are skipped.

    run: may be read and executed. read: may be read. listed: directories that may be listed, but nothing in them read.
    write: may be read and changed in every way. devices: may be read, written and controlled.
    """

    run: Sequence[str] = ()
    read: Sequence[str] = ()
    listed: Sequence[str] = ()
    write: Sequence[str] = ()
    devices: Sequence[str] = ()


def restrict(reach: Reach) -> int:
    """Refuse all other files, and other processes' signals and abstract sockets; return Landlock's version.

    The version is 0 if the kernel lacks Landlock. The process must have set no_new_privs; it can't be undone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = _call(libc, _CREATE, None, 0, _ASK_VERSION)
    if version < 1:
        return 0
    handled = _handled(version)
    attributes = struct.pack("QQQ", handled, 0, _SCOPES if version >= 6 else 0)
    rules = _call(libc, _CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return 0
    try:
        changed = handled & ~_EXECUTE & ~_DEVICE_CONTROL
        for paths, rights in (
            (reach.run, _READ | _LIST | _EXECUTE),
            (reach.read, _READ | _LIST),
            (reach.listed, _LIST),
            (reach.write, changed),
            (reach.devices, changed | _DEVICE_CONTROL),
        ):
            for path in paths:
                _allow(libc, rules, path, rights & handled)
        return version if _call(libc, _RESTRICT, rules, 0) == 0 else 0
    finally:
        os.close(rules)


def _handled(version: int) -> int:
    later = ((2, _MOVE), (3, _TRUNCATE), (5, _DEVICE_CONTROL))
    return _OF_VERSION_1 | sum(right for since, right in later if version >= since)


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    with contextlib.suppress(OSError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                rights &= _OF_FILES
            _call(libc, _ADD, rules, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
        finally:
            os.close(place)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    call = libc.syscall
    call.restype = ctypes.c_long
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return int(call(ctypes.c_long(number), *wide))
