"""The ROS 2 package of examples/ros2: its launch file builds a real engine and includes the node's launch file."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import prepare_models
from tests import networks
from tests.command import Workplace
from tests.doubles import launch_double

PACKAGE = Path(__file__).parents[2] / "examples" / "ros2" / "prepare_models_ros"


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> launch_double.LaunchDescription:
    launch_double.install(monkeypatch)
    monkeypatch.syspath_prepend(str(PACKAGE))
    described = runpy.run_path(str(PACKAGE / "launch" / "engine.launch.py"))["generate_launch_description"]()
    assert isinstance(described, launch_double.LaunchDescription)
    return described


def prepared(description: launch_double.LaunchDescription, place: Workplace, model: str) -> list[object]:
    *arguments, function = description.entities
    values = {argument.name: argument.default_value for argument in arguments}
    values.update(manifest=str(place.folder / "models.yaml"), model=model, models_dir=str(place.models_dir))
    return list(function.execute(launch_double.LaunchContext(**values)))


def test_the_engine_is_built_before_its_node_is_launched(
    launch_file: launch_double.LaunchDescription, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(place.cache_dir))
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    (included,) = prepared(launch_file, place, "net")
    assert isinstance(included, launch_double.IncludeLaunchDescription)
    assert included.launch_arguments == (("node", "tensor_rt"),)
    assert (place.models_dir / "net/1/model.plan").is_file()
    assert "generate_launch_description" in runpy.run_path(included.source.location)


def test_a_model_that_can_not_be_built_ends_the_launch(
    launch_file: launch_double.LaunchDescription, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(place.cache_dir))
    place.write({"name": "net", "source": "nowhere.onnx"})
    with pytest.raises(prepare_models.PrepareModelsError, match="nowhere"):
        prepared(launch_file, place, "net")


def test_what_ament_looks_for_is_there() -> None:
    described = ET.parse(PACKAGE / "package.xml").getroot()
    name = described.findtext("name")
    assert described.findtext("export/build_type") == "ament_python"
    assert (PACKAGE / f"resource/{name}").is_file()
    assert (PACKAGE / str(name) / "__init__.py").is_file()
    assert f'NAME = "{name}"' in (PACKAGE / "setup.py").read_text(encoding="utf-8")
