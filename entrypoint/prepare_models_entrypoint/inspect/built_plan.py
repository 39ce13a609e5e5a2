"""Inspecting a built engine before it gets its final name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import List, Optional, Sequence

from ..contract.backends import PRODUCTS, loader
from ..contract.environment import RuntimeInfo
from ..contract.files import pass_on
from ..contract.identity import target
from ..contract.job import ModelJob
from ..contract.launch import command
from ..contract.report import Binding, EngineDetails, WarningInfo
from ..contract.values import Value
from ..converters import layer_info
from ..converters.precision import Evidence
from ..errors import InspectError
from ..processes import answer_of, supervise
from .engine_worker import Answer, not_loaded
from .header import Header, read_header

_TIMEOUT_S = 300.0


class Inspected(Value):
    """Header and bindings of an engine. ``peak_rss_bytes`` is set if a separate process loaded the engine.

    ``evidence``: precision of the engine's layers, if it was loaded and contains that information.
    ``details``: memory and layers, if it was loaded.
    """

    header: Header
    io: List[Binding]
    warnings: List[WarningInfo]
    peak_rss_bytes: Optional[int]
    evidence: Optional[Evidence] = None
    details: Optional[EngineDetails] = None


def inspect(plan: Path, network: Sequence[Binding], runtime: RuntimeInfo, work_dir: Path, model: ModelJob) -> Inspected:
    """Read the plan's header, and its bindings from the engine if a GPU can load it, else from the network.

    ``network``: bindings of the network definition that the plan was built from. ``work_dir``: private directory for
    the files of the child process.
    """
    header = read_header(plan)
    warnings: List[WarningInfo] = []
    module = loader(runtime, header["format"])
    if runtime["gpu"] is None:
        return Inspected(header, list(network), warnings, None)
    if module is None:  # built by a program
        hint = "install the TensorRT module of the same version for this Python, so that engines are loaded and checked"
        text = f"no module of this Python loads engines of {PRODUCTS[header['format']]}: this one was not loaded"
        warnings.append(WarningInfo(code="engine-not-loadable-here", message=text, hint=hint))
        return Inspected(header, list(network), warnings, None)
    answer, peak = load_engine(plan, work_dir, model=model, module=module["name"])
    if answer["why_not"] is None:
        _same_names(network, answer["io"])
        _take_values(network, answer["io"])
        warnings += partly_unknown(answer)
        return Inspected(
            header, answer["io"], warnings, peak, layer_info.of_layers(answer["layers"]), answer["details"]
        )
    why_not = f"{runtime['gpu']['name']} can't load the engine: {answer['why_not']}"
    if target(runtime) != "portable":
        raise InspectError("engine-unusable", why_not, hint="check that driver and TensorRT fit each other")
    hint = "deploy it on a GPU of a compute capability that the plan's header lists"
    warnings.append(WarningInfo(code="engine-not-loadable-here", message=why_not, hint=hint))
    return Inspected(header, list(network), warnings, peak)


def partly_unknown(answer: Answer) -> List[WarningInfo]:
    """Return the warning that an engine doesn't reveal everything, such as an older one in a lean runtime."""
    if not answer["unknown"]:
        return []
    hint = "please report it with the versions of TensorRT that built and that loaded the engine"
    text = f"the engine loads, but parts of its description can't be read: {'; '.join(answer['unknown'])}"
    return [WarningInfo(code="engine-partly-unknown", message=text, hint=hint)]


def load_engine(plan: Path, work_dir: Path, *, model: Optional[ModelJob], module: str) -> "tuple[Answer, int]":
    """Return what the engine reports, or ``why_not``, and the peak memory in bytes of the process that loaded it.

    ``work_dir``: private directory for the files of the child process. ``model``: what the plan was built from; None
    for a foreign engine, of which no code is run. ``module``: the TensorRT module that loads it.
    """
    request, result, log = (work_dir / name for name in ("inspect.json", "inspect-result.json", "inspect.log"))
    settings = model.to_dict() if model else None
    asked = {"plan": str(plan), "result": str(result), "parent": os.getpid(), "model": settings, "module": module}
    pass_on(request, json.dumps(asked).encode("utf-8"))
    argv = command("inspect.engine_worker", str(request))
    ended = supervise(argv, log=log, on_line=lambda _: None, timeout_s=_TIMEOUT_S)
    reason = ended.signal.name if ended.signal else f"status {ended.exit_code}"
    found = answer_of(result, Answer) or not_loaded(f"the process that loads it ended with {reason}")
    return found, ended.peak_rss_bytes


def _take_values(network: Sequence[Binding], engine: Sequence[Binding]) -> None:
    """Copy the values of shape tensors' profiles from the network, as they are not read from the engine."""
    known = {binding["name"]: binding["profiles"] for binding in network}
    for binding in engine:
        for mine, built in zip(binding["profiles"], known.get(binding["name"], ())):
            if "values" in built:
                mine["values"] = built["values"]


def _same_names(network: Sequence[Binding], engine: Sequence[Binding]) -> None:
    if not any(binding["mode"] == "output" for binding in network):
        return  # the converter reports no bindings: only the engine has them
    expected, found = ({(b["mode"], b["name"]) for b in bindings} for bindings in (network, engine))
    if expected != found:
        raise InspectError(
            "engine-invalid",
            f"the engine's bindings {sorted(found)} are not the network's {sorted(expected)}",
            hint="please report this with the model",
        )
