"""DeepStream's rules: what nvinfer requires of an engine, and of deepstream.txt next to it.

nvinfer rebuilds an engine, or fails, if batch or dimensions in the configuration differ from the engine's:
checkBackendParams in sources/libs/nvdsinfer/nvdsinfer_context_impl.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from ...contract.companions import DEEPSTREAM, LABELS
from ...contract.report import Binding, ModelReport
from .. import places
from ..consumer import ENGINE, FILES, Consumer, Rule
from ..model_files import Model
from . import files
from .files import NCHW, OUTPUT_TYPES, image_input
from .keys import DEFAULT, RELEASES, KeyFile, keys, problems, read, split

_DEFAULT_BATCH = "1"


@dataclass(frozen=True)
class NvinferModel:
    """A model as nvinfer sees it. file: deepstream.txt; None if missing or unreadable. ``unreadable``: why."""

    model: Model
    release: str
    file: Optional[KeyFile] = None
    unreadable: Optional[str] = None

    @property
    def image(self) -> "Optional[Tuple[Binding, int, int]]":
        """Return the input that nvinfer fills, its order and its channels."""
        return image_input(self.model.io)

    def number(self, key: str, default: str) -> Optional[int]:
        """Return an integer from the configuration, or None if it is not one."""
        text = self.file.properties.get(key, default) if self.file else default
        return int(text) if text.isdigit() else None


def nvinfer_model(model: Model, release: str) -> NvinferModel:
    """Read a model's files that nvinfer reads."""
    try:
        text = model.text(DEEPSTREAM)
        file = read(text) if text is not None else None
    except ValueError as error:
        return NvinferModel(model, release, unreadable=f"{DEEPSTREAM} can't be read: {error}")
    path = file.properties.get("model-engine-file", "") if file else ""
    return NvinferModel(places.of_engine(model, str(places.directory(model) / path)), release, file)


def output_type(of: NvinferModel) -> Iterator[str]:
    """Find outputs with types that nvinfer's layers don't have."""
    for binding in of.model.of("output"):
        if binding["dtype"] not in OUTPUT_TYPES:
            yield f"output {binding['name']!r} is {binding['dtype']}"


def image(of: NvinferModel) -> Iterator[str]:
    """Find engines that nvinfer can't feed."""
    if of.model.report is not None and of.image is None and not _fed_by_others(of):
        inputs = of.model.of("input")
        text = ", ".join(f"{binding['name']} {binding['dtype']} {binding['shape']}" for binding in inputs)
        yield f"the inputs are {text or 'none'}"


def _fed_by_others(of: NvinferModel) -> bool:
    """Return whether nvdspreprocess fills the inputs."""
    return of.file is not None and of.file.properties.get("input-tensor-from-meta") in ("1", "true")


def unreadable(of: NvinferModel) -> Iterator[str]:
    """Find a file that GLib refuses."""
    if of.unreadable is not None:
        yield of.unreadable


def key(of: NvinferModel) -> Iterator[str]:
    """Find keys and values that nvinfer doesn't accept."""
    if of.file is not None:
        yield from problems(of.file, of.release)


def engine_file(of: NvinferModel) -> Iterator[str]:
    """Find a model-engine-file that is not this engine: nvinfer would build another one at every start."""
    if of.file is None:
        return
    path = of.file.properties.get("model-engine-file", "")
    whole = _absolute(of, path)
    if not path:
        yield "model-engine-file is missing"
    elif not places.names_engine(of.model, str(whole)):
        yield f"model-engine-file is {path}, which is not an engine of {of.model.directory.name}"


def deploy_dir(of: NvinferModel) -> Iterator[str]:
    """Find a path to another place: the directory was moved, or is mounted under another name."""
    path = of.file.properties.get("model-engine-file", "") if of.file else ""
    if path and places.names_engine(of.model, str(_absolute(of, path))):
        why = places.elsewhere(of.model, _absolute(of, path).parent.parent)
        if why is not None:
            yield f"model-engine-file is in {why}"


def _absolute(of: NvinferModel, path: str) -> PurePosixPath:
    """Return the absolute form of a path in the file, which is relative to the file's directory."""
    return places.directory(of.model) / path


def batch(of: NvinferModel) -> Iterator[str]:
    """Find a batch that the engine doesn't accept."""
    if of.file is None or of.image is None:
        return
    given, largest = of.number("batch-size", _DEFAULT_BATCH), files.largest_batch(of.image[0])
    if given is not None and given > largest:
        yield f"batch-size is {given}, the engine takes {largest}"


def outputs(of: NvinferModel) -> Iterator[str]:
    """Find outputs that the engine lacks."""
    if of.file is None or of.model.report is None or "output-blob-names" not in of.file.properties:
        return
    own = [binding["name"] for binding in of.model.of("output")]
    unknown = [name for name in split(of.file.properties["output-blob-names"]) if name not in own]
    if unknown:
        yield f"output-blob-names has {', '.join(map(repr, unknown))}, the engine's outputs are {own}"


def dimensions(of: NvinferModel) -> Iterator[str]:
    """Compare order, channels, height and width with the engine's input."""
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
    text = of.file.properties.get("infer-dims") if of.file else None
    numbers = [int(part) for part in split(text or "") if part.isdigit()]
    if text is None or len(numbers) != 3:
        return
    shape = _in_order(numbers, order)
    ranges = [(each["min"][1:], each["max"][1:]) for each in binding["profiles"]] or [(binding["shape"][1:],) * 2]
    if not any(all(a <= size <= b or -1 in (a, b) for size, a, b in zip(shape, *limit)) for limit in ranges):
        yield f"infer-dims is {text} (channels;height;width), input {binding['name']!r} is {binding['shape']}"


def _in_order(dims: Sequence[int], order: int) -> List[int]:
    """Return channels, height and width in the order of the input."""
    channels, height, width = dims
    return [channels, height, width] if order == NCHW else [height, width, channels]


def missing_files(of: NvinferModel) -> Iterator[str]:
    """Find files named in the configuration that are not next to it; absolute paths may be on another machine."""
    for name, declared in keys(of.release)["property"].items() if of.file else ():
        path = of.file.properties.get(name, "") if of.file else ""
        if declared.type != "file" or not path or path.startswith("/") or name == "model-engine-file":
            continue
        if not (of.model.directory / Path(path)).exists():
            yield f"{name} is {path}, which is not in {of.model.directory}"


RULES: Dict[str, Rule[NvinferModel]] = {
    "deepstream-output-type": Rule(
        ENGINE, "nvinfer's layers are float32, float16, int8 or int32",
        "export the model with a cast to such a type at this output",
        output_type,
    ),
    "deepstream-input": Rule(
        ENGINE, "nvinfer fills one float32 image of 1 or 3 channels",
        "use nvdspreprocess (input-tensor-from-meta=1) or a custom library that fills the inputs",
        image,
    ),
    "deepstream-file": Rule(
        FILES, "deepstream.txt is not a configuration that nvinfer can read",
        "correct the line, or prepare-models relocate MODELS_DIR: it writes deepstream.txt from the engine",
        unreadable,
    ),
    "deepstream-key": Rule(
        FILES, "nvinfer does not know a key, or refuses its value",
        "correct the key or the value that is named",
        key,
    ),
    "deepstream-engine-file": Rule(
        FILES, "model-engine-file is not this engine, and nvinfer builds another one at every start, or fails",
        "write the path of 1/model.plan as nvinfer sees it",
        engine_file,
    ),
    "deepstream-deploy-dir": Rule(
        FILES, "the file names a directory that is not this one: it was moved, or is mounted elsewhere",
        "prepare-models relocate MODELS_DIR --deploy-dir PATH writes the path as nvinfer sees it",
        deploy_dir,
    ),
    "deepstream-batch": Rule(
        FILES, "batch-size is more than the engine takes, and nvinfer builds another one, or fails",
        "write a batch-size that the engine takes",
        batch,
    ),
    "deepstream-outputs": Rule(
        FILES, "output-blob-names names outputs that the engine lacks",
        "correct it, or prepare-models relocate MODELS_DIR: it writes deepstream.txt from the engine",
        outputs,
    ),
    "deepstream-dims": Rule(
        FILES, "order, channels or infer-dims are not those of the engine's input",
        "infer-dims is channels;height;width; prepare-models relocate MODELS_DIR writes the file from the engine",
        dimensions,
    ),
    "deepstream-missing-file": Rule(
        FILES, "a file that deepstream.txt names is not next to it",
        "put it there, or correct the path",
        missing_files,
    ),
}  # fmt: skip


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
