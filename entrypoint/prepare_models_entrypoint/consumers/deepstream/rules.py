"""DeepStream's rules: what nvinfer requires of an engine, and of deepstream.txt next to it.

nvinfer rebuilds an engine, or fails, if batch or dimensions in the configuration differ from the engine's:
checkBackendParams in sources/libs/nvdsinfer/nvdsinfer_context_impl.cpp.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, Optional, Tuple

from ...contract.companions import DEEPSTREAM, LABELS
from ...contract.report import Binding, ModelReport
from ...contract.values import Value
from ..consumer import Check, Consumer, Rule, rules
from ..model_files import Model
from . import files
from .files import NCHW, OUTPUT_TYPES, image_input
from .keys import DEFAULT, PROPERTY, RELEASES, KeyFile, keys, problems, read, split

_DEFAULT_BATCH = "1"


class NvinferModel(Value):
    """A model as nvinfer sees it. file: deepstream.txt; None if missing or unreadable. ``unreadable``: why."""

    model: Model
    release: str
    file: Optional[KeyFile] = None
    unreadable: Optional[str] = None

    @property
    def image(self) -> "Optional[Tuple[Binding, int, int]]":
        """Return the input that nvinfer fills, its order and its channels."""
        return image_input(self.model.io)

    def value(self, key: str, default: str = "") -> str:
        """Return a property of the configuration."""
        return self.file[PROPERTY].get(key, default) if self.file else default

    def number(self, key: str, default: str) -> Optional[int]:
        """Return an integer from the configuration, or None if it is not one."""
        text = self.value(key, default)
        return int(text) if text.isdigit() else None

    @property
    def engine(self) -> PurePosixPath:
        """Return the engine that the file names, by a path relative to the file's directory."""
        return self.model.place / self.value("model-engine-file")


def nvinfer_model(model: Model, release: str) -> NvinferModel:
    """Read a model's files that nvinfer reads."""
    try:
        text = model.text(DEEPSTREAM)
        file = read(text) if text is not None else None
    except ValueError as error:
        return NvinferModel(model, release, unreadable=f"{DEEPSTREAM} can't be read: {error}")
    found = NvinferModel(model, release, file)
    return replace(found, model=model.of_engine(str(found.engine)))


def _output_type(of: NvinferModel) -> Iterator[str]:
    for binding in of.model.of("output"):
        if binding["dtype"] not in OUTPUT_TYPES:
            yield f"output {binding['name']!r} is {binding['dtype']}"


def _image(of: NvinferModel) -> Iterator[str]:
    if of.model.report is not None and of.image is None and not _fed_by_others(of):
        inputs = of.model.of("input")
        text = ", ".join(f"{binding['name']} {binding['dtype']} {binding['shape']}" for binding in inputs)
        yield f"the inputs are {text or 'none'}"


def _fed_by_others(of: NvinferModel) -> bool:
    """Return whether nvdspreprocess fills the inputs."""
    return of.value("input-tensor-from-meta") in ("1", "true")


def _unreadable(of: NvinferModel) -> Iterator[str]:
    if of.unreadable is not None:
        yield of.unreadable


def _key(of: NvinferModel) -> Iterator[str]:
    if of.file is not None:
        yield from problems(of.file, of.release)


def _engine_file(of: NvinferModel) -> Iterator[str]:
    path = of.value("model-engine-file")
    if of.file is not None and not path:
        yield "model-engine-file is missing"
    elif path and not of.model.names_engine(str(of.engine)):
        yield f"model-engine-file is {path}, which is not an engine of {of.model.directory.name}"


def _deploy_dir(of: NvinferModel) -> Iterator[str]:
    if of.value("model-engine-file") and of.model.names_engine(str(of.engine)):
        why = of.model.elsewhere(of.engine.parent.parent)
        if why is not None:
            yield f"model-engine-file is in {why}"


def _batch(of: NvinferModel) -> Iterator[str]:
    if of.file is None or of.image is None:
        return
    given, largest = of.number("batch-size", _DEFAULT_BATCH), files.largest_batch(of.image[0])
    if given is not None and given > largest:
        yield f"batch-size is {given}, the engine takes {largest}"


def _outputs(of: NvinferModel) -> Iterator[str]:
    if of.file is None or of.model.report is None or not of.value("output-blob-names"):
        return
    own = [binding["name"] for binding in of.model.of("output")]
    unknown = [name for name in split(of.value("output-blob-names")) if name not in own]
    if unknown:
        yield f"output-blob-names has {', '.join(map(repr, unknown))}, the engine's outputs are {own}"


def _dimensions(of: NvinferModel) -> Iterator[str]:
    if of.file is None or of.image is None or _fed_by_others(of):
        return
    binding, order, channels = of.image
    given = of.number("network-input-order", str(NCHW))
    if given in (0, 1) and given != order:
        yield f"network-input-order is {given}, input {binding['name']!r} is {binding['shape']}, which is {order}"
        return
    gray = of.number("model-color-format", "0") == 2
    if gray != (channels == 1):
        yield f"model-color-format is {'gray' if gray else 'of three channels'}, the input has {channels}"
    yield from _infer_dims(of, binding, order)


def _infer_dims(of: NvinferModel, binding: Binding, order: int) -> Iterator[str]:
    text = of.value("infer-dims")
    numbers = [int(part) for part in split(text) if part.isdigit()]
    if len(numbers) != 3:
        return
    channels, *image = numbers
    shape = [channels, *image] if order == NCHW else [*image, channels]
    ranges = [(each["min"][1:], each["max"][1:]) for each in binding["profiles"]] or [(binding["shape"][1:],) * 2]
    if not any(all(a <= size <= b or -1 in (a, b) for size, a, b in zip(shape, *limit)) for limit in ranges):
        yield f"infer-dims is {text} (channels;height;width), input {binding['name']!r} is {binding['shape']}"


def _missing_files(of: NvinferModel) -> Iterator[str]:
    for name, declared in keys(of.release)[PROPERTY].items() if of.file else ():
        path = of.value(name)
        if declared.type != "file" or not path or path.startswith("/") or name == "model-engine-file":
            continue
        if not (of.model.directory / Path(path)).exists():
            yield f"{name} is {path}, which is not in {of.model.directory}"


_CHECKS: Dict[str, Check[NvinferModel]] = {
    "deepstream-output-type": _output_type,
    "deepstream-input": _image,
    "deepstream-file": _unreadable,
    "deepstream-key": _key,
    "deepstream-engine-file": _engine_file,
    "deepstream-deploy-dir": _deploy_dir,
    "deepstream-batch": _batch,
    "deepstream-outputs": _outputs,
    "deepstream-dims": _dimensions,
    "deepstream-missing-file": _missing_files,
}
RULES: Dict[str, Rule[NvinferModel]] = rules(Path(__file__).with_name("rules.json"), _CHECKS.__getitem__)


def _concerns(model: Model) -> bool:
    """Return whether nvinfer can feed an engine; for a directory, whether it has a configuration."""
    if not model.versions:
        return image_input(model.io) is not None
    return (model.directory / DEEPSTREAM).exists()


def _files(report: ModelReport, deploy_dir: str, release: str) -> Dict[str, Optional[str]]:
    del release
    text = files.config(report, deploy_dir)
    return {DEEPSTREAM: text, LABELS: files.labels(report) if text is not None else None}


CONSUMER: Consumer[NvinferModel] = Consumer(
    name="deepstream", place=2, rules=RULES, read=nvinfer_model, files=_files, concerns=_concerns,
    releases=RELEASES, default=DEFAULT,
)  # fmt: skip
