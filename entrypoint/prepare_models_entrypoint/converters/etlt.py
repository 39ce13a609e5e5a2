"""Encrypted TAO models: a little-endian length N, N bytes of input name, then the encrypted network.

N is 0 for an ONNX payload; with a name the payload is UFF. Both can be reported without the key.
The layout is that of the reader in NVIDIA's tao_deploy.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import BinaryIO, Callable, List, NamedTuple, Optional, TypedDict

from ..confinement import hide, note_secret
from ..contract import schema
from ..contract.codec import ContractError
from ..contract.files import partial_of, read_line, replace, sha256_file, sync
from ..contract.report import ErrorInfo
from ..errors import ConvertError, outcome, reported, taken_over
from ..onnx_graph import whole_file
from ..processes import die_with_parent, show_as, supervise_fork, tail
from ..third_party import ThirdPartyError, third_party
from .request import Verdict

_LONGEST_NAME = 4096


class Header(NamedTuple):
    """What the first bytes say. ``payload``: onnx or uff; ``input_name``: the UFF network's input, else empty."""

    payload: str
    input_name: str
    bytes: int


class Decrypted(TypedDict):
    """Result of decrypting a file. ``bytes`` and ``sha256`` are those of the plain model; None with an ``error``."""

    file: str
    output: str
    bytes: Optional[int]
    sha256: Optional[str]
    error: Optional[ErrorInfo]


def read_header(path: Path) -> Header:
    """Read the container's header, which needs no key."""
    with open(str(path), "rb") as stream:
        head = stream.read(4)
        length = struct.unpack("<i", head)[0] if len(head) == 4 else -1
        name = stream.read(length) if 0 <= length <= _LONGEST_NAME else b""
    size = path.stat().st_size
    if not 0 <= length <= _LONGEST_NAME or len(name) != length or size <= 4 + length + 16:
        raise ConvertError(
            "etlt-invalid",
            f"{path.name} is not an .etlt container: {size} bytes, starting with {head.hex() or 'nothing'}",
        )
    return Header("uff" if length else "onnx", name.decode("utf-8", "replace"), 4 + length)


def read_key(path: Path) -> str:
    """Return the key in a file.

    Raises:
        ConvertError: the file can't be read, or is anything but one line of text.
    """
    try:
        note_secret(str(path))
        key = read_line(path)
        problem = "" if key else "is empty"
    except OSError as error:
        key, problem = "", f"can't be read: {error.strerror}"
    except ValueError as error:
        key, problem = "", str(error)
    if problem:
        raise ConvertError(
            "etlt-key-missing",
            f"the key file {path} {problem}",
            hint="put the key, and nothing else, into that file; it is on the model's NGC page",
        )
    return key


def decrypt(file: Path, key: Path, target: Path) -> None:
    """Write the ONNX network of ``file``, an .etlt, to ``target``, readable only by this user.

    A process of its own does it: the one that parses the result never had the key in its memory, nor its descriptor.
    This process must have no other threads.

    Raises:
        ConvertError: no codec in this interpreter, a UFF payload, no key, or a wrong key.
    """
    note_secret(str(key))
    parent, log = os.getpid(), target.with_name("decrypt.log")
    lines: List[bytes] = []

    def write() -> None:
        write_plain = _decrypter(file, read_key(key))
        descriptor = os.open(str(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as plain:
            write_plain(plain)
        _judge(file, target)

    def work(writer: int) -> int:
        die_with_parent(parent)
        show_as("prepare-decrypt")
        hide()
        os.write(writer, json.dumps(Verdict(error=outcome(write, "convert"))).encode("ascii") + b"\n")
        return 0

    ended = supervise_fork(work, log=log, on_line=lines.append, timeout_s=None)
    if not lines:
        how = ended.signal.name if ended.signal else f"status {ended.exit_code}"
        raise ConvertError("etlt-invalid", f"the process that decrypts {file.name} ended with {how}: {tail(log, 1)}")
    try:
        error = schema.read(Verdict, schema.loads(lines[0]), "answer")["error"]
    except ContractError as nonsense:
        raise taken_over(f"answer was {nonsense}") from None
    if error is not None:
        raise reported(error, ConvertError)


def decrypt_file(path: Path, key: Path, target: Path) -> Decrypted:
    """Write the ONNX model of ``path`` to ``target`` and return the result; its ``error`` is None on success.

    The plain model appears under its name only when complete, readable only by this user.
    """
    document = Decrypted(file=str(path), output=str(target), bytes=None, sha256=None, error=None)

    def write() -> None:
        if not path.is_file():
            raise ConvertError("source-not-found", f"{path} is not a file", hint="check the path")
        with partial_of(target, mode=0o600) as (stream, partial, final):
            _decrypter(path, read_key(key))(stream)
            sync(stream)
            _judge(path, partial)
            document["bytes"], document["sha256"] = partial.stat().st_size, sha256_file(partial)
            replace(partial, final)

    document["error"] = outcome(write, "decrypt")
    return document


def _decrypter(path: Path, key: str) -> Callable[[BinaryIO], None]:
    """Return a function that writes the plain network of ``path``, after checking that this is possible here."""
    header = read_header(path)
    if header.payload == "uff":
        raise is_uff(path, header)
    try:
        from eff_tao_encryption.tao_codec.tao_codec import decrypt_stream
    except ImportError as error:
        raise ConvertError(
            "etlt-codec-missing",
            f"decrypting {path.name} needs NVIDIA's codec, which is not installed here ({error})",
            hint="on x86_64 with Python 3.10 or 3.12: pip install cryptography and then "
            "pip install --no-deps nvidia-eff-tao-encryption",
        ) from error

    def write(plain: BinaryIO) -> None:
        with open(str(path), "rb") as source:
            source.seek(header.bytes)
            try:
                with third_party():  # closed source: what it raises on a damaged file is undocumented
                    decrypt_stream(source, plain, key, encryption=True, rewind=False)
            except ThirdPartyError as error:
                raise ConvertError("etlt-invalid", f"{path.name} can't be decrypted: {error}") from error

    return write


def is_uff(path: Path, header: Header) -> ConvertError:
    """Return the error for a UFF payload, with what to do instead."""
    return ConvertError(
        "etlt-uff",
        f"{path.name} holds a UFF network (input {header.input_name!r}), which TensorRT 10 and later can't read",
        hint="use the model's ONNX release, or convert it with tao-converter in a TensorRT 8 image (JetPack 5)",
    )


def _judge(path: Path, plain: Path) -> None:
    found = whole_file.verdict(plain)
    if found == whole_file.WHOLE:
        return
    if found == whole_file.TRUNCATED:
        raise ConvertError(
            "etlt-truncated", f"{path.name} ends too early: the key fits, but the model in it is incomplete"
        )
    raise ConvertError("etlt-key-wrong", f"the key does not decrypt {path.name}: what comes out is not an ONNX model")
