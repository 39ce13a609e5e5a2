"""A self-contained HTML file, with charts by Vega-Lite: it needs no network and no other file.

The colours of the charts are the page's own, so they follow its theme.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prepare_models_entrypoint.contract import extras
from prepare_models_entrypoint.contract.comparison import OutputComparison
from prepare_models_entrypoint.contract.kinds import Schema
from prepare_models_entrypoint.contract.report import Layer, ModelReport

from ..errors import ExtraMissingError, HostError
from ..support.page import printable
from . import documents
from .junit import xml_text
from .text import number, scale_fit, shape

if TYPE_CHECKING:
    from markupsafe import Markup

    from ..provisioning.fleet import Device

_CHARTED_OUTPUTS = 8
_LISTED_LAYERS = 1000


def check(*modules: str) -> None:
    """Raise ExtraMissingError unless the packages that draw the page are installed. ``modules``: which, if not all."""
    from importlib.util import find_spec

    missing = [name for name in modules or ("jinja2", "vl_convert") if find_spec(name) is None]
    if missing:
        raise ExtraMissingError(extras.missing("an HTML report", "report", " and ".join(missing)))


def render(run: documents.Run) -> str:
    """Return the report of a run as a page.

    Raises:
        ExtraMissingError: the extra ``report`` is not installed.
    """
    check()
    verdicts = [documents.verdict(model) for model in run["models"]]
    return _page(
        "report.html",
        run=run,
        models=[_model(model) for model in run["models"]],
        counts={name: verdicts.count(name) for name in reversed(documents.VERDICTS)},
        timeline=_timeline(run["models"]),
        listed_layers=_LISTED_LAYERS,
    )


def fleet(devices: Sequence[Device], counts: Mapping[str, int]) -> str:
    """Return many machines as a page. ``counts``: of their states.

    Raises:
        ExtraMissingError: the extra ``report`` is not installed.
    """
    check("jinja2")
    return _page("fleet.html", devices=devices, counts=counts, ranks={state: rank for rank, state in enumerate(counts)})


def _page(template: str, **values: object) -> str:
    import jinja2

    folder = Path(__file__).with_name("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown,
    )  # fmt: skip
    environment.filters |= {"shape": shape, "size": documents.size, "number": number, "scale_fit": scale_fit}
    script = (folder / "report.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style=_verbatim((folder / "report.css").read_text(encoding="utf-8")),
        script=_verbatim(script),
        script_sha256=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        **values,
    )


def _model(model: ModelReport) -> dict[str, object]:
    verification, details = model["verification"], model["details"]
    outputs = verification["outputs"] if verification else []
    return {
        "report": model,
        "name": model["name"],
        "verdict": documents.verdict(model),
        "rank": documents.VERDICTS.index(documents.verdict(model)),
        "codes": documents.codes(model),
        "verified": documents.verified(model),
        "seconds": documents.seconds(model),
        "plots": [
            {"name": output["name"], "charts": [_differences(output), _agreement(output)]}
            for output in outputs[:_CHARTED_OUTPUTS]
            if output["elements"]
        ],
        "layers": _layers(details["layers"]) if details and details["layers"] else None,
    }


def _verbatim(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  # our own files, and pictures whose texts are escaped


def _shown(value: object) -> object:
    """Return a value for the page, without characters that reverse the direction of text."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_STAGES = ("fetch", "convert", "inspect", "verify")
_TYPES = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "other")
# Vega measures texts in its own font; the reader's may be wider.
_PADDING = {"left": 30, "top": 4, "right": 8, "bottom": 4}
_POWER = "datum.value == -8 ? '≤1e-8' : '1e' + datum.value"
_CONFIG: Schema = {
    # The picture as a whole has a description; its parts need none.
    "mark": {"aria": False},
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "aria": False, "labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
        "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.15, "titleFontWeight": "normal",
        "labelFontSize": 11, "titleFontSize": 12, "labelLimit": 180,
    },
    "legend": {
        "aria": False, "labelColor": "currentColor", "titleColor": "currentColor", "orient": "top", "labelFontSize": 12,
        "symbolType": "square",
    },
}  # fmt: skip


def _timeline(models: Sequence[ModelReport]) -> Markup:
    """Draw when each stage of each model ran; return an empty text if none ran."""
    stages = [(model["name"], stage) for model in models for stage in model["stages"] if stage.get("started_at")]
    if not stages:
        return _verbatim("")
    start = min(stage["started_at"] for _, stage in stages)
    values = [
        {
            "model": name,
            "stage": stage["name"],
            "start": stage["started_at"] - start,
            "end": stage["started_at"] - start + stage["seconds"],
        }
        for name, stage in stages
    ]
    axes = {
        "x": {"field": "start", "type": "quantitative", "title": "seconds since the first stage began"},
        "x2": {"field": "end"},
        "y": {"field": "model", "type": "nominal", "sort": None, "title": None},
        "color": _colours("stage", _STAGES),
    }
    whole = max(stage["started_at"] + stage["seconds"] for _, stage in stages) - start
    begun = dt.datetime.fromtimestamp(start, dt.timezone.utc).strftime("%H:%M:%S")
    caption = f"Stages of {len({name for name, _ in stages})} models over {whole:.1f} seconds from {begun} UTC"
    return _svg(caption, 640, {"step": 18}, _layer(values, {"type": "bar", "minBandSize": 1}, axes))


def _differences(output: OutputComparison) -> Markup:
    """Draw the distribution of an output's absolute differences."""
    histogram = output["histogram"]
    lowest, width = histogram["lowest"], 1 / histogram["per_decade"]
    values = [
        {"low": lowest + (index - 1) * width, "high": lowest + index * width, "count": count}
        for index, count in enumerate(histogram["counts"])
        if count
    ]
    axes = {
        "x": {
            "field": "low", "type": "quantitative", "title": "absolute difference",
            "bin": {"binned": True, "step": width},
            "scale": {"domain": [lowest - width, 4]},
            "axis": {"values": [-8, -6, -4, -2, 0, 2, 4], "labelExpr": _POWER},
        },
        "x2": {"field": "high"},
        "y": {"field": "count", "type": "quantitative", "title": "values", "scale": {"type": "symlog"},
              "axis": {"labelExpr": "format(datum.value, '~s')", "values": [0, 10, 1000, 100_000, 10_000_000]}},
    }  # fmt: skip
    caption = f"Histogram of the absolute differences of {output['name']}, largest {output['max_abs']:.6g}"
    return _svg(caption, 300, 130, _layer(values, {"type": "bar", "color": "var(--c1)"}, axes))


def _agreement(output: OutputComparison) -> Markup:
    """Draw some values of an output against the reference's."""
    points = [{"reference": first, "candidate": second} for first, second in output["points"]]
    ends = [value for point in output["points"] for value in point] or [0.0]
    line = [{"reference": end, "candidate": end} for end in (min(ends), max(ends))]
    axes = {
        name: {"field": field, "type": "quantitative", "title": field, "scale": {"zero": False}}
        for name, field in (("x", "reference"), ("y", "candidate"))
    }
    equal = _layer(line, {"type": "line", "color": "currentColor", "opacity": 0.4}, axes)
    found = _layer(points, {"type": "point", "color": "var(--c1)", "size": 14}, axes)
    caption = f"{len(points)} values of {output['name']} against the reference; equal ones lie on the line"
    return _svg(caption, 220, 130, {"layer": [equal, found]})


def _layers(found: Sequence[Layer]) -> Markup:
    """Draw the number of layers of each kind, by precision."""
    known = [layer["precision"] if layer["precision"] in _TYPES else "other" for layer in found]
    values = [{"type": layer["type"], "precision": precision} for layer, precision in zip(found, known, strict=True)]
    most = max(Counter(value["type"] for value in values).values())
    axis = {"tickCount": min(most, 6), "format": "d"}
    axes = {
        "x": {"aggregate": "count", "type": "quantitative", "title": "layers", "axis": axis},
        "y": {"field": "type", "type": "nominal", "sort": "-x", "title": None},
        "color": _colours("precision", [name for name in _TYPES if name in known]),
    }
    return _svg(f"{len(values)} layers by kind and precision", 420, {"step": 20}, _layer(values, "bar", axes))


def _layer(values: Sequence[Mapping[str, object]], mark: object, axes: Mapping[str, object]) -> Schema:
    return {"data": {"values": values}, "mark": mark, "encoding": axes}


def _colours(field: str, domain: Sequence[str]) -> Schema:
    known = _TYPES if field == "precision" else _STAGES
    colours = [f"var(--c{known.index(name) + 1})" for name in domain]
    return {"field": field, "type": "nominal", "title": None, "scale": {"domain": list(domain), "range": colours}}


def _drawable(value: Any) -> Any:
    """Return a part of a chart without characters that SVG can't hold: the library would end the process."""
    if isinstance(value, str):
        return xml_text(value)
    if isinstance(value, list):
        return [_drawable(each) for each in value]
    return {key: _drawable(each) for key, each in value.items()} if isinstance(value, dict) else value


def _svg(description: str, width: int, height: object, spec: Schema) -> Markup:
    """Return Vega's drawing, marked as safe: Vega escapes the texts in it."""
    import vl_convert

    frame = {"$schema": _SCHEMA, "config": _CONFIG, "padding": _PADDING, "width": width, "height": height}
    document = {**frame, **_drawable(spec)}
    try:
        drawn: str = vl_convert.vegalite_to_svg(document, "5.20")
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # from Rust: it has no class to import and is not an Exception
            raise
        raise HostError(
            "the charts of the report can't be drawn: their library gave up",
            hint="raise the limits (ulimit -n 4096, ulimit -v unlimited), or render it as markdown",
        ) from None
    label = escape(xml_text(description), quote=True)
    return _verbatim(drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))
