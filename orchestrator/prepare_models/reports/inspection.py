"""What a model file is, for a terminal: in the format of Polygraphy's inspect, plus what that omits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prepare_models_entrypoint.contract.backends import PRODUCTS

from ..support.page import Message, Part, one_line

Document = Mapping[str, Any]


def render(document: Document, *, layers: bool, weights: bool) -> str:
    """Return the text for one file or models directory. ``layers``, ``weights``: whether to list them."""
    if document["format"] == "models-dir":
        parts = [render(each, layers=layers, weights=weights) for each in document["models"]]
        return "\n\n".join([f"{one_line(document['file'])}: {len(parts)} models", *parts])
    lines = [f"{one_line(document['file'])}: {document['format']}, {document['bytes']} bytes"]
    if document["error"]:
        lines.append(str(_message(document["error"], "error", document["file"])))
    elif document["format"] == "plan":
        lines += _plan(document, layers=layers)
    else:
        lines += _onnx(document, layers=layers, weights=weights)
    lines += [f"note: {one_line(document['note'])}"] if document["note"] else []
    for warning in document["warnings"]:
        lines.append(str(_message(warning, "warning", document["file"])))
    return "\n".join(lines)


def findings(model: Document) -> list[Part]:
    """Return lint's findings about one model."""
    count = len(model["warnings"])
    verdict = f"{count} finding{'s' if count > 1 else ''}" if count else "good"
    parts: list[Part] = [f"{one_line(model['name'])}: {verdict}"]
    for kind in ("warning", "note"):
        parts += [_message(problem, kind, model["name"]) for problem in model[f"{kind}s"]]
    return parts


def _message(found: Mapping[str, str], kind: str, about: str) -> Message:
    return Message(kind, found["code"], one_line(about), one_line(found["message"]), one_line(found["hint"]))


def _plan(document: Document, *, layers: bool) -> list[str]:
    header, details = document["header"], document["details"] or {}
    capabilities = header.get("compute_capabilities")
    targets = f" | compute capabilities {', '.join(capabilities)}" if capabilities else ""
    later = " and later" if header.get("and_later") else ""
    runs_here = {True: "yes", False: "no", None: "not known"}[document["runs_here"]]
    lines = [
        f"==== {PRODUCTS[header['format']]} Engine ====",
        f"  Name: {one_line(details.get('name') or 'Unnamed Network 0')} | Explicit Batch Engine",
        f"  Version: {header['version']}{targets}{later}",
        f"  Runs here: {runs_here}: {one_line(document['told'])}",
    ]
    if document["io"] is not None:
        lines += _tensors(document["io"], "input", "Engine Input(s)") + _tensors(
            document["io"], "output", "Engine Output(s)"
        )
    known, streamed = details.get("device_memory_bytes"), details.get("streamable_weights_bytes")
    lines += ["", "  ---- Memory ----"]
    lines.append("  Device Memory: " + (f"{known} bytes" if known is not None else "unknown without a GPU"))
    lines += [f"  Streamable Weights: {streamed} bytes"] if streamed else []
    lines += [f"  Weights in the Plan: {header['weights_bytes']} bytes"] if header.get("weights_bytes") else []
    lines += _profiles(document)
    return lines + _layers(document, "Layer(s)", listed=layers)


def _profiles(document: Document) -> list[str]:
    io, profiles = document["io"] or [], document["profiles"] or []
    if not profiles:
        return []
    width = max(len(one_line(binding["name"])) for binding in io) if io else 0
    lines = ["", f"  ---- {len(profiles)} Profile(s) ({len(io)} Tensor(s) Each) ----"]
    for number, profile in enumerate(profiles):
        lines.append(f"  - Profile: {number}")
        for index, binding in enumerate(io):
            mode = f"({binding['mode'].capitalize()})".rjust(len("(Output)"))
            head = f"      Tensor: {one_line(binding['name']).ljust(width)} {mode}, Index: {index}"
            lines.append(f"{head} | {_shapes(binding, profile.get(binding['name']))}")
    return lines


def _shapes(binding: Document, ranges: Mapping[str, Sequence[int]] | None) -> str:
    if ranges is None:
        return f"Shape: {shape(binding['shape'])}"
    return "Shapes: " + ", ".join(f"{key}={shape(ranges[key])}" for key in ("min", "opt", "max"))


def _onnx(document: Document, *, layers: bool, weights: bool) -> list[str]:
    if document["io"] is None:
        return [f"payload: {document['payload']}"]
    opsets = ", ".join(f"{one_line(domain)} {version}" for domain, version in document["opsets"].items())
    name = one_line(document["name"]) or "(no name)"
    facts = [f"  Name: {name} | ONNX Opset: {opsets or 'none'} | IR Version: {document['ir_version']}"]
    facts += [f"  Producer: {one_line(document['producer'])}"] if document["producer"] else []
    facts += [f"  Functions: {', '.join(map(one_line, document['functions']))}"] if document["functions"] else []
    facts += ["  Carries training information"] if document["training"] else []
    lines = ["==== ONNX Model ====", *facts]
    lines += _tensors(document["io"], "input", "Graph Input(s)") + _tensors(document["io"], "output", "Graph Output(s)")
    summary = document["weights"]
    lines += ["", f"  ---- {summary['count']} Initializer(s), {summary['bytes']} bytes ----"]
    lines += [
        f"  In {one_line(file['location'])}: {file['problem'] or str(file['bytes']) + ' bytes'}"
        for file in summary["files"]
    ]
    lines += [f"  {_tensor(tensor)}" for tensor in summary.get("tensors", ()) if weights]
    return lines + _layers(document, "Node(s)", listed=layers)


def _tensors(io: Iterable[Document], mode: str, title: str) -> list[str]:
    found = [binding for binding in io if binding["mode"] == mode]
    if not found:
        return ["", f"  ---- 0 {title} ----", "  {}"]
    lines = [f"   {_tensor(binding)}" for binding in found]
    lines[0] = "  {" + lines[0][3:]
    return ["", f"  ---- {len(found)} {title} ----", ",\n".join(lines) + "}"]


def _tensor(tensor: Document) -> str:
    inferred = ", inferred" if tensor.get("inferred") else ""
    dims = tensor.get("dims") if tensor.get("dims") is not None else tensor["shape"]
    return f"{one_line(tensor['name'])} [dtype={tensor['dtype']}, shape={shape(dims)}{inferred}]"


def _layers(document: Document, title: str, *, listed: bool) -> list[str]:
    details = document.get("details")
    count = document["nodes"] if document["format"] != "plan" else document["layer_count"]
    if count is None:
        return []
    origin = " of the network, before the builder fused them" if details and details["source"] == "network" else ""
    lines = ["", f"  ---- {count} {title}{origin} ----"]
    found = details.get("layers", ()) if details else document.get("layers", ())
    if listed:
        lines += [_layer(number, layer) for number, layer in enumerate(found)]
    return lines


def _layer(number: int, layer: Document) -> str:
    precision = f", {layer['precision']}" if layer["precision"] else ""
    inputs = "{" + ", ".join(map(one_line, layer["inputs"])) + "} -> " if "inputs" in layer else "-> "
    outputs = "{" + ", ".join(map(one_line, layer["outputs"])) + "}"
    return f"  {number}: {one_line(layer['name'])} [{one_line(layer['type'])}{precision}] {inputs}{outputs}"


def shape(dims: Sequence[int | str | None] | None) -> str:
    """Return dimensions as a tuple, dynamic ones by their name in quotes or as -1; ``unknown`` without a rank."""
    if dims is None:
        return "unknown"
    known = tuple(-1 if dim is None else one_line(dim) if isinstance(dim, str) else dim for dim in dims)
    return repr(known)
