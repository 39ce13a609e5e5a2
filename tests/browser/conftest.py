"""A run of 50 models for real, its HTML report, and headless Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from playwright.sync_api import Browser, Page, sync_playwright

from tests import networks
from tests.command import Workplace

ARTIFACTS = Path(__file__).parents[2] / ".ci" / "artifacts"
EVIL = "<img src=x onerror=alert(1)>"
COUNT = 50


class Report:
    """The page, and what the run said about itself."""

    def __init__(self, page: Path, run: dict[str, Any]) -> None:
        self.page, self.run = page, run
        self.names = [model["name"] for model in run["models"]]

    def of_status(self, status: str) -> list[str]:
        return [model["name"] for model in self.run["models"] if model["status"] == status]


def detector(path: Path) -> Path:
    """A little network with scores and classes, the former under a name that a careless page would run."""
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((8, 3, 3, 3), dtype=np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["features"], name="backbone/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"], name="backbone/relu"),
        helper.make_node("MaxPool", ["active"], ["pooled"], name="backbone/pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Sigmoid", ["pooled"], [EVIL], name="head/scores"),
    ]
    shape = ["batch", 8, 16, 16]
    return networks.save(
        path, nodes, [("image", TensorProto.FLOAT, ["batch", 3, 32, 32])], [(EVIL, TensorProto.FLOAT, shape)], weights
    )


def models(folder: Path) -> list[dict[str, Any]]:
    detector(folder / "detector.onnx")
    networks.conv(folder / "segmenter.onnx")
    networks.unsupported(folder / "mystery.onnx")
    image = {"min": "1x3x32x32", "opt": "4x3x32x32", "max": "8x3x32x32"}
    detecting: dict[str, Any] = {"source": "detector.onnx", "inputs": {"image": image}}
    special: list[dict[str, Any]] = [
        {"name": "detector-fp16", **detecting, "precision": "fp16", "verify": {}},
        {"name": "detector-strict", **detecting, "precision": "fp16", "verify": {"thresholds": {"max_abs": 1e-9}}},
        {"name": "detector-fp32", **detecting, "verify": {}},
        {"name": "mystery", "source": "mystery.onnx"},
        {"name": "gone", "source": "gone.onnx"},
    ]
    rest = [
        {"name": f"camera-{index:02}", "source": "segmenter.onnx", "precision": ("fp32", "fp16")[index % 2]}
        for index in range(COUNT - len(special))
    ]
    return [*special, *rest]


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    place = Workplace(tmp_path_factory.mktemp("run"))
    place.write(*models(place.folder))
    page = place.folder / "report.html"
    result = place.run("--report-html", str(page), "--jobs", "2")
    assert result.status == 1, result.stderr
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(page, ARTIFACTS / "report.html")
    (ARTIFACTS / "report.json").write_text(json.dumps(result.report), encoding="utf-8")
    return Report(page, result.report)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.fail("there is no chromium: run .ci/chromium.sh")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


class Visit:
    """A page that is open, and everything it said or asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.told: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.told.append(message.text))
        page.on("pageerror", lambda error: self.told.append(str(error)))
        page.on("dialog", lambda dialog: self.told.append(dialog.message))
        page.on("request", lambda request: self.asked.append(request.url))

    def rows(self) -> list[str]:
        """Return the names of the models that the table shows, in its order."""
        names: list[str] = self.page.locator("#verdicts tbody tr:visible th").all_inner_texts()
        return names


@pytest.fixture
def visit(browser: Browser, report: Report, request: pytest.FixtureRequest) -> Iterator[Visit]:
    options = {"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    found = Visit(context.new_page())
    found.page.goto(report.page.as_uri())
    yield found
    context.close()
