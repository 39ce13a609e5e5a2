"""What will be done for a model, and why: every reason to build, and the one to leave an engine as it is."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prepare_models.machine import facts
from prepare_models.manifest.model import ModelSpec
from prepare_models.planning import planner as plan
from prepare_models.planning import status
from prepare_models.store import restore
from prepare_models.store.local import Turn, open_store, write_record
from prepare_models.support.file_digests import Digests
from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.conversion import OnnxConfig
from prepare_models_entrypoint.contract.deployment import RosConfig
from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.shapes import ShapeRange

from .records import PLAN_BYTES, RUNTIME, digest, lay_down, read_report, report_of, write_report

ORIN = "Orin (compute capability 8.7)"
REUSED = ("up-to-date", "same model, settings, backend and target")


@dataclasses.dataclass
class Place:
    """A built model: its source file, what was laid down, and how it is planned now."""

    spec: ModelSpec
    models_dir: Path
    output_dir: Path

    def decide(self, runtime: RuntimeInfo = RUNTIME, *, force: bool = False, **changes: Any) -> tuple[str, str]:
        spec = dataclasses.replace(self.spec, **changes)
        planned = plan.Planner(self.models_dir, runtime, open_store(), Digests(), force).plan(spec)
        assert (planned.record is not None) == (planned.action == "up-to-date")
        assert planned.told() == ("up-to-date" if planned.record else f"{planned.action} because: {planned.reason}")
        assert planned.output_dir == self.output_dir
        return planned.action, planned.reason

    def edit_record(self, **changes: Any) -> None:
        write_report(self.output_dir, {**read_report(self.output_dir), **changes})


@pytest.fixture
def built(tmp_path: Path) -> Place:
    source = tmp_path / "a.onnx"
    source.write_bytes(b"model")
    spec = ModelSpec(name="seg", source=str(source), line=1)
    models_dir = tmp_path / "models"
    return Place(spec, models_dir, lay_down(spec, models_dir, {"model": digest(b"model")}))


def test_an_engine_of_the_same_making_is_reused(built: Place) -> None:
    assert built.decide() == REUSED


def test_names_of_expected_outputs_do_not_make_another_engine(built: Place) -> None:
    assert built.decide(outputs=("y",)) == REUSED


def test_force_builds_all_the_same(built: Place) -> None:
    assert built.decide(force=True) == ("rebuild", "--force")


def test_nothing_there_is_a_reason(built: Place) -> None:
    (built.output_dir / "1" / "model.plan").unlink()
    assert built.decide() == ("build", "no engine yet")


@pytest.mark.parametrize("companion", ["config.pbtxt", "isaac_ros.yaml", "isaac_ros.launch.py", "provenance.json"])
def test_a_missing_companion_is_restored_without_a_build(built: Place, companion: str) -> None:
    (built.output_dir / companion).unlink()
    assert built.decide() == ("restore", f"{companion} is missing")


def test_other_names_in_ros_messages_need_no_build(built: Place) -> None:
    assert built.decide(ros=RosConfig(by_binding={"y": "scores"})) == REUSED, "this record says nothing of them"
    built.edit_record(tensor_names={"input_tensor_names": ["x"], "output_tensor_names": ["y"]})
    assert built.decide(ros=RosConfig(by_binding={"y": "scores"})) == (
        "restore",
        "the names of tensors in ROS messages changed",
    )
    assert built.decide(ros=RosConfig(by_binding={"z": "scores"}))[0] == "rebuild", "which tells what is wrong"


@pytest.mark.parametrize(
    "record",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"schema_version": 1, "name": "seg", "status": "failed"}',
        b'{"schema_version": 2, "name": "seg", "status": "built"}',
    ],
)
def test_an_engine_without_record_is_not_trusted(built: Place, record: bytes | None) -> None:
    file = built.output_dir / "report.json"
    file.unlink() if record is None else file.write_bytes(record)
    action, reason = built.decide()
    assert action == "rebuild"
    assert reason.startswith(
        ("the engine has no record of what it was made from", "the record of the engine can't be used: ")
    )


def test_the_source_changed(built: Place) -> None:
    Path(built.spec.source).write_bytes(b"another")
    old, new = digest(b"model")[:12], digest(b"another")[:12]
    assert built.decide() == ("rebuild", f"model sha256 {old} -> {new}")


def test_the_source_is_gone(built: Place) -> None:
    Path(built.spec.source).unlink()
    assert built.decide() == ("rebuild", "the source is missing")
    assert built.decide(sha256=digest(b"model")) == REUSED, "which bytes are wanted is known without it"


def test_another_file_of_the_same_bytes_is_the_same_model(built: Place, tmp_path: Path) -> None:
    (tmp_path / "b.onnx").write_bytes(b"model")
    assert built.decide(source=f"file://{tmp_path}/b.onnx") == REUSED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"precision": "fp16"}, "precision fp32 -> fp16"),
        ({"converter": "trtexec"}, "converter api -> trtexec"),
        ({"inputs": {"x": ShapeRange(min=(1, 3), opt=(1, 3), max=(2, 3))}}, "input shapes.x none -> 1x3 .. 1x3 .. 2x3"),
        ({"builder": BuilderConfig(optimization_level=5)}, "builder.optimization_level none -> 5"),
        ({"keep_fp32": ("softmax*",)}, 'conversion.keep_fp32 [] -> ["softmax*"]'),
        ({"onnx": OnnxConfig(sanitize=True)}, "conversion.onnx.sanitize false -> true"),
        ({"outputs": ("z",)}, "the engine's outputs are y, expected z"),
        ({"sha256": digest(b"pinned")}, f"model sha256 {digest(b'model')[:12]} -> {digest(b'pinned')[:12]}"),
        ({"precision": "fp16", "converter": "trtexec"}, "precision fp32 -> fp16; converter api -> trtexec"),
    ],
)
def test_the_manifest_changed(built: Place, changes: dict[str, Any], reason: str) -> None:
    assert built.decide(**changes) == ("rebuild", reason)


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("backend", BackendInfo(name="tensorrt", version="10.9.0"), "TensorRT 10.3.0 -> 10.9.0"),
        (
            "backend",
            BackendInfo(name="tensorrt_rtx", version="1.7.1"),
            f"TensorRT 10.3.0 -> TensorRT-RTX 1.7.1; target {ORIN} -> portable",
        ),
        ("machine", "x86_64", "architecture aarch64 -> x86_64"),
        (
            "board",
            "p3767-0000",
            f"target {ORIN} -> Orin (compute capability 8.7, module p3767-0000)",
        ),
        (
            "gpu",
            GpuInfo(name="Thor", compute_capability="11.0", driver=None, cuda_version="13.0"),
            "target Orin (compute capability 8.7) -> Thor (compute capability 11.0)",
        ),
        ("gpu", None, "target Orin (compute capability 8.7) -> none"),
    ],
)
def test_the_machine_changed(built: Place, part: str, value: Any, reason: str) -> None:
    runtime: Any = {**RUNTIME, part: value}
    assert built.decide(runtime) == ("rebuild", reason)


def test_another_driver_or_python_makes_no_other_engine(built: Place) -> None:
    runtime: Any = {**RUNTIME, "python": "3.13.0", "gpu": {**(RUNTIME["gpu"] or {}), "driver": "999"}}
    assert built.decide(runtime) == REUSED


def test_an_rtx_engine_is_for_every_gpu(tmp_path: Path, built: Place) -> None:
    rtx = RUNTIME.copy()
    rtx["backend"] = BackendInfo(name="tensorrt_rtx", version="1.7.1")
    elsewhere = rtx.copy()
    elsewhere["gpu"] = None
    models_dir = tmp_path / "rtx"
    place = Place(built.spec, models_dir, lay_down(built.spec, models_dir, {"model": digest(b"model")}, rtx))
    assert place.decide(elsewhere) == REUSED


@pytest.mark.parametrize("data", [b"plan bytez", b"plan", b""])
def test_bytes_that_nobody_built_are_not_reused(built: Place, data: bytes) -> None:
    (built.output_dir / "1" / "model.plan").write_bytes(data)
    assert built.decide() == ("rebuild", "the engine has changed since it was built")


def test_a_record_whose_key_does_not_fit_its_identity(built: Place) -> None:
    built.edit_record(build_key="0" * 64)
    assert built.decide() == ("rebuild", "the record of the engine was changed")


@pytest.mark.parametrize(
    "changes",
    [{"io": None}, {"io": [{}]}, {"identity": 5, "build_key": None}, {"engine": []}, {"engine": {"bytes": 10}}],
    ids=str,
)
def test_a_damaged_record_is_no_bug(built: Place, changes: dict[str, Any]) -> None:
    built.edit_record(**changes)
    action, reason = built.decide()
    assert action == "rebuild"
    assert reason.startswith(("the record of the engine can't be used: report.", "the engine has no record"))


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every value in a document."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


ELSE: tuple[Any, ...] = (None, 0, 1, -1.5, "", "x", "0" * 64, True, [], [1], {}, {"a": 1}, 10**30)
COUNTS = (("identity",), ("build_key",), ("engine", "bytes"), ("engine", "sha256"))


def test_no_edited_record_is_a_bug_and_none_whose_identity_or_bytes_were_edited_is_good(built: Place) -> None:
    good = read_report(built.output_dir)
    now = status.Here(facts.Machine("aarch64"), "linux", {"tensorrt": "10.3.0.26"})
    for path in list(places(good))[1:]:
        counts = any(path[: len(start)] == start for start in COUNTS)
        for value in ELSE if counts else ELSE[::4]:
            edited: Any = copy.deepcopy(good)
            at: Any = functools.reduce(lambda inner, key: inner[key], path[:-1], edited)
            if (type(at[path[-1]]), at[path[-1]]) == (type(value), value):
                continue
            at[path[-1]] = value
            write_report(built.output_dir, edited)
            action, (verdict,) = built.decide()[0], status.verdicts(built.models_dir, now, Digests())
            if counts:
                assert (action == "up-to-date", verdict.state) == (False, "stale"), (path, value)


@pytest.mark.parametrize(
    "edit",
    [{"io": None}, {"io": [{}]}, {"materials": [1]}, {"licences": 0}, {"trtexec_command": 5}, {"engine": []}],
    ids=str,
)
@pytest.mark.parametrize("where", ["store", "models directory"])
def test_an_engine_with_an_edited_record_is_not_restored(built: Place, edit: dict[str, Any], where: str) -> None:
    store, report = open_store(), read_report(built.output_dir)
    planned = plan.Planner(built.models_dir, RUNTIME, store, Digests(), force=True).plan(built.spec)
    if where == "store":
        files = {"model.plan": built.output_dir / plan.PLAN}
        entry = store.put(report, files)  # type: ignore[arg-type]  # read as plain JSON
        assert restore.find(store, planned, Turn(waited=False, last_place=None)) is not None
        write_record(entry.plan.parent, json.dumps({**report, **edit}).encode())
        (built.output_dir / "report.json").unlink()
    else:
        write_report(built.output_dir, {**report, **edit})
    assert restore.find(store, planned, Turn(waited=False, last_place=built.output_dir)) is None


def test_files_that_name_another_place_are_written_anew(built: Place, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("models")
    assert Place(built.spec, tmp_path / "link", tmp_path / "link" / "seg").decide() == REUSED
    (tmp_path / "link").unlink()
    moved = built.models_dir.rename(tmp_path / "moved")
    action, reason = Place(built.spec, moved, moved / "seg").decide()
    assert action == "restore"
    assert reason == f"the engine was moved here from {built.output_dir / plan.PLAN}, which the files next to it name"


def test_a_source_that_can_not_be_read_is_left_to_the_build(built: Place) -> None:
    action, reason = built.decide(source="/proc/self/mem")
    assert action == "rebuild"
    assert reason.endswith("can't be read: Input/output error")


def test_a_download_is_known_by_what_it_was(tmp_path: Path) -> None:
    spec = ModelSpec(name="seg", source="https://example.com/a.onnx", line=1)
    place = Place(spec, tmp_path, lay_down(spec, tmp_path, {"model": digest(b"model")}))
    assert place.decide() == REUSED
    assert place.decide(source="https://example.com/b.onnx") == (
        "rebuild",
        f"model sha256 {digest(b'model')[:12]} -> not fetched yet",
    )
    assert place.decide(source="https://example.com/b.onnx", sha256=digest(b"model")) == REUSED


def test_the_calibration_cache_counts(tmp_path: Path) -> None:
    for name in ("a.onnx", "a.cache"):
        (tmp_path / name).write_bytes(name.encode())
    spec = ModelSpec(
        name="seg",
        source=str(tmp_path / "a.onnx"),
        calibration_cache=str(tmp_path / "a.cache"),
        precision="int8",
        line=1,
    )
    digests = {"model": digest(b"a.onnx"), "calibration_cache": digest(b"a.cache")}
    place = Place(spec, tmp_path / "models", lay_down(spec, tmp_path / "models", digests))
    assert place.decide() == REUSED
    (tmp_path / "a.cache").write_bytes(b"other")
    assert place.decide() == ("rebuild", f"calibration sha256 {digest(b'a.cache')[:12]} -> {digest(b'other')[:12]}")
    (tmp_path / "a.cache").unlink()
    assert place.decide() == ("rebuild", "the source is missing")


def test_planning_changes_nothing(built: Place) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        files = [path for path in built.models_dir.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = state()
    built.decide(precision="fp16")
    built.decide()
    assert state() == before


def test_a_job_carries_the_model_but_never_its_key(built: Place) -> None:
    spec = dataclasses.replace(
        built.spec,
        precision="fp16",
        outputs=("y",),
        inputs={"x": ShapeRange(min=(1,), opt=(2,), max=(3,))},
        sha256="a" * 64,
    )
    job = spec.job(Path("/models/seg"), key_file=Path("/proc/self/fd/9"), timeout_s=7.5)
    raw = json.loads(json.dumps(job.to_dict()))
    assert raw == {
        "name": "seg",
        "source": built.spec.source,
        "output_dir": "/models/seg",
        "deploy_dir": "/models/seg",
        "sha256": "a" * 64,
        "precision": "fp16",
        "key_file": "/proc/self/fd/9",
        "calibration_cache": None,
        "calibration_sha256": None,
        "inputs": {"x": {"min": [1], "opt": [2], "max": [3]}},
        "outputs": ["y"],
        "builder": {},
        "converter": "auto",
        "timeout_s": 7.5,
        "profiles": [],
        "keep_fp32": [],
        "allow_fallback": False,
        "plugins": [],
        "onnx": {"sanitize": False, "static_shapes": {}, "outputs": []},
        "tao": {"dims": [], "batch": None, "max_batch": None, "input_order": None},
        "calibration": None,
        "ros": {"input_tensor_names": [], "output_tensor_names": [], "by_binding": {}},
        "verify": None,
        "done": [],
    }


def test_a_large_model_is_not_read_before_its_first_build(tmp_path: Path) -> None:
    model = tmp_path / "large.onnx"
    with model.open("wb") as stream:
        stream.truncate(1 << 40)  # nobody reads this in time
    spec = ModelSpec(name="seg", source=str(model), line=1)
    planned = plan.Planner(tmp_path / "models", RUNTIME, open_store(), Digests()).plan(spec)
    assert (planned.action, planned.reason, planned.turn_is_key) == ("build", "no engine yet", False)


def test_a_large_model_is_read_where_the_store_may_have_its_engine(tmp_path: Path) -> None:
    model = tmp_path / "large.onnx"
    with model.open("wb") as stream:
        stream.truncate(100 << 20)
    spec, store = ModelSpec(name="seg", source=str(model), line=1), open_store()
    planner = plan.Planner(tmp_path / "models", RUNTIME, store, Digests())
    assert not planner.plan(spec).turn_is_key
    record = report_of(spec, tmp_path / "models" / "seg", {"model": sha256_file(model)}, RUNTIME)
    record["materials"][0]["bytes"] = 100 << 20
    (tmp_path / "built.plan").write_bytes(PLAN_BYTES)
    store.put(record, {"model.plan": tmp_path / "built.plan"})
    assert (planner.plan(spec).action, planner.plan(spec).turn_is_key) == ("restore", True)
