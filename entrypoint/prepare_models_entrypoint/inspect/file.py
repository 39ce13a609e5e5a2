"""What a model file is: its format, and its inputs and outputs where they can be read without building anything."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..contract.files import sha256_file
from ..contract.report import Binding
from ..convert import etlt
from ..errors import InspectError, StageError
from .header import read_header


def describe(file: Path, key_file: Optional[Path]) -> Dict[str, Any]:
    """Return ``file``, ``format``, ``bytes`` and what the format tells; or the ``error`` that stands in the way.

    ``io`` is None where inputs and outputs can't be read from this file, and ``note`` says why.
    """
    document: Dict[str, Any] = {
        "file": str(file),
        "format": None,
        "bytes": None,
        "io": None,
        "note": None,
        "error": None,
    }
    try:
        if not file.is_file():
            raise InspectError("source-not-found", f"{file} is no file", hint="check the path")
        document["bytes"] = file.stat().st_size
        document.update(_describe(file, key_file))
    except StageError as error:
        document["error"] = error.info("inspect")
    except OSError as error:
        unreadable = InspectError(
            "source-unreadable", f"{file} can't be read: {error.strerror}", hint="give this user read access"
        )
        document["error"] = unreadable.info("inspect")
    return document


def _describe(file: Path, key_file: Optional[Path]) -> Dict[str, Any]:
    suffix = file.suffix.lower()
    if suffix in (".plan", ".engine"):
        return _plan(file)
    if suffix == ".etlt":
        return _etlt(file, key_file)
    if suffix == ".onnx":
        return {"format": "onnx", **_onnx(file)}
    raise InspectError(
        "source-not-a-model",
        f"{file.name}: the ending {suffix or '(none)'} is of no model format that is known here",
        hint="give a file that ends in .onnx, .etlt, .plan or .engine",
    )


def _plan(file: Path) -> Dict[str, Any]:
    header = read_header(file)
    record = _record(file)
    if record is None:
        note = "a plan does not tell its bindings without a GPU, and no report.json of this engine lies beside it"
        return {"format": "plan", "header": header, "note": note}
    return {"format": "plan", "header": header, "io": record["io"], "profiles": record["profiles"], "note": None}


def _record(plan: Path) -> Optional[Dict[str, Any]]:
    """Return the report that was written with this very engine."""
    try:
        record: Dict[str, Any] = json.loads((plan.absolute().parent.parent / "report.json").read_text(encoding="utf-8"))
        return record if record["engine"]["sha256"] == sha256_file(plan) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _etlt(file: Path, key_file: Optional[Path]) -> Dict[str, Any]:
    header = etlt.read_header(file)
    answer: Dict[str, Any] = {"format": "etlt", "payload": header.payload}
    if header.payload == "uff":
        return {
            **answer,
            "note": f"UFF network with the input {header.input_name!r}; TensorRT 10 and later can't read it",
        }
    if key_file is None:
        return {**answer, "note": "encrypted; with --key-file its inputs and outputs are shown"}
    with tempfile.TemporaryDirectory() as private:
        plain = Path(private) / "model.onnx"
        etlt.decrypt(file, etlt.read_key(key_file), plain)
        return {**answer, **_onnx(plain)}


def _onnx(file: Path) -> Dict[str, Any]:
    try:
        import onnx
    except ImportError as error:
        raise InspectError(
            "module-missing", f"reading ONNX needs the module {error.name}", hint="pip install 'prepare-models[local]'"
        ) from error
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf raises its own types, and which ones differs between its versions
        raise InspectError(
            "onnx-invalid", f"{file.name} is no ONNX model: {error}", hint="check that the file is complete"
        ) from error
    bindings = onnx_bindings(model)
    if not bindings:
        raise InspectError("network-empty", f"{file.name} has no inputs and no outputs", hint="check the export")
    return {
        "io": bindings,
        "opsets": {item.domain or "ai.onnx": item.version for item in model.opset_import},
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip() or None,
        "nodes": len(model.graph.node),
    }


def onnx_bindings(model: Any) -> List[Binding]:
    """Return the inputs and outputs of an ONNX model, with -1 for dynamic dimensions."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [_binding(value, "input") for value in model.graph.input if value.name not in weights]
    return inputs + [_binding(value, "output") for value in model.graph.output]


def _binding(value: Any, mode: str) -> Binding:
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type else "unknown"
    shape: List[int] = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    names = {"float": "float32", "double": "float64"}
    return Binding(
        name=value.name, mode=mode, dtype=names.get(dtype, dtype), shape=shape, profiles=[], source="network"
    )
