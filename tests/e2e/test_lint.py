"""``lint`` on what a run left, and on what people make of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import networks
from tests.command import Workplace


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("built"))
    networks.conv(place.folder / "a.onnx")
    names = {"input_tensor_names": ["image"], "output_tensor_names": ["features"]}
    place.write({"name": "net", "source": "a.onnx", "ros": names})
    assert place.run().status == 0
    return place


@pytest.fixture
def copy(built: Workplace, place: Workplace) -> Path:
    """A models directory of a test's own; returns the model in it."""
    shutil.copytree(built.models_dir, place.models_dir)
    return place.models_dir / "net"


def findings(place: Workplace, *arguments: str) -> list[str]:
    done = place.call("lint", str(place.models_dir), "--json", *arguments)
    document = done.report
    assert document["error"] is None
    found = [warning["code"] for model in document["models"] for warning in model["warnings"]]
    assert done.status == (1 if found else 0)
    return found


def test_what_a_run_leaves_has_only_the_finding_that_its_report_tells(copy: Path, place: Workplace) -> None:
    assert findings(place) == ["rtx-engine"]  # the backend of these tests
    assert findings(place, "--consumer", "triton") == []
    assert place.call("lint", str(place.models_dir), "--consumer", "triton").stdout == "net: good\n"
    told = place.call("lint", str(place.models_dir)).stdout
    assert told.startswith("net: 1 finding\nwarning [rtx-engine] net: a TensorRT-RTX 1.7")
    assert told.splitlines()[-1] == "judged for isaac-ros@4.6, triton, deepstream@9.2"


def test_what_triton_completes_is_a_note(copy: Path, place: Workplace) -> None:
    (copy / "config.pbtxt").unlink()
    assert findings(place, "--consumer", "triton") == []
    told = place.call("lint", str(place.models_dir), "--consumer", "triton").stdout
    assert told.startswith("net: good\nnote [triton-completed] net: ")


@pytest.mark.parametrize("name", ["isaac-ros@9.9", "triton@1", "vllm", ""])
def test_a_consumer_that_nobody_knows_is_a_usage_error_with_those_that_there_are(place: Workplace, name: str) -> None:
    done = place.call("lint", ".", "--consumer", name)
    assert done.status == 2
    assert "isaac-ros@4.6" in done.stderr or "triton" in done.stderr


def edited(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(model: Path) -> None:
        text = (model / file).read_text(encoding="utf-8")
        assert old in text
        (model / file).write_text(text.replace(old, new), encoding="utf-8")

    return edit


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (edited("config.pbtxt", "TYPE_FP32", "TYPE_INT32"), "triton-type"),
        (edited("config.pbtxt", 'name: "output"', 'name: "softmax_1"'), "triton-tensors"),
        (edited("config.pbtxt", "dims: [1, 3, 32, 32]", "dims: [3, 32, 32]"), "triton-dims"),
        (lambda model: (model / "config.pbtxt").write_text("{{{"), "triton-config"),
        (edited("config.pbtxt", "max_batch_size: 0", "max_batch_size: 0 max_queue_delay: 1"), "triton-config"),
        (edited("config.pbtxt", "latest { num_versions: 1 }", "specific { versions: [3] }"), "triton-version"),
        (edited("isaac_ros.yaml", '["input"]', '["input_1"]'), "isaac-ros-names"),
        (
            edited("isaac_ros.yaml", "engine_update: false", "engine_update: true"),
            "isaac-ros-engine-update",
        ),
        (lambda model: (model / "isaac_ros.yaml").write_text("- ["), "isaac-ros-file"),
        (edited("deepstream.txt", "batch-size=1", "batch-size=64"), "deepstream-batch"),
        (lambda model: (model / "2").mkdir(), "triton-plan"),
        (lambda model: (model / "report.json").unlink(), "engine-record"),
        (lambda model: (model / "1/model.plan").write_bytes(b"another"), "engine-record"),
        (lambda model: (model / "1/model.plan").unlink(), "triton-plan"),
        (lambda model: (model.parent / "notes").mkdir(), "triton-foreign-directory"),
        (lambda model: (model.parent / ".git").mkdir(), "triton-foreign-directory"),
    ],
)
def test_what_people_change_is_found(copy: Path, place: Workplace, change: Callable[[Path], None], code: str) -> None:
    change(copy)
    assert code in findings(place)


@pytest.mark.parametrize("directory", ["nothing", "net.onnx", "empty"])
def test_what_is_no_models_directory_has_a_code(place: Workplace, directory: str) -> None:
    (place.folder / "empty").mkdir()
    (place.folder / "net.onnx").write_bytes(b"")
    done = place.call("lint", directory)
    assert done.status == 1
    assert "[source-no" in done.stderr


def test_names_for_ros_come_from_the_manifest_and_from_the_command_line(copy: Path, place: Workplace) -> None:
    assert 'output_tensor_names: ["features"]' in (copy / "isaac_ros.yaml").read_text(encoding="utf-8")
    networks.conv(place.folder / "a.onnx")
    place.write({"name": "net", "source": "a.onnx"}, {"name": "other", "source": "a.onnx"})
    result = place.run("net", "--tensor-names", "input=left", "output=right")
    assert result.model("net")["tensor_names"] == {"input_tensor_names": ["left"], "output_tensor_names": ["right"]}
    assert result.model("net")["status"] == "restored", "the engine is not built again for a name"
    for file, expected in (("isaac_ros.yaml", '["right"]'), ("isaac_ros.launch.py", "['right']")):
        assert f"output_tensor_names{':' if file.endswith('yaml') else chr(39) + ':'} {expected}" in (
            copy / file
        ).read_text(encoding="utf-8")
    wrong = place.run("net", "--tensor-names", "inptu=left").model("net")["error"]
    assert (wrong["code"], "inptu" in wrong["message"]) == ("tensor-names-mismatch", True)
    assert place.run("--tensor-names", "input=left").status == 2


SEEN = "/workspaces/isaac_ros-dev/models"


def naming(model: Path) -> set[str]:
    """Return the files that name the deploy directory."""
    files = ("isaac_ros.yaml", "isaac_ros.launch.py", "deepstream.txt")
    return {file for file in files if f"{SEEN}/net/1/model.plan" in (model / file).read_text(encoding="utf-8")}


def test_the_files_carry_the_deploy_directory_and_nothing_is_built_for_it(copy: Path, place: Workplace) -> None:
    networks.conv(place.folder / "a.onnx")
    names = {"input_tensor_names": ["image"], "output_tensor_names": ["features"]}
    place.write({"name": "net", "source": "a.onnx", "ros": names})
    done = place.run("--deploy-dir", SEEN, "--consumer", "isaac-ros@5.0")
    model = done.model("net")
    assert model["status"] == "restored"
    assert model["deployment"] == {"deploy_dir": SEEN, "consumers": ["isaac-ros@5.0"], "warmup": False}
    assert model["engine"]["path"] == str(copy / "1" / "model.plan")
    assert len(naming(copy)) == 3
    assert findings(place) == ["rtx-engine"]
    assert place.run("--deploy-dir", SEEN, "--consumer", "isaac-ros@5.0").model("net")["status"] == "up-to-date"


def test_a_manifest_says_for_whom_and_for_which_place(place: Workplace) -> None:
    networks.conv(place.folder / "a.onnx")
    manifest = place.write({"name": "net", "source": "a.onnx", "triton": {"warmup": True}})
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(f"deploy_dir: {SEEN}\nconsumers: isaac-ros@5.0\n{text}", encoding="utf-8")
    assert place.run().status == 0
    model = place.models_dir / "net"
    assert len(naming(model)) == 3
    assert "model_warmup {" in (model / "config.pbtxt").read_text(encoding="utf-8")
    assert findings(place) == ["rtx-engine"]
    assert place.call("lint", str(place.models_dir)).stdout.splitlines()[-1] == "judged for isaac-ros@5.0"
    manifest.write_text(f"deploy_dir: models\nconsumers: [vllm, triton]\n{text}", encoding="utf-8")
    refused = place.run()
    assert refused.status == 2
    assert "not an absolute path" in refused.stderr
    assert "unknown consumer 'vllm'" in refused.stderr


def test_files_are_written_for_another_place(copy: Path, place: Workplace) -> None:
    moved = place.folder / "moved"
    place.models_dir.rename(moved)
    done = place.call("relocate", str(moved), "--deploy-dir", SEEN)
    assert (done.status, done.stdout) == (
        0, "net: deepstream.txt, isaac_ros.launch.py, isaac_ros.yaml\n"
    )  # fmt: skip
    assert len(naming(moved / "net")) == 3
    assert place.call("lint", str(moved), "--consumer", "deepstream").stdout == "net: good\n"
    assert place.call("relocate", str(moved)).status == 0
    assert naming(moved / "net") == set()
    assert f"{moved}/net/1/model.plan" in (moved / "net" / "isaac_ros.yaml").read_text(encoding="utf-8")
    assert place.call("lint", str(moved), "--consumer", "deepstream").status == 0
    (moved / "notes").mkdir()
    refused = place.call("relocate", str(moved), "--deploy-dir", SEEN)
    assert (refused.status, "engine-missing" in refused.stderr) == (1, True)
    assert place.call("relocate", str(moved), "--deploy-dir", "models").status == 2


def test_a_directory_that_was_moved_is_found(place: Workplace) -> None:
    networks.conv(place.folder / "a.onnx")
    place.write({"name": "net", "source": "a.onnx"})
    assert place.run().status == 0
    place.models_dir.rename(place.folder / "elsewhere")
    done = place.call("lint", "elsewhere", "--json").report
    codes = [warning["code"] for warning in done["models"][0]["warnings"]]
    assert codes == ["rtx-engine", "isaac-ros-deploy-dir", "isaac-ros-deploy-dir", "deepstream-deploy-dir"]


@pytest.mark.parametrize(
    ("file", "code", "remedy"),
    [
        ("config.pbtxt", "triton-config", "run"),
        ("isaac_ros.yaml", "isaac-ros-file", "run"),
        ("deepstream.txt", "deepstream-file", "relocate"),
    ],
)
def test_a_broken_file_is_written_anew_as_its_hint_says(
    built: Workplace, place: Workplace, file: str, code: str, remedy: str
) -> None:
    shutil.copytree(built.folder, place.folder, dirs_exist_ok=True)
    (place.models_dir / "net" / file).write_text("{{{", encoding="utf-8")
    assert code in findings(place)
    if remedy == "run":
        (place.models_dir / "net" / file).unlink()
        assert place.run().model("net")["status"] == "restored"
    else:
        assert place.call("relocate", str(place.models_dir)).status == 0
    assert findings(place) == ["rtx-engine"]
