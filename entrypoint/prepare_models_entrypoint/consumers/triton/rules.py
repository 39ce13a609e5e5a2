"""Triton's rules. A configuration is checked once, in the server's order, and each code is a rule."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from dataclasses import field
from pathlib import Path
from typing import DefaultDict, Dict, Iterator, List, Optional, Sequence

from ...contract.companions import CONFIG
from ...contract.report import ModelReport
from ...contract.values import Value
from ..consumer import Check, Consumer, Rule, rules
from ..model_files import Model, Plan, read_model
from . import backend as tensorrt
from . import core_rules, ensembles, files, samples
from .core_rules import ENSEMBLE, TENSORRT, Finding
from .tensors import MODES, UNSET, completed, configured
from .text_format import Message, Schema, first, mapping, parse

SCHEMA = Schema.read(Path(__file__).with_name("model_config.json"))


class Judged(Value):
    """A model, and what was found in it, by code."""

    model: Model
    found: DefaultDict[str, List[str]] = field(default_factory=lambda: defaultdict(list))

    def tell(self, findings: "Iterator[Finding] | Sequence[Finding]", version: str = "") -> None:
        """Add findings; ``version``: of the engine that they are about, if there are several."""
        for code, message in findings:
            text = f"version {version}: {message}" if version else message
            if text not in self.found[code]:
                self.found[code].append(text)


def judge(model: Model, release: str = "") -> Judged:
    """Check a model directory as Triton would."""
    del release
    of = Judged(model)
    config = _config(model, of)
    if config is None:
        return of
    backend = _backend(model, config)
    if not backend and not config:
        why = "has no config.pbtxt, no version directory with a model that Triton knows"
        of.tell([("triton-foreign-directory", f"{model.directory} {why}")])
        return of
    of.tell(core_rules.judge(config, model.directory.name, backend))
    served, wrong = core_rules.served(config, model.folders)
    of.tell(wrong)
    of.tell(_labels(model, config))
    of.tell(samples.judge(config, model.directory))
    if backend == TENSORRT:
        for version in served:
            _of_version(of, config, str(version), several=len(served) > 1 or str(version) != "1")
    else:
        of.tell(_of_other(model, config, backend, served))
    return of


def _config(model: Model, of: Judged) -> Optional[Message]:
    """Return the configuration: empty if there is none, None if it can't be read."""
    try:
        text = model.text(CONFIG, errors="surrogateescape")  # protobuf takes any bytes in comments
        return parse(text, SCHEMA) if text is not None else {}
    except ValueError as error:
        of.tell([("triton-config", f"config.pbtxt can't be read: {error}")])
    return None


def _backend(model: Model, config: Message) -> str:
    folder = next(iter(model.folders), "")
    backend = core_rules.backend_of(config, model.directory.name, model.versions.get(folder, ()))
    known = {each.name for each in core_rules.BACKENDS}
    return backend if config or backend in known or model.versions else ""


def _labels(model: Model, config: Message) -> Iterator[Finding]:
    for name, file in core_rules.label_files(config).items():
        if ".." in Path(file).parts or not os.path.isfile(model.directory / file):
            yield "triton-labels", f"the label_filename of output {name!r} is {file!r}, which is not in the directory"


def _of_version(of: Judged, config: Message, version: str, *, several: bool) -> None:
    """Check the engines of one version directory: one, or one for each kind of GPU."""
    model, prefix = of.model, version if several else ""
    default, others = core_rules.default_file(config, TENSORRT), mapping(config, "cc_model_filenames")
    names = model.versions.get(version, ())
    absent = [name for name in others.values() if name not in names]
    there = [name for name in dict.fromkeys([default, *others.values()]) if name in names]
    if absent or not there:
        wanted = ", ".join(absent or [default])
        of.tell([("triton-plan", f"version {version} of {model.directory} has no {wanted}")])
    plans = [plan for plan in (model.plan(version, name) for name in there) if plan is not None]
    if there and not plans:
        why = f" ({'; '.join(model.unread)})" if model.unread else ""
        of.tell([("engine-record", f"no report.json was written with {version}/{there[0]} of {model.directory}{why}")])
    for plan in plans:
        formats = plan.report["builder"].get("io_formats")
        given = {str(name): str(each) for name, each in formats.items()} if isinstance(formats, dict) else {}
        of.tell(tensorrt.judge(config, tensorrt.Engine(plan.report["io"], given)), prefix)
        of.tell(_notes(config, plan), prefix)


def _notes(config: Message, plan: Plan) -> Iterator[Finding]:
    io = plan.report["io"]
    batch, given = tensorrt.batching(config, io), first(config, "max_batch_size", 0)
    missing = [mode for mode in MODES if not configured(config, mode)]
    if missing:
        yield "triton-completed", f"config.pbtxt lists no {' and no '.join(missing)}; Triton takes the engine's"
    elif batch > given:
        yield "triton-completed", f"dims leave out a batch; Triton sets max_batch_size to {batch}"
    unused = tensorrt.unused_outputs(config, io)
    if unused:
        yield "triton-outputs", f"config.pbtxt leaves out the output {', '.join(map(repr, unused))}"


def _of_other(model: Model, config: Message, backend: str, served: Sequence[int]) -> Iterator[Finding]:
    if backend == ENSEMBLE:
        lookup = functools.lru_cache(maxsize=None)(functools.partial(_lookup, model.directory.parent))
        yield from ensembles.judge(config, model.directory.name, lookup)
        return
    batching = first(config, "max_batch_size", 0) > 0
    for tensor in configured(config):
        if tensor.dims and tensor.data_type != UNSET:  # the backend may complete the rest
            yield from core_rules.of_shape(tensor, batching=batching)
    file = core_rules.default_file(config, backend)
    if model.plans and not any(file in model.versions.get(str(version), ()) for version in served):
        yield "triton-config", f"config.pbtxt is for {backend}, and the engine of this directory needs tensorrt_plan"


def _lookup(repository: Path, name: str) -> Optional[ensembles.Served]:
    """Return what is known about another model of the repository."""
    if "/" in name or not os.path.isdir(repository / name):  # also if no directory can have this name
        return None
    model = read_model(repository / name)
    config = _config(model, Judged(model))
    if config is None:
        return ensembles.Served(0, None)
    batch, served = first(config, "max_batch_size", 0), core_rules.served(config, model.folders)[0]
    if _backend(model, config) == TENSORRT and model.report is not None:
        batch = tensorrt.batching(config, model.io)
        tensors = [
            tensor for mode in MODES
            for tensor in completed(configured(config, mode), model.io, mode, batching=batch > 0)
        ]  # fmt: skip
        return ensembles.Served(batch, tensors, served, (), core_rules.decoupled(config))
    complete = configured(config, "input") and configured(config, "output")
    known = configured(config) if complete else None
    return ensembles.Served(batch, known, served, ensembles.models(config), core_rules.decoupled(config))


def _files(report: ModelReport, deploy_dir: str, release: str) -> Dict[str, Optional[str]]:
    del deploy_dir, release
    deployment = report["deployment"]
    return {
        CONFIG: files.config(
            report["name"], report["io"], warmup=deployment["warmup"], version=deployment.get("version")
        )
    }


def _found_by(code: str) -> Check[Judged]:
    return lambda judged: iter(judged.found.get(code, ()))


RULES: Dict[str, Rule[Judged]] = rules(Path(__file__).with_name("rules.json"), _found_by)
CONSUMER: Consumer[Judged] = Consumer(
    name="triton", place=1, rules=RULES, read=judge, files=_files, concerns=lambda _: True,
)  # fmt: skip
