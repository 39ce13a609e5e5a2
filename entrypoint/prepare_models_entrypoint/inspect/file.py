"""What a model file is: its format, and its inputs and outputs if they can be read without building anything."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from ..contract import converters, other_formats
from ..contract.companions import PLAN, PLAN_ENDINGS, is_provisioned
from ..converters import etlt
from ..errors import InspectError, StageError, missing
from ..onnx_graph import whole_file
from . import plan_file
from .header import MAGIC
from .isolated import Document, Tell, read_apart, unreadable

_LARGEST = (2 << 30) - 1  # protobuf's limit for one message


def describe_all(
    files: Sequence[Path], key_file: Optional[Path], layers: bool, weights: bool
) -> Dict[str, List[Document]]:
    """Return ``files``, a document for each, see ``describe``."""
    if sum(file.suffix.lower() == ".onnx" for file in files) > 1:
        # Import onnx here once for the forked processes that read the files; without threads, because they are forks.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        with contextlib.suppress(ImportError):
            import onnx.shape_inference  # noqa: F401  # for the forks that come
    return {"files": [describe(file, key_file, layers=layers, weights=weights) for file in files]}


def describe(file: Path, key_file: Optional[Path] = None, *, layers: bool = False, weights: bool = False) -> Document:
    """Return ``file``, ``format``, ``bytes`` and what the format contains; or the ``error``.

    ``io`` is None if inputs and outputs can't be read from this file, and ``note`` says why.

    ``file``: a model file, or a directory of models. ``key_file``: file with the key of an .etlt.
    """
    document: Document = {
        "file": str(file),
        "format": None,
        "bytes": None,
        "io": None,
        "note": None,
        "warnings": [],
        "error": None,
    }
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            return {**document, "format": "models-dir", "models": _models(file, layers=layers, weights=weights)}
        if not stat.S_ISREG(status.st_mode):
            raise InspectError(
                "source-not-a-model", f"{file} is not a regular file", hint="give the path of a model file"
            )
        document["bytes"] = status.st_size
        document.update(_describe(file, key_file, layers=layers, weights=weights))
    except FileNotFoundError:
        missing = InspectError("source-not-found", f"{file} does not exist", hint="check the path")
        document["error"] = missing.info("inspect")
    except StageError as error:
        document["error"] = error.info("inspect")
    except (OSError, ValueError) as error:  # a path that the system refuses: a NUL byte in it is a ValueError
        document["error"] = unreadable(str(file), error).info("inspect")
    return document


def _describe(file: Path, key_file: Optional[Path], *, layers: bool, weights: bool) -> Document:
    suffix = file.suffix.lower()
    if converters.is_encrypted(file.name):
        return _etlt(file, key_file, layers=layers, weights=weights)
    if suffix == ".onnx":
        return _onnx(file, layers=layers, weights=weights)
    with open(str(file), "rb") as stream:
        is_plan = stream.read(4) in MAGIC
    if suffix in PLAN_ENDINGS or is_plan:
        return plan_file.describe(file, layers=layers)
    what, hint = other_formats.kind(file) or ("of an unknown model format", "give an .onnx, .etlt or .plan file")
    ending = f"the ending {suffix}" if suffix else "no ending"
    raise InspectError("source-not-a-model", f"{file.name} has {ending} and is {what}", hint=hint)


def _models(directory: Path, *, layers: bool, weights: bool) -> List[Document]:
    """Describe the engine of every model in a models directory, or of the model if it is one model's directory."""
    folders = [directory, *sorted(path for path in directory.iterdir() if path.is_dir())]
    within = {folder: PLAN if is_provisioned(folder) else "*/*" for folder in folders}
    found = [path for folder in folders for path in folder.glob(within[folder]) if path.suffix.lower() in PLAN_ENDINGS]
    found = sorted({path for path in found if path.parent.name.isdigit()})
    if not found:
        raise InspectError(
            "source-not-a-model",
            f"{directory} holds no models: a models directory has MODEL/1/model.plan",
            hint="give a model file, or the directory that run wrote",
        )
    return [describe(path, layers=layers, weights=weights) for path in found]


def _etlt(file: Path, key_file: Optional[Path], *, layers: bool, weights: bool) -> Document:
    header = etlt.read_header(file)
    answer: Document = {"format": "etlt", "payload": header.payload}
    if header.payload == "uff":
        return {
            **answer,
            "note": f"UFF network with the input {header.input_name!r}; TensorRT 10 and later can't read it",
        }
    if key_file is None:
        return {**answer, "note": "encrypted; with --key-file its inputs and outputs are shown"}
    with tempfile.TemporaryDirectory() as private:
        plain = Path(private) / "model.onnx"
        etlt.decrypt(file, key_file, plain)
        return {**_onnx(plain, layers=layers, weights=weights), **answer}


def _onnx(file: Path, *, layers: bool, weights: bool) -> Document:
    def read(tell: Tell) -> None:
        _check_onnx(file)
        try:
            from . import onnx_model
        except ImportError as error:
            raise missing(InspectError, "reading ONNX", "inspect", error) from error
        onnx_model.read(file, tell, layers=layers, weights=weights)

    document = read_apart(read, file)
    if document.get("died"):
        document["note"] = f"{document['note']}: the process {document.pop('died')}"
    return document


def _check_onnx(file: Path) -> None:
    size = file.stat().st_size
    if not size:
        raise InspectError("source-not-a-model", f"{file.name} is empty", hint="download or export it again")
    whole_file.check(file)
    if size > _LARGEST:
        raise InspectError(
            "onnx-too-large",
            f"{file.name} has {size} bytes; protobuf, and with it every reader of ONNX, stops at {_LARGEST}",
        )
