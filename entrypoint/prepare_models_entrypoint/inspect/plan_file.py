"""What a plan file is: its header, the record next to it, and the engine itself if a GPU can load it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Dict, List, Optional

from ..contract import report, runtime
from ..contract.backends import loader
from ..contract.environment import RuntimeInfo
from ..contract.files import sha256_file
from ..contract.report import Binding, ModelReport, ProfileShapes
from . import compatibility
from .built_plan import load_engine, partly_unknown
from .header import read_header
from .isolated import Document


def describe(file: Path, *, layers: bool, here: Optional[RuntimeInfo] = None) -> Document:
    """Return what is known about a plan. ``here``: the environment; probed if not given.

    Raises:
        InspectError: the file is not a plan, or is shorter than it declares.
    """
    header = read_header(file)
    record = read_record(file)
    here = here or runtime.probe()
    document: Document = {"format": "plan", "header": header, **compatibility.judge(header, record, here)}
    document.update(_from_record(record))
    module = loader(here, header["format"])
    if here["gpu"] is not None and module is not None:
        _load(file, document, record, here, module["name"])
    if document["io"] is None:
        document["note"] = (
            "a plan reveals its bindings only on a GPU that can load it, "
            "and no report.json of this engine is next to it"
        )
    details = document["details"]
    document["layer_count"] = len(details["layers"]) if details else None
    if details and not layers:
        document["details"] = {key: value for key, value in details.items() if key != "layers"}
    return document


def read_record(plan: Path) -> Optional[ModelReport]:
    """Return the report that was written with this engine: next to it, or one directory up."""
    for folder in (plan.absolute().parent, plan.absolute().parent.parent):
        try:
            record = report.read_record(folder)
            if record is not None and record["engine"] and record["engine"].get("sha256") == sha256_file(plan):
                return record
        except OSError:
            continue
    return None


def _from_record(record: Optional[ModelReport]) -> Document:
    keys = ("name", "io", "profiles", "details", "precision_proof", "tensor_names", "source")
    known: Dict[str, object] = {**record} if record is not None else {}
    return {**{key: known.get(key) for key in keys}, "warnings": known.get("warnings", []), "note": None}


def _load(file: Path, document: Document, record: Optional[ModelReport], here: RuntimeInfo, module: str) -> None:
    """Load the engine in a separate process and take from it everything that it reports."""
    with tempfile.TemporaryDirectory(prefix="prepare-models-inspect-") as private:
        answer, _ = load_engine(file, Path(private), model=None, module=module)
    if answer["why_not"] is not None:
        document["runs_here"] = False
        document["told"] = compatibility.explain(document["header"], record, here, answer["why_not"])
        return
    document["warnings"] = [*document["warnings"], *partly_unknown(answer)]
    document.update(runs_here=True, io=answer["io"], details=answer["details"], profiles=_profiles(answer["io"]))


def _profiles(io: List[Binding]) -> List[Dict[str, ProfileShapes]]:
    inputs = [binding for binding in io if binding["mode"] == "input"]
    count = max((len(binding["profiles"]) for binding in inputs), default=0)
    return [{binding["name"]: binding["profiles"][index] for binding in inputs} for index in range(count)]
