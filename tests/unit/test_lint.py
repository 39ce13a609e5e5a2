"""The rules of Isaac ROS and DeepStream: files as a run leaves them, what people make of them, and other releases."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

import prepare_models_entrypoint.consumers as room
from prepare_models.docker import images
from prepare_models_entrypoint.consumers.isaac_ros.releases import RELEASES, release
from prepare_models_entrypoint.consumers.lint import of_engine
from prepare_models_entrypoint.consumers.registry import CONSUMERS
from prepare_models_entrypoint.contract.report import Binding
from tests.entrypoint.model_folders import record, tensor

from .left_models import BATCH, IMAGE, NHWC, SIZES, Left, edit


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path / "models")


@pytest.mark.parametrize("io", [IMAGE, BATCH, NHWC], ids=["image", "batch", "nhwc"])
def test_what_a_run_leaves_has_no_findings(left: Left, io: list[Binding]) -> None:
    left.run(io)
    assert left.lint() == left.lint(kind="notes") == []
    assert left.lint("isaac-ros@3.2", "isaac-ros@5.0", "deepstream@9.2") == []


def test_any_height_and_width_are_for_triton_and_deepstream(left: Left) -> None:
    folder = left.run(SIZES)
    assert left.codes() == ["isaac-ros-dynamic-dimension"]
    assert "infer-dims=3;8;8\n" in (folder / "deepstream.txt").read_text(encoding="utf-8")


# Changes of isaac_ros.yaml that are right all the same.
HARMLESS = {
    "parameters of every node": ("  ros__parameters:\n", "  ros__parameters:\n    use_sim_time: true\n"),
    "quality of service": (
        "  ros__parameters:\n",
        (
            "  ros__parameters:\n    input_qos: SENSOR_DATA\n    output_qos: DEFAULT\n    input_qos_depth: 10\n"
            "    qos_overrides./tensor_pub.subscription.depth: 5\n"
        ),
    ),
    "a leading slash": ("tensor_rt:", "/tensor_rt:"),
    "a namespace": ("tensor_rt:", "/robot/front/tensor_rt:"),
    "another name": ("tensor_rt:", "inference:"),
    "another encoding of the same": ("force_engine_update: false", "force_engine_update: False"),
    "another node": ("tensor_rt:", "/encoder:\n  ros__parameters:\n    enable_padding: true\ntensor_rt:"),
    "a wildcard of another node": ("tensor_rt:", "/**:\n  ros__parameters:\n    robot: true\ntensor_rt:"),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_people_add_to_isaac_ros_yaml_is_good(left: Left, case: str) -> None:
    edit(left.run() / "isaac_ros.yaml", *HARMLESS[case])
    assert left.lint("isaac-ros") == []


def sections(folder: Path) -> dict[str, str]:
    text = (folder / "isaac_ros.yaml").read_text(encoding="utf-8").partition("tensor_rt:")[2]
    tensor_rt, _, triton = text.partition("triton:")
    return {"tensor_rt": tensor_rt, "triton": triton}


@pytest.mark.parametrize("node", ["tensor_rt", "triton"])
@pytest.mark.parametrize("name", ["tensor_rt", "/**", "/**/dnn", "/a/b"])
def test_a_file_of_one_node_is_judged_for_that_node(left: Left, node: str, name: str) -> None:
    folder = left.run()
    name = name.replace("tensor_rt", node)
    text = f"{name}:{sections(folder)[node]}"
    (folder / "isaac_ros.yaml").write_text(text, encoding="utf-8")
    assert left.lint("isaac-ros") == []
    (folder / "isaac_ros.yaml").write_text(text.replace('["y"]', '["softmax"]'), encoding="utf-8")
    assert left.codes("isaac-ros") == ["isaac-ros-names"]


def test_namespaces_may_be_nested(left: Left) -> None:
    folder = left.run()
    nested = "robot:\n  tensor_rt:" + sections(folder)["tensor_rt"].replace("\n", "\n  ").rstrip()
    (folder / "isaac_ros.yaml").write_text(nested + "\n", encoding="utf-8")
    assert left.lint("isaac-ros") == []


def test_what_only_tensor_rt_node_lacks_is_good_for_a_file_of_the_other(left: Left) -> None:
    folder = left.run([tensor("x", "input", (1, 3)), tensor("y", "output", (1, -1), "float16")])
    assert left.codes("isaac-ros") == ["isaac-ros-dynamic-dimension", "isaac-ros-output-type"]
    (folder / "isaac_ros.yaml").write_text("triton:" + sections(folder)["triton"], encoding="utf-8")
    assert left.lint("isaac-ros") == []


UNREADABLE = {
    "not YAML": "- [",
    "aliases": "a: &a\n  ros__parameters: {b: 1}\ntensor_rt: *a\n",
    "a tab": "tensor_rt:\n\tros__parameters: {}",
    "a list": "- tensor_rt",
    "nothing": "",
    "no node of Isaac ROS": "encoder:\n  ros__parameters:\n    a: 1\n",
    "no parameters": "tensor_rt:\n  force_engine_update: false\n",
    "a scalar of parameters": "tensor_rt:\n  ros__parameters: 5\n",
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_ros_does_not_read_is_told_once(left: Left, case: str) -> None:
    (left.run() / "isaac_ros.yaml").write_text(UNREADABLE[case], encoding="utf-8")
    assert [each["code"] for each in left.lint("isaac-ros")] == ["isaac-ros-file"]


BROKEN = {
    "force_engine_update: false": ("force_engine_update: true", "isaac-ros-engine-update"),
    "    force_engine_update: false\n": ("", "isaac-ros-engine-update"),
    "max_workspace_size: 1073741824": ("max_workspace_size: 67108864", "isaac-ros-workspace"),
    'input_binding_names: ["x:0"]': ('input_binding_names: ["input_1"]', "isaac-ros-names"),
    'output_tensor_names: ["output_tensor"]': ('output_tensor_names: ["a", "b"]', "isaac-ros-names"),
    "seg/1/model.plan": ("other/1/model.plan", "isaac-ros-engine-path"),
    'model_name: "seg"': ('model_name: "other"', "isaac-ros-model"),
    "model_repository_paths: [": ("model_repository_paths: [] # [", "isaac-ros-model"),
    "  ros__parameters:\n": ("  ros__parameters:\n    max_workspace_size_mb: 64\n", "isaac-ros-parameter"),
    "max_workspace_size: 1073741824\n": ('max_workspace_size: "1073741824"\n', "isaac-ros-parameter"),
    "max_batch_size: 0": ("max_batch_size: 8", "isaac-ros-batch"),
    "max_batch_size: 1\n": ("max_batch_size: 1\n    enable_fp16: true\n", "isaac-ros-fp16"),
}  # fmt: skip


@pytest.mark.parametrize("old", BROKEN)
def test_what_the_nodes_would_not_take_is_found(left: Left, old: str) -> None:
    new, code = BROKEN[old]
    edit(left.run() / "isaac_ros.yaml", old, new)
    assert code in left.codes("isaac-ros")


def test_a_misspelt_parameter_leads_to_the_right_one(left: Left) -> None:
    edit(left.run() / "isaac_ros.yaml", "force_engine_update", "force_engine_updates")
    assert "did you mean force_engine_update?" in next(
        each["message"] for each in left.lint("isaac-ros") if each["code"] == "isaac-ros-parameter"
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "bool"])
def test_output_types_are_those_of_the_release(left: Left, dtype: str) -> None:
    left.run([*IMAGE[:1], tensor("y", "output", (1, 5), dtype)])
    assert left.codes("isaac-ros") == left.codes("isaac-ros@3.2") == ["isaac-ros-output-type"]
    assert left.lint("isaac-ros@5.0") == []


@pytest.mark.parametrize(
    ("node", "line"),
    [
        ("tensor_rt", 'input_tensor_formats: ["nitros_tensor_list_nchw_rgb_f32"]'),
        ("tensor_rt", "memory_pool_block_size: 9216000"),
        ("tensor_rt", "memory_pool_num_blocks: 40"),
        ("tensor_rt", "num_blocks: 40"),
        ("triton", 'output_tensor_formats: ["nitros_tensor_list_nhwc_rgb_f32"]'),
    ],
)
def test_what_went_with_nitros_is_gone_in_5_0(left: Left, node: str, line: str) -> None:
    folder = left.run()
    text = f"{node}:{sections(folder)[node]}    {line}\n"
    (folder / "isaac_ros.yaml").write_text(text, encoding="utf-8")
    assert left.lint("isaac-ros@4.6") == []
    found = left.lint("isaac-ros@5.0")
    assert [each["code"] for each in found] == ["isaac-ros-parameter"]
    assert "was removed in 5.0, along with NITROS" in found[0]["message"]


def test_parameters_of_one_release_are_not_those_of_another(left: Left) -> None:
    folder = left.run()
    edit(folder / "isaac_ros.yaml", "  ros__parameters:\n", "  ros__parameters:\n    input_queue_size: 2\n")
    assert left.lint("isaac-ros@4.6") == []
    assert left.codes("isaac-ros@3.2") == ["isaac-ros-parameter"]


def test_a_plugin_library_is_told_where_the_node_would_not_load_it(left: Left) -> None:
    folder = left.run(plugins=["/p/libnms.so"])
    assert left.lint("isaac-ros") == []
    assert left.codes("isaac-ros@3.2") == ["isaac-ros-parameter", "isaac-ros-plugin"]
    edit(folder / "isaac_ros.yaml", "/p/libnms.so", "/seen/by/the/node/libnms.so")
    assert left.lint("isaac-ros") == []
    edit(folder / "isaac_ros.yaml", "libnms.so", "libother.so")
    assert left.codes("isaac-ros") == ["isaac-ros-plugin"]
    left.run(name="two", plugins=["/p/liba.so", "/p/libb.so"])
    assert left.codes("isaac-ros", name="two") == ["isaac-ros-plugin"]


def test_a_directory_that_is_no_model_stops_triton_node_up_to_4_6(left: Left) -> None:
    left.run()
    (left.root / "notes").mkdir()
    assert left.codes("isaac-ros", name="notes") == ["isaac-ros-foreign-directory"]
    assert left.codes("isaac-ros@5.0", name="notes") == []


@pytest.mark.parametrize("name", ["isaac_ros.yaml", "config.pbtxt", "deepstream.txt"])
def test_what_is_no_text_is_told_once(left: Left, name: str) -> None:
    folder = left.run(BATCH)
    (folder / name).write_bytes(b"\xff\xfe\x00")
    assert len(left.lint()) == 1
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert len(left.lint()) == 1


def test_an_engine_without_inputs_is_found(left: Left) -> None:
    left.run(IMAGE[1:])
    assert "isaac-ros-no-inputs" in left.codes("isaac-ros")


def test_the_engine_that_a_file_names_is_the_one_that_counts(left: Left) -> None:
    folder = left.run(BATCH)
    other = [*BATCH[:1], tensor("scores", "output", (-1, 5))]
    (folder / "2").mkdir()
    (folder / "2/model.plan").write_bytes(b"another")
    (folder / "2/report.json").write_text(json.dumps(record(other, b"another")), encoding="utf-8")
    assert left.lint("isaac-ros", "deepstream") == []
    for file in ("isaac_ros.yaml", "deepstream.txt"):
        edit(folder / file, "/1/model.plan", "/2/model.plan")
    assert left.codes("isaac-ros") == ["isaac-ros-names"]
    assert left.codes("deepstream") == ["deepstream-outputs"]


def test_a_moved_directory_is_found_until_its_files_name_the_new_place(left: Left) -> None:
    left.run(BATCH)
    moved = left.root.parent / "moved"
    left.root.rename(moved)
    again = Left(moved)
    assert again.codes() == ["deepstream-deploy-dir", "isaac-ros-deploy-dir"]
    left.root.symlink_to(moved)  # the old path leads here
    assert again.lint() == []


def test_a_deploy_directory_of_the_record_is_where_the_files_lead(left: Left) -> None:
    deployment = {"deploy_dir": "/workspaces/isaac_ros-dev/models", "consumers": [], "warmup": False}
    folder = left.run(BATCH, deployment=deployment)
    assert left.lint() == []
    assert "/workspaces/isaac_ros-dev/models/seg/1/model.plan" in (folder / "isaac_ros.yaml").read_text(
        encoding="utf-8"
    )
    edit(folder / "isaac_ros.yaml", "/workspaces/isaac_ros-dev/models/seg", str(folder))
    assert left.codes() == ["isaac-ros-deploy-dir"]


def test_the_consumers_of_the_record_are_judged_for(left: Left) -> None:
    deployment = {"deploy_dir": None, "consumers": ["isaac-ros@5.0"], "warmup": False}
    left.run([*IMAGE[:1], tensor("y", "output", (1, 5), "float16")], deployment=deployment)
    assert left.lint() == []
    assert left.codes("isaac-ros@4.6") == ["isaac-ros-output-type"]


def test_a_report_gets_the_rules_about_the_engine_alone(tmp_path: Path) -> None:
    report = record([*IMAGE[:1], tensor("y", "output", (1,), "bool"), tensor("z", "output", (1,), "int64")], b"")
    warnings = of_engine(report, tmp_path)
    assert [warning["code"] for warning in warnings] == ["isaac-ros-output-type"] + ["deepstream-output-type"] * 2
    assert all(warning["hint"] for warning in warnings)
    assert [each["code"] for each in of_engine(report, tmp_path, ["isaac-ros@5.0"])] == []
    report["io"][0]["dtype"] = "int8"  # nothing that nvinfer fills
    assert [warning["code"] for warning in of_engine(report, tmp_path)] == ["isaac-ros-output-type"]


def test_a_name_of_several_lines_adds_none_to_any_file(left: Left) -> None:
    name = "y\ncustom-lib-path=/tmp/evil.so"
    folder = left.run([*IMAGE[:1], tensor(name, "output", (1, 5))])
    assert not (folder / "deepstream.txt").exists()
    for file in folder.glob("*.*"):
        assert not any("custom-lib-path" in line[:20] for line in file.read_text(encoding="utf-8").splitlines())
    assert left.lint("triton", "isaac-ros") == []


def test_the_data_of_the_consumers_go_into_images() -> None:
    with tarfile.open(fileobj=images.context()) as archive:
        names = archive.getnames()
    for path in Path(next(iter(room.__path__))).rglob("*.json"):
        assert any(name.endswith(f"/{path.parent.name}/{path.name}") for name in names)


def rows(heading: str) -> list[list[str]]:
    """Return the table under a heading of docs/lint.md."""
    text = (Path(__file__).parents[2] / "docs" / "lint.md").read_text(encoding="utf-8")
    part = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    table = [line for line in part.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]


def test_the_documentation_lists_the_rules() -> None:
    expected = [
        [f"`{code}`", consumer.name, rule.looks_at + (", a note" if rule.note else ""), rule.meaning, rule.hint]
        for consumer in CONSUMERS.values()
        for code, rule in consumer.rules.items()
    ]
    assert rows("## Rules") == expected


@pytest.mark.parametrize("node", ["tensor_rt", "triton"])
def test_the_documentation_lists_what_the_nodes_declare(node: str) -> None:
    declared = [release(name).nodes[node].parameters for name in RELEASES]
    names = list(dict.fromkeys(name for parameters in reversed(declared) for name in parameters))
    expected = []
    for name in names:
        last = [parameters[name] for parameters in declared if name in parameters][-1]
        default = "(empty)" if last.default == "" else json.dumps(last.default).strip('"')
        marks = ["yes" if name in parameters else "" for parameters in declared]
        expected.append([name, last.type, default, last.unit, *marks])
    assert rows(f"### {release(RELEASES[0]).nodes[node].plugin.rsplit(':', 1)[-1]}") == expected


def test_the_default_releases_are_known() -> None:
    for consumer in CONSUMERS.values():
        assert consumer.default in (consumer.releases or ("",))
    assert RELEASES == ("3.2", "4.6", "5.0")
