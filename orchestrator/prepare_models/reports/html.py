"""A self-contained HTML file: it needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract import extras
from prepare_models_entrypoint.contract.report import ModelReport

from ..errors import ExtraMissingError
from ..support.terminal import printable
from . import documents
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
    from . import charts

    return _page(
        "report.html",
        run=run,
        models=[_model(model) for model in run["models"]],
        counts=_counts(run["models"]),
        timeline=_svg(charts.timeline(run["models"])),
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
    from . import charts

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
            {"name": output["name"], "charts": [_svg(charts.differences(output)), _svg(charts.agreement(output))]}
            for output in outputs[:_CHARTED_OUTPUTS]
            if output["elements"]
        ],
        "layers": _svg(charts.layers(details["layers"])) if details and details["layers"] else None,
    }


def _counts(models: Iterable[ModelReport]) -> dict[str, int]:
    verdicts = [documents.verdict(model) for model in models]
    return {name: verdicts.count(name) for name in reversed(documents.VERDICTS)}


def _svg(drawn: str) -> Markup:
    """Mark Vega's drawing as safe: Vega escapes the texts in it."""
    return _verbatim(drawn)


def _verbatim(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  # our own files, and pictures whose texts are escaped


def _shown(value: object) -> object:
    """Return a value for the page, without characters that reverse the direction of text."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
