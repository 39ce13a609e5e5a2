"""What a run promises: engines for the good models, an error with code and hint for each other, nothing half done."""

from __future__ import annotations

import json
import subprocess

import jsonschema
import pytest
import yaml

from tests import networks
from tests.command import COMMAND, Workplace

GOOD_FILES = {
    "1/model.plan",
    "config.pbtxt",
    "deepstream.txt",
    "isaac_ros.launch.py",
    "isaac_ros.yaml",
    "provenance.json",
    "report.json",
}


def six_models(place: Workplace) -> None:
    folder = place.folder
    networks.conv(folder / "good.onnx")
    networks.named(folder / "names.onnx", ["input_2:0"], ["output/argmax:0"])
    networks.conv(folder / "outputs.onnx")
    networks.unsupported(folder / "unsupported.onnx")
    (folder / "broken.onnx").write_bytes(b"\x08\x08 this is no network")
    place.write(
        {"name": "good", "source": "good.onnx"},
        {"name": "broken", "source": "broken.onnx"},
        {"name": "outputs", "source": "outputs.onnx", "outputs": ["scores"]},
        {"name": "unsupported", "source": "unsupported.onnx"},
        {"name": "missing", "source": "missing.onnx"},
        {"name": "names", "source": "names.onnx", "outputs": ["output/argmax:0"]},
    )


def test_six_models_two_good_four_failed_each_with_its_own_code(place: Workplace) -> None:
    six_models(place)
    result = place.run()
    assert result.status == 1
    errors = {model["name"]: model["error"] for model in result.report["models"] if model["error"]}
    assert {name: error["code"] for name, error in errors.items()} == {
        "broken": "onnx-invalid",
        "outputs": "outputs-mismatch",
        "unsupported": "plugin-missing",
        "missing": "source-not-found",
    }
    assert {error["stage"] for name, error in errors.items() if name != "missing"} == {"convert"}
    assert errors["missing"]["stage"] == "fetch"
    assert all(error["hint"] for error in errors.values())
    assert "output" in errors["outputs"]["message"], "the real name of the output"
    assert "mystery_node" in errors["unsupported"]["message"]
    assert "DoesNotExist" in errors["unsupported"]["message"]
    assert result.report["summary"] == {"built": 2, "restored": 0, "up-to-date": 0, "failed": 4, "skipped": 0}


def test_failed_models_leave_nothing_in_the_repository(place: Workplace) -> None:
    six_models(place)
    place.run()
    published = {f"{name}/{file}" for name in ("good", "names") for file in GOOD_FILES}
    expected = published - {"names/deepstream.txt"} | {"report.json"}
    assert place.files() == expected
    assert place.directories() == {"good", "good/1", "names", "names/1"}


def test_the_report_on_stdout_is_the_one_on_disk_and_fits_its_schema(place: Workplace) -> None:
    six_models(place)
    result = place.run("--report", str(place.folder / "copy.json"))
    on_disk = json.loads((place.models_dir / "report.json").read_text(encoding="utf-8"))
    assert result.report == on_disk == json.loads((place.folder / "copy.json").read_text(encoding="utf-8"))
    schema = json.loads(place.call("schema", "report").stdout)
    jsonschema.Draft202012Validator(schema).validate(on_disk)


def test_a_second_run_builds_nothing_and_says_why(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    first = place.run()
    stamp = (place.models_dir / "good/1/model.plan").stat().st_mtime_ns
    second = place.run()
    assert (first.model("good")["status"], second.model("good")["status"]) == ("built", "up-to-date")
    assert second.status == 0
    assert (place.models_dir / "good/1/model.plan").stat().st_mtime_ns == stamp
    assert second.model("good")["engine"] == first.model("good")["engine"]


def test_a_changed_model_is_built_again_with_the_reason(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    before = place.run().model("good")
    networks.conv(place.folder / "good.onnx", seed=1)
    after = place.run().model("good")
    assert after["status"] == "built"
    old, new = (model["materials"][0]["sha256"][:12] for model in (before, after))
    assert after["reason"] == f"rebuild because: model sha256 {old} -> {new}"
    assert after["engine"]["sha256"] != before["engine"]["sha256"]


def test_a_damaged_engine_is_built_again(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    good = place.run().model("good")
    plan = place.models_dir / "good/1/model.plan"
    data = bytearray(plan.read_bytes())
    data[-1] ^= 1
    plan.write_bytes(bytes(data))
    again = place.run().model("good")
    assert again["status"] == "built"
    assert again["reason"] == "rebuild because: the engine has changed since it was built"
    assert again["engine"]["sha256"] == good["engine"]["sha256"]


def test_fail_fast_starts_no_further_model(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "missing", "source": "missing.onnx"}, {"name": "good", "source": "good.onnx"})
    result = place.run("--fail-fast")
    assert result.status == 1
    assert result.model("good")["status"] == "skipped"
    assert place.run("--keep-going").model("good")["status"] == "built"


def test_several_jobs_give_the_engines_of_one(place: Workplace) -> None:
    names = ["a", "b", "c"]
    for index, name in enumerate(names):
        networks.conv(place.folder / f"{name}.onnx", seed=index)
    place.write(*({"name": name, "source": f"{name}.onnx"} for name in names))
    one = {model["name"]: model["engine"]["sha256"] for model in place.run("--jobs", "1").report["models"]}
    many = {model["name"]: model["engine"]["sha256"] for model in place.run("--jobs", "3", "--force").report["models"]}
    assert one == many


def test_only_the_named_models_are_touched(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "one", "source": "good.onnx"}, {"name": "two", "source": "good.onnx"})
    result = place.run("two")
    assert [model["name"] for model in result.report["models"]] == ["two"]
    unknown = place.run("three")
    assert unknown.status == 2
    assert "three" in unknown.stderr


def test_quiet_says_nothing_beside_the_result(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    result = place.run("--quiet")
    assert result.stderr == ""
    assert result.report["summary"]["built"] == 1


def test_progress_and_log_stay_on_stderr(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    result = place.run("--log-format", "json", "-v")
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert {"fetch done", "convert done", "inspect done"} <= {event["event"] for event in events}
    assert all(event["level"] for event in events)


def test_plan_and_dry_run_change_nothing(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    planned = place.call("plan", str(place.manifest), "--models-dir", str(place.models_dir), "--json")
    assert [(model["action"], model["reason"]) for model in planned.report["models"]] == [("build", "no engine yet")]
    told = [result.report for result in (place.run("--dry-run"), planned)]
    for disk in (disk for plan in told for disk in plan["disks"]):
        assert disk.pop("free") > 0
    assert told[0] == told[1]
    assert not place.models_dir.exists()


def test_a_manifest_error_is_told_with_file_and_line(place: Workplace) -> None:
    place.manifest.write_text("version: 1\nmodels:\n  - name: x\n    sorce: a.onnx\n", encoding="utf-8")
    result = place.run()
    assert result.status == 2
    assert f"{place.manifest}:4: models[0].sorce: unknown key 'sorce'; did you mean 'source'?" in result.stderr
    assert "Traceback" not in result.stderr


def test_two_runs_at_once_build_a_model_once(place: Workplace) -> None:
    networks.heavy(place.folder / "heavy.onnx")
    place.write({"name": "heavy", "source": "heavy.onnx"})
    runs = [
        subprocess.Popen(
            place.command("--json", "--quiet"), stdout=subprocess.PIPE, env=place.environment(), cwd=place.folder
        )
        for _ in range(3)
    ]
    reports = [json.loads(run.communicate()[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sorted(report["models"][0]["status"] for report in reports) == ["built", "up-to-date", "up-to-date"]


def test_an_output_that_cannot_be_written_is_an_environment_error(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    place.models_dir.write_text("a file stands in the way", encoding="utf-8")
    result = place.run()
    assert result.status == 3
    assert "--models-dir" in result.stderr


def read_only(place: Workplace, *more: str) -> subprocess.CompletedProcess[str]:
    """Run where the models directory is on a file system that is mounted read-only."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    argv = ["unshare", "-rm", "sh", "-c", mount, str(place.models_dir), *place.command("--json", *more)]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=place.folder, env=place.environment(), timeout=120
    )


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0,
    reason="no mounts of one's own here",
)
def test_a_read_only_models_directory_serves_while_it_is_up_to_date(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    assert place.run().status == 0
    before = (place.models_dir / "report.json").read_bytes()
    done = read_only(place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["status"] == "up-to-date"
    assert (place.models_dir / "report.json").read_bytes() == before
    refused = read_only(place, "--force")
    assert (refused.returncode, "can't be used as models directory" in refused.stderr) == (3, True)


def test_the_keys_of_isaac_ros_parameters(place: Workplace) -> None:
    networks.named(place.folder / "names.onnx", ["left:0", "right:0"], ["disp/out"])
    place.write({"name": "stereo", "source": "names.onnx", "builder": {"workspace": "512MiB"}})
    place.run()
    parameters = yaml.safe_load((place.models_dir / "stereo/isaac_ros.yaml").read_text(encoding="utf-8"))
    tensor_rt = parameters["tensor_rt"]["ros__parameters"]
    assert tensor_rt["engine_file_path"] == str(place.models_dir / "stereo/1/model.plan")
    assert (tensor_rt["force_engine_update"], tensor_rt["max_workspace_size"]) == (False, 512 << 20)
    assert tensor_rt["input_binding_names"] == tensor_rt["input_tensor_names"] == ["left:0", "right:0"]
    assert tensor_rt["output_binding_names"] == ["disp/out"]
    triton = parameters["triton"]["ros__parameters"]
    assert (triton["model_name"], triton["model_repository_paths"]) == ("stereo", [str(place.models_dir)])


def test_version_names_the_tool() -> None:
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("prepare-models ")


def test_what_deepstream_is_told_of_a_model_changes_its_files_and_not_its_engine(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    told = {"labels": ["a", "b"], "properties": {"network-type": 0}, "classes": {"topk": 20}}
    place.build(source="model.onnx", deepstream=told)
    model = place.models_dir / "model"
    assert (model / "deepstream.labels.txt").read_text() == "a\nb\n"
    assert "[class-attrs-all]\ntopk=20\n" in (model / "deepstream.txt").read_text()
    assert place.build(source="model.onnx", deepstream={**told, "labels": ["a", "c"]})["status"] == "restored"
    assert (model / "deepstream.labels.txt").read_text() == "a\nc\n"
    assert place.call("lint", str(place.models_dir), "--consumer", "deepstream").status == 0
    assert place.build(source="model.onnx")["status"] == "restored"
    assert not (model / "deepstream.labels.txt").exists()
    assert "network-type=100" in (model / "deepstream.txt").read_text()
