"""Decrypting in a separate process: the process that parses the result never had the key in its memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import List, Optional, TypedDict

from ..confinement import hide, note_secret
from ..contract import schema
from ..contract.codec import ContractError
from ..contract.report import ErrorInfo
from ..errors import ConvertError, outcome, reported, taken_over
from ..processes import die_with_parent, show_as, supervise_fork, tail
from . import etlt


class Answer(TypedDict):
    """What the decrypting process reports."""

    error: Optional[ErrorInfo]


def decrypt(file: Path, key_file: Path, target: Path) -> None:
    """Write the ONNX network of ``file``, an .etlt, to ``target``, readable only by this user.

    This process must have no other threads. It doesn't read the key itself, nor pass its descriptor on to the processes
    that it confines.

    Raises:
        ConvertError: no codec in this interpreter, a UFF payload, no key, or a wrong key.
    """
    note_secret(str(key_file))
    parent, log = os.getpid(), target.with_name("decrypt.log")
    lines: List[bytes] = []

    def work(writer: int) -> int:
        die_with_parent(parent)
        show_as("prepare-decrypt")
        hide()
        error = outcome(lambda: etlt.decrypt(file, etlt.read_key(key_file), target), "convert")
        os.write(writer, json.dumps(Answer(error=error)).encode("ascii") + b"\n")
        return 0

    ended = supervise_fork(work, log=log, on_line=lines.append, timeout_s=None)
    if not lines:
        how = ended.signal.name if ended.signal else f"status {ended.exit_code}"
        raise ConvertError("etlt-invalid", f"the process that decrypts {file.name} ended with {how}: {tail(log, 1)}")
    try:
        error = schema.read(Answer, schema.loads(lines[0]), "answer")["error"]
    except ContractError as nonsense:
        raise taken_over(f"answer was {nonsense}") from None
    if error is not None:
        raise reported(error, ConvertError)
