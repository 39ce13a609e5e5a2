"""The documents of contract version 1, byte for byte. Once released, no commit may edit a file in v1/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION, ContractError
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.identity import build_key
from prepare_models_entrypoint.contract.job import Job
from prepare_models_entrypoint.contract.report import SCHEMA_VERSION, blank, read

GOLDEN = Path(__file__).parent / "v1"
REPORTS = ("report.json", "report-failed.json")


def text_of(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


def document(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(text_of(name))
    return raw


def events() -> list[str]:
    return text_of("events.jsonl").splitlines(True)


def written(raw: Any) -> str:
    return json.dumps(raw, indent=2) + "\n"


def test_the_versions_are_those_of_the_files() -> None:
    assert CONTRACT_VERSION == SCHEMA_VERSION == 1


def test_a_job_is_read_and_written_without_loss() -> None:
    assert written(Job.from_dict(document("job.json")).to_dict()) == text_of("job.json")


def test_a_job_arrives_as_it_was_meant() -> None:
    plain, full = Job.from_dict(document("job.json")).models
    assert (plain.name, plain.precision, plain.converter, plain.timeout_s) == ("peoplesemseg", "fp32", "auto", None)
    assert (plain.output_dir, plain.deploy_dir) == ("/models/peoplesemseg", "/srv/models/peoplesemseg")
    assert full.inputs["input_2:0"].max == (16, 3, 544, 960)
    assert full.outputs == ("argmax_1", "scores")
    assert (full.builder.workspace_bytes, full.builder.optimization_level, full.builder.tf32) == (2 << 30, 5, False)
    assert (full.key_file, full.timeout_s) == ("/proc/self/fd/7", 90.5)
    assert (plain.limit_s, full.limit_s) == (6 * 3600, 90.5)


@pytest.mark.parametrize("line", events())
def test_an_event_is_read_and_written_without_loss(line: str) -> None:
    assert Event.from_line(line).to_line() == line


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_read_and_written_without_loss(name: str) -> None:
    assert written(read(document(name))) == text_of(name)


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_has_the_keys_of_the_contract(name: str) -> None:
    assert list(document(name)) == list(blank("a", "b", precision="fp32", converter="auto"))


def test_the_build_key_of_the_golden_identity_stays() -> None:
    report = document("report.json")
    assert build_key(report["identity"]) == report["build_key"]


@pytest.mark.parametrize(
    "place", [[], ["models", 1], ["models", 1, "builder"], ["models", 1, "inputs", "input_2:0"]], ids=str
)
def test_a_job_with_an_unknown_field_is_refused(place: list[Any]) -> None:
    raw = document("job.json")
    node: Any = raw
    for step in place:
        node = node[step]
    node["no_such"] = True
    with pytest.raises(ContractError, match=r"unknown field.* no_such"):
        Job.from_dict(raw)


@pytest.mark.parametrize("version", [2, 0, "1", None, True])
def test_a_job_of_another_version_is_refused(version: Any) -> None:
    with pytest.raises(ContractError, match="contract version"):
        Job.from_dict({**document("job.json"), "contract": version})


@pytest.mark.parametrize("key", ["run_id", "cache_dir", "stages"])
def test_a_job_without_a_field_is_refused(key: str) -> None:
    raw = document("job.json")
    del raw[key]
    with pytest.raises(ContractError, match=key):
        Job.from_dict(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"source": None},
        {"precision": "int4"},
        {"converter": "docker"},
        {"inputs": []},
        {"inputs": {"x": {"min": [1], "opt": [1]}}},
        {"inputs": {"x": {"min": [2], "opt": [1], "max": [2]}}},
        {"inputs": {"x": {"min": [1], "opt": [1], "max": [1, 1]}}},
        {"inputs": {"x": {"min": [-1], "opt": [1], "max": [1]}}},
        {"inputs": {"x": {"min": [2], "opt": [1], "max": [1], "values": True}}},
        {"inputs": {"x": {"min": [True], "opt": [1], "max": [1]}}},
        {"outputs": "y"},
        {"outputs": [1]},
        {"builder": {"workspace_bytes": "2GiB"}},
        {"builder": {"tf32": 1}},
        {"timeout_s": "90"},
    ],
    ids=str,
)
def test_a_job_with_a_wrong_value_is_refused(change: dict[str, Any]) -> None:
    raw = document("job.json")
    raw["models"][0].update(change)
    with pytest.raises(ContractError):
        Job.from_dict(raw)


@pytest.mark.parametrize("stages", [[], ["fetch", "fly"], "fetch"])
def test_a_job_with_unknown_stages_is_refused(stages: Any) -> None:
    with pytest.raises(ContractError, match="stages"):
        Job.from_dict({**document("job.json"), "stages": stages})


def test_an_event_of_a_later_writer_is_understood() -> None:
    raw = {**json.loads(events()[2]), "kind": "thermal", "zone": "cpu"}
    raw["data"]["celsius"] = 71.5
    event = Event.from_line(json.dumps(raw))
    assert (event.kind, event.data["celsius"], event.data["done"]) == ("thermal", 71.5, 1048576)


@pytest.mark.parametrize(
    "line", ["", "null", "[]", "{", '{"seq": 0}', '{"contract": 2, "seq": 0, "time": 0, "kind": "opened"}']
)
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ContractError):
        Event.from_line(line)


def test_a_report_of_a_later_writer_keeps_what_this_reader_does_not_know() -> None:
    report: Any = read({**document("report.json"), "energy_joules": 12})
    assert report["energy_joules"] == 12


def test_a_report_of_an_earlier_writer_gets_the_missing_fields() -> None:
    raw = document("report.json")
    del raw["trtexec_command"], raw["warnings"]
    report = read(raw)
    assert (report["trtexec_command"], report["warnings"]) == (None, [])


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"schema_version": None}, {"name": 1}, {"status": None}])
def test_what_is_no_report_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        read({**document("report.json"), **change})
