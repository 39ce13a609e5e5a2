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
    assert told.startswith("net: 1 finding\n  warning [rtx-engine]: a TensorRT-RTX 1.7")


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
        (lambda model: (model / "config.pbtxt").unlink(), "triton-config"),
        (edited("isaac_ros.yaml", '["input"]', '["input_1"]'), "isaac-ros-names"),
        (
            edited("isaac_ros.yaml", "engine_update: false", "engine_update: true"),
            "isaac-ros-engine-update",
        ),
        (lambda model: (model / "isaac_ros.yaml").write_text("- ["), "isaac-ros-names"),
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
