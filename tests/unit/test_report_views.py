"""Reports for CI systems and pull requests, and what differs between two."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from prepare_models.__main__ import main
from prepare_models.reports import difference, documents, html, junit, markdown
from prepare_models_entrypoint.contract import extras

GOLDEN = Path(__file__).parents[1] / "contract" / "v1"


def run() -> Any:
    """Return a run of a good model, a failed one, and one that was not reached."""
    good, failed = (
        json.loads((GOLDEN / name).read_text(encoding="utf-8")) for name in ("report.json", "report-failed.json")
    )
    failed["name"] = "broken"
    skipped = {**failed, "name": "late", "status": "skipped", "error": None, "reason": "an earlier model failed"}
    good["warnings"] = [{"code": "rtx-engine", "message": "loads | in <b>one</b> runtime\nalone", "hint": "use `it`"}]
    return {
        "schema_version": 1, "tool": {"name": "prepare-models", "version": "1.2"}, "run_id": "abc",
        "manifest": "m.yaml", "models_dir": "/models", "seconds": 12.5, "host": {},
        "started_at": "2026-11-23T17:26:58.992+00:00",
        "executor": "local", "runtime": good["runtime"], "summary": {"built": 1, "failed": 1, "skipped": 1},
        "models": [good, failed, skipped],
    }  # fmt: skip


def test_the_verdict_says_whether_a_model_may_be_deployed() -> None:
    found = run()
    assert [documents.verdict(model) for model in found["models"]] == ["ready, with warnings", "failed", "skipped"]
    found["models"][0]["warnings"] = []
    assert documents.verdict(found["models"][0]) == "ready"


def test_junit_has_a_case_for_each_model() -> None:
    root = ET.fromstring(junit.render(run()))
    (suite,) = root
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped", "time", "timestamp")} == {
        "tests": "3", "failures": "1", "errors": "0", "skipped": "1", "time": "12.500",
        "timestamp": "2026-11-23T17:26:58",
    }  # fmt: skip
    good, failed, skipped = suite
    error = run()["models"][1]["error"]
    assert [case.get("name") for case in suite] == [model["name"] for model in run()["models"]]
    failure = failed.find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == (error["code"], error["message"])
    assert error["hint"] in (failure.text or "")
    assert skipped.find("skipped") is not None
    assert "rtx-engine" in (good.findtext("system-out") or "")
    assert good.find("failure") is None


def test_junit_takes_any_text() -> None:
    found = run()
    found["models"][1]["error"]["message"] = "nul \x00 bell \x07 <tag> & ]]> \ud800"
    failure = ET.fromstring(junit.render(found)).find(".//failure")
    assert failure is not None
    assert failure.get("message") == "nul \ufffd bell \ufffd <tag> & ]]> \ufffd"


EVIL = "\x1b]0;title\x07\x9b31m\u202e\u2028\ufffe"


def poisoned(value: Any, key: str = "") -> Any:
    """Return a part of a report in which each text that is not one of a few words goes on with commands."""
    if isinstance(value, dict):
        return {name: poisoned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    words = ("status", "started_at", "mode", "dtype", "role")
    return value + EVIL if isinstance(value, str) and key not in words else value


@pytest.mark.parametrize("form", [markdown, junit, html])
def test_no_text_of_a_report_commands_a_terminal_or_turns_a_line(form: Any) -> None:
    text = form.render(poisoned(run()))
    assert not set("\x1b\x07\x9b\u202e\u2028") & set(text)
    assert "\\u202e" in text
    if form is junit:
        ET.fromstring(text)


def test_no_text_of_a_report_begins_a_line_of_markdown() -> None:
    """Where a summary becomes a note, GitLab takes a line that begins with a slash for a command of its author."""
    document = json.dumps(run())
    texts = {text for text in _texts(run()) if text.isprintable() and text not in ("input", "output")}
    for text in sorted(texts, key=len, reverse=True):
        found = json.loads(document.replace(json.dumps(text) + ",", json.dumps(f"{text}\n/merge\n") + ","))
        assert not [line for line in markdown.render(found).splitlines() if line.startswith("/")], text


def _texts(value: Any) -> Iterator[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from [each] if isinstance(each, str) else _texts(each)


def test_markdown_has_a_row_for_each_model_and_the_remedies() -> None:
    text = markdown.render(run())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert {row.count(" | ") for row in rows} == {8}
    assert "1 built, 1 failed, 1 skipped" in text
    assert "loads \\| in &lt;b>one&lt;/b> runtime alone" in text
    assert "→ use \\`it\\`" in text
    assert run()["models"][1]["error"]["hint"].split()[0] in text


def many(count: int, *, failed: int, message: str = "it failed") -> Any:
    """Return a run of so many models, of which the last ones failed, with wide inputs and a warning that all have."""
    found = run()
    good, bad, _ = found["models"]
    io = good["io"] * 4
    found["models"] = [{**good, "name": f"good-{index}", "io": io} for index in range(count - failed)]
    found["models"] += [
        {**bad, "name": f"bad-{index}", "io": io, "error": {**bad["error"], "message": message}}
        for index in range(failed)
    ]
    return found


def test_markdown_tells_a_warning_of_several_models_once() -> None:
    text = markdown.render(many(20, failed=0))
    assert text.count("rtx-engine") == 1
    assert "**`good-0`, `good-1`" in text
    assert "and 12 more**" in text


@pytest.mark.parametrize(
    ("count", "failed", "message"), [(500, 20, "it failed"), (500, 500, "it failed"), (3000, 3, "x" * 100_000)]
)
def test_markdown_of_many_models_fits_into_a_comment_and_begins_with_the_bad_ones(
    count: int, failed: int, message: str
) -> None:
    text = markdown.render(many(count, failed=failed, message=message))
    assert 30_000 < len(text) <= 65_536
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[1] for row in rows[2:5]] == ["`bad-0`", "`bad-1`", "`bad-2`"]
    assert {row.count(" | ") for row in rows} == {6}
    assert "**`bad-0` failed**" in text
    left = count - len(rows) + 2
    assert (f"{left} more models" in text) == bool(left)
    assert "are in report.json" in text


def test_markdown_of_few_models_leaves_nothing_out() -> None:
    assert "report.json" not in markdown.render(many(40, failed=3))


def changes(first: Any, second: Any) -> dict[tuple[str, str], tuple[Any, Any, bool]]:
    return {(c["model"], c["what"]): (c["a"], c["b"], c["counts"]) for c in difference.compare(first, second)}


def test_equal_reports_have_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(run()), encoding="utf-8")
    assert main(["report", "diff", str(file), str(file)]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_times_and_the_environment_are_told_but_do_not_count(tmp_path: Path) -> None:
    first, second = run(), run()
    second["models"][0]["stages"][0]["seconds"] += 1
    second["runtime"]["gpu"] = {**second["runtime"]["gpu"], "name": "Thor"}
    for name, content in (("a.json", first), ("b.json", second)):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    found = changes(first, second)
    name = first["models"][0]["name"]
    assert {key: counts for key, (_, _, counts) in found.items()} == {
        ("", "gpu"): False,
        (name, f"{first['models'][0]['stages'][0]['name']} seconds"): False,
    }
    assert main(["report", "diff", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0


def test_other_engines_bindings_and_precisions_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run(), copy.deepcopy(run())
    model = second["models"][0]
    model["engine"]["sha256"] = "0" * 64
    model["io"][0]["shape"] = [1, 3, 8, 8]
    model["precision_proof"]["delivered"] = "fp32"
    del second["models"][2]
    found = changes(first, second)
    name, binding = model["name"], first["models"][0]["io"][0]
    assert found[name, "engine sha256"][1:] == ("0" * 64, True)
    assert found[name, f"{binding['mode']} 0 {binding['name']}"][1] == f"{binding['dtype']} 1x3x8x8"
    assert found[name, "precision delivered"][1:] == ("fp32", True)
    assert found["late", "model"] == ("skipped", "absent", True)
    for file, content in (("a.json", first), ("b.json", second)):
        (tmp_path / file).write_text(json.dumps(content), encoding="utf-8")
    assert main(["report", "diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["changes"]) == len(found)


def test_two_models_are_compared_under_both_names() -> None:
    first, second = run(), run()
    first["models"], second["models"] = first["models"][:1], copy.deepcopy(first["models"][:1])
    second["models"][0]["name"] = "other"
    second["models"][0]["engine"]["bytes"] += 1
    name = f"{first['models'][0]['name']} -> other"
    assert {key for key, (_, _, counts) in changes(first, second).items() if counts} == {(name, "engine bytes")}


def test_a_single_model_a_directory_and_a_later_writers_report_are_read(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes((GOLDEN / "report.json").read_bytes())
    assert len(documents.load(tmp_path)["models"]) == 1
    later = run()
    later["energy"] = later["models"][0]["energy"] = 12
    del later["models"][1]["warnings"], later["models"][0]["identity"]["target"]
    (tmp_path / "later.json").write_text(json.dumps(later), encoding="utf-8")
    assert "energy" not in html.render(documents.load(tmp_path / "later.json"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"models": [1]}', '{"models": [], "schema_version": 2}', None])
def test_what_is_no_report_is_a_usage_error(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    assert main(["report", "render", str(file), "--format", "html"]) == 2
    assert str(file) in capsys.readouterr().err


def test_a_run_whose_tool_has_no_version_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited = run()
    del edited["tool"]["version"]
    (tmp_path / "report.json").write_text(json.dumps(edited), encoding="utf-8")
    for form in ("html", "markdown"):
        assert main(["report", "render", str(tmp_path), "--format", form]) == 2
        assert "tool" in capsys.readouterr().err


def test_rendering_writes_the_file_whole_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(json.dumps(run()), encoding="utf-8")
    command = ["report", "render", str(tmp_path), "--format", "junit", "-o"]
    assert main([*command, str(tmp_path / "junit.xml")]) == 0
    assert ET.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"
    assert main([*command, str(tmp_path / "no" / "junit.xml")]) == 3
    assert "No such file" in capsys.readouterr().err


def test_a_missing_extra_is_told_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "vl_convert" else found(name))
    assert main(["run", str(tmp_path / "models.yaml"), "--report-html", str(tmp_path / "r.html")]) == 3
    told = capsys.readouterr().err
    assert "an HTML report needs vl_convert" in told
    assert extras.install("report") in told
