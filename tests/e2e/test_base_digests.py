"""The command that pins base images, against a registry that speaks the distribution API, with and without tokens."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

import pytest

from prepare_models.docker import images
from prepare_models.machine import platforms
from tests.simulators.web import Answer, Request, Server

ROOT = Path(__file__).parents[2]
MANIFEST = b'{"schemaVersion": 2, "manifests": []}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("base_digests", ROOT / ".ci" / "base_digests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def registry(request: Request, url: str) -> Answer:
    """Answer as registries do: ``open/*`` to anybody, ``nvidia/*`` to who brings a token, ``odd/*`` wrongly."""
    target = urlsplit(request.target)
    if target.path == "/token":
        asked = parse_qs(target.query)
        assert asked["service"] == ["registry"]
        return Answer(json.dumps({"token": f"for {asked['scope'][0]}"}).encode())
    if "manifest.list" not in request.headers.get("accept", ""):
        return Answer(status=406)
    repository = target.path.removeprefix("/v2/").partition("/manifests/")[0]
    wanted = f"Bearer for repository:{repository}:pull"
    if repository.startswith("nvidia/") and request.headers.get("authorization") != wanted:
        challenge = f'Bearer realm="{url}/token",service="registry",scope="repository:{repository}:pull"'
        return Answer(status=401, headers={"WWW-Authenticate": challenge})
    if repository.startswith("closed/"):
        return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    if repository.startswith("gone/"):
        return Answer(status=404)
    digest = "sha256:" + "0" * 64 if repository.startswith("odd/") else DIGEST
    headers = {} if repository.startswith("silent/") else {"Docker-Content-Digest": digest}
    return Answer(MANIFEST, headers=headers)


@pytest.fixture
def host() -> Iterator[str]:
    with Server(lambda request: registry(request, server.url)) as server:
        yield server.url.removeprefix("http://")


@pytest.mark.parametrize("repository", ["open/base", "nvidia/tensorrt", "silent/base"])
def test_the_digest_is_that_of_the_manifest(tool: ModuleType, host: str, repository: str) -> None:
    assert tool.digest_of(f"{host}/{repository}:25.09-py3") == DIGEST


@pytest.mark.parametrize(
    ("repository", "why"), [("odd/base", "its bytes are"), ("closed/base", "an account"), ("gone/base", "answers 404")]
)
def test_what_a_registry_does_not_tell_is_not_invented(tool: ModuleType, host: str, repository: str, why: str) -> None:
    image = f"{host}/{repository}:1"
    found, (problem,) = tool.renewed({image: None, f"{host}/open/base:1": None})
    assert found == {image: None, f"{host}/open/base:1": DIGEST}
    assert why in problem


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("ubuntu:24.04", ("registry-1.docker.io", "library/ubuntu", "24.04")),
        ("a/b:1", ("registry-1.docker.io", "a/b", "1")),
        ("nvcr.io/nvidia/tensorrt:25.09-py3", ("nvcr.io", "nvidia/tensorrt", "25.09-py3")),
    ],
)
def test_where_an_image_lies(tool: ModuleType, image: str, parts: tuple[str, str, str]) -> None:
    assert tool.address(image) == parts


def test_data_and_bake_file_are_written_alike(tool: ModuleType, host: str, tmp_path: Path) -> None:
    machine, docker = tmp_path / "orchestrator/prepare_models/machine", tmp_path / "docker"
    machine.mkdir(parents=True)
    docker.mkdir()
    image, gone = f"{host}/open/base:1", f"{host}/gone/base:1"
    (machine / "platforms.json").write_text(json.dumps([{"base_image": image}, {"base_image": gone}]))
    (machine / "base_digests.json").write_text(json.dumps({image: "sha256:" + "1" * 64, "left:1": None}))
    (docker / "docker-bake.hcl").write_text(f'base = "{image}@sha256:{"1" * 64}" other = "{gone}"')
    assert tool.main(["--check"], tmp_path) == 1
    assert "1" * 64 in (docker / "docker-bake.hcl").read_text()
    assert tool.main([], tmp_path) == 1  # one is gone, and stays as it was
    assert json.loads((machine / "base_digests.json").read_text()) == {image: DIGEST, gone: None}
    assert (docker / "docker-bake.hcl").read_text() == f'base = "{image}@{DIGEST}" other = "{gone}"'


def test_every_base_image_has_a_place_for_its_digest() -> None:
    known = json.loads((Path(platforms.__file__).with_name("base_digests.json")).read_text())
    assert set(known) == {row.base_image for row in platforms.table()}
    for row in platforms.table():
        assert row.base == (f"{row.base_image}@{known[row.base_image]}" if known[row.base_image] else row.base_image)


def test_an_image_is_built_on_exactly_the_pinned_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = platforms.named("rtx")
    pinned = platforms.with_digests([row], {row.base_image: DIGEST})[0]
    asked: list[dict[str, str]] = []

    class Engine:
        def build(self, _: object, **named: dict[str, str]) -> Iterator[str]:
            asked.append(named["buildargs"])
            return iter(())

    build: Callable[..., Iterator[str]] = images.build
    list(build(Engine(), pinned))
    list(build(Engine(), pinned, base_image="debian:13"))
    assert [each["BASE_IMAGE"] for each in asked] == [f"ubuntu:24.04@{DIGEST}", "debian:13"]
