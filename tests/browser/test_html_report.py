"""The HTML report as people meet it: opened from a file, filtered, sorted, by keyboard, on a phone, in the dark."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from .conftest import ARTIFACTS, COUNT, EVIL, Report, Visit

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}
DARK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2}
PHONE_DARK: dict[str, Any] = {**PHONE, "color_scheme": "dark"}
LOOKS = {"desktop": DESKTOP, "desktop-dark": DARK, "phone": PHONE, "phone-dark": PHONE_DARK}


def test_all_models_of_the_run_are_listed_and_nothing_else_is_asked_for(visit: Visit, report: Report) -> None:
    assert visit.rows() == report.names
    assert len(report.names) == COUNT
    visit.page.click("#all")
    assert visit.page.locator("details.model[open]").count() == COUNT
    assert visit.told == []
    assert visit.asked == [report.page.as_uri()]


def test_the_filter_takes_words_and_a_verdict(visit: Visit, report: Report) -> None:
    visit.page.fill("#filter", "camera fp16")
    fp16 = [name for name in report.names if name.startswith("camera") and int(name[-2:]) % 2]
    assert visit.rows() == fp16
    assert visit.page.inner_text("#shown") == f"{len(fp16)} of {COUNT} models"
    visit.page.fill("#filter", "")
    visit.page.select_option("#verdict", "failed")
    assert visit.rows() == report.of_status("failed") == ["detector-strict", "mystery", "gone"]
    assert visit.page.locator("details.model:visible").count() == 3
    visit.page.fill("#filter", "source-not-found")
    assert visit.rows() == ["gone"]
    assert "source-not-found" in visit.page.inner_text("#verdicts tbody tr:visible")


def test_every_column_sorts_both_ways(visit: Visit, report: Report) -> None:
    visit.page.click("#verdicts thead button >> nth=0")
    assert visit.rows() == sorted(report.names)
    visit.page.click("#verdicts thead button >> nth=0")
    assert visit.rows() == sorted(report.names, reverse=True)
    visit.page.click("#verdicts thead button >> nth=1")
    assert set(visit.rows()[:3]) == set(report.of_status("failed"))
    visit.page.click("#verdicts thead button >> nth=5")
    visit.page.click("#verdicts thead button >> nth=5")
    bytes_of = {model["name"]: (model["engine"] or {"bytes": 0})["bytes"] for model in report.run["models"]}
    sizes = [bytes_of[name] for name in visit.rows()]
    assert sizes == sorted(sizes, reverse=True)
    assert visit.page.locator("th[aria-sort]").all_inner_texts() == ["Engine"]


def test_the_keyboard_reaches_and_works_everything(visit: Visit, report: Report) -> None:
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.textContent") == "To the models"
    visit.page.focus("#verdicts thead button >> nth=0")
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Enter")
    assert visit.rows() == sorted(report.names, reverse=True)
    visit.page.focus("a[href='#model-detector-fp16']")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#model-detector-fp16[open]")


def test_a_link_to_a_model_opens_it(visit: Visit, report: Report) -> None:
    visit.page.goto(f"{report.page.as_uri()}#model-detector-strict")
    visit.page.reload()
    text = visit.page.inner_text("#model-detector-strict[open]")
    assert "verification-failed" in text
    assert "at most 1e-09 is allowed" in text
    assert "What to do:" in text


def test_a_model_is_told_whole(visit: Visit, report: Report) -> None:
    visit.page.click("a[href='#model-detector-fp16']")
    text = visit.page.inner_text("#model-detector-fp16[open]")
    for heading in ("Inputs and outputs", "Optimization profiles", "Precision", "Verification", "Stages", "Layers",
                    "Provenance", "The same with trtexec"):  # fmt: skip
        assert heading in text
    (model,) = [model for model in report.run["models"] if model["name"] == "detector-fp16"]
    for fact in ("-1x3x32x32", "4x3x32x32", EVIL, model["engine"]["sha256"], model["materials"][0]["sha256"]):
        assert fact in text
    assert visit.page.locator("#model-detector-fp16 figure svg[role=img]").count() == 3
    assert visit.page.locator("section[aria-labelledby=timeline-title] svg[role=img]").count() == 1
    assert visit.told == []


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["phone"])
def test_a_phone_scrolls_down_and_not_sideways(visit: Visit) -> None:
    visit.page.click("#all")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("visit", [DESKTOP], indirect=True, ids=["light system"])
def test_the_reader_may_choose_the_colours(visit: Visit) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    assert visit.page.evaluate(colour) == "rgb(255, 255, 255)"
    visit.page.select_option("#theme", "dark")
    assert visit.page.evaluate(colour) == "rgb(20, 23, 26)"


@pytest.mark.parametrize("visit", LOOKS.values(), indirect=True, ids=LOOKS.keys())
def test_it_is_accessible_in_every_look(visit: Visit, request: pytest.FixtureRequest) -> None:
    look = request.node.callspec.id
    visit.page.screenshot(path=str(ARTIFACTS / f"{look}.png"))
    visit.page.goto(f"{visit.page.url.partition('#')[0]}#model-detector-fp16")
    visit.page.reload()
    visit.page.locator("#model-detector-fp16").screenshot(path=str(ARTIFACTS / f"{look}-model.png"))
    for name in ("detector-strict", "detector-fp32", "mystery", "camera-01"):
        visit.page.eval_on_selector(f"#model-{name}", "model => { model.open = true }")
    visit.page.eval_on_selector("#model-detector-fp16 details", "all => { all.open = true }")
    found = Axe().run(visit.page).response["violations"]
    told = {violation["id"]: [node["html"][:120] for node in violation["nodes"][:3]] for violation in found}
    assert told == {}
