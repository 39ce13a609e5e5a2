"""JUnit XML, for CI systems: a test case for each model."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET  # written here, never read

from prepare_models_entrypoint.contract.report import ModelReport

from ..support.page import printable
from . import documents

# Characters that XML 1.0 can't contain, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(run: documents.Run) -> str:
    """Return the report of a run as JUnit XML."""
    models: list[ModelReport] = run["models"]
    verdicts = [documents.verdict(model) for model in models]
    suite = ET.Element("testsuite")
    suite.attrib.update(
        name="prepare-models",
        tests=str(len(models)),
        failures=str(verdicts.count(documents.NO)),
        errors="0",
        skipped=str(verdicts.count(documents.OPEN)),
        time=f"{run['seconds']:.3f}",
        timestamp=xml_text(str(run["started_at"])[:19]),
    )
    for model in models:
        suite.append(_case(model))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(model: ModelReport) -> ET.Element:
    case = ET.Element("testcase", classname="prepare-models", name=xml_text(model["name"]))
    case.set("time", f"{documents.seconds(model) or 0:.3f}")
    error = model["error"]
    if error is not None:
        failure = ET.SubElement(case, "failure", type=xml_text(error["code"]), message=xml_text(error["message"]))
        failure.text = xml_text(f"{error['stage'] or 'run'}: {error['message']}\n-> {error['hint']}")
    elif documents.verdict(model) == documents.OPEN:
        ET.SubElement(case, "skipped", message=xml_text(model["reason"]))
    lines = [f"warning [{w['code']}]: {w['message']}\n-> {w['hint']}" for w in model["warnings"]]
    verification = model["verification"]
    lines = [*lines, verification["statement"]] if verification else lines
    if lines:
        ET.SubElement(case, "system-out").text = xml_text("\n".join(lines))
    return case


def xml_text(text: str) -> str:
    """Return a text without characters that XML can't hold or that reverse the direction of text."""
    return printable(_FORBIDDEN.sub("\ufffd", text).replace("\r", " "))
