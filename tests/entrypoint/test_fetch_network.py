"""The network as it is: proxies, private certificates, portals, and answers that nobody expects."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import pytest

from prepare_models_entrypoint.contract.fetch import Connection
from prepare_models_entrypoint.download import retries
from prepare_models_entrypoint.download.fetch import Fetched, fetch
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.sources import access
from tests.simulators.ngc import LEGACY_KEY, NgcSimulator, document, error, page
from tests.simulators.proxy import Proxy
from tests.simulators.web import Answer, Request, Server, certificate

MODEL = bytes(range(256)) * 5_000
SHA256 = hashlib.sha256(MODEL).hexdigest()
SOURCE = "ngc://nvidia/tao/net:v1.0/model.etlt"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*VARIABLES, *(name.lower() for name in VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.001)
    access.access_of.cache_clear()
    yield
    access.access_of.cache_clear()


def get(source: str, folder: Path, network: "Connection | None" = None, **more: Any) -> Fetched:
    return fetch(source, sha256=None, cache_dir=folder, on_progress=lambda _: None, network=network, **more)


def refusal(source: str, folder: Path, network: "Connection | None" = None, **more: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        get(source, folder, network, **more)
    return caught.value


def test_a_plain_request_goes_through_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy() as proxy, Server(lambda _: Answer(MODEL)) as server:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        assert get(f"{server.url}/model.onnx", tmp_path).path.read_bytes() == MODEL
        assert proxy.asked == [f"GET {server.url}/model.onnx"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        access.access_of.cache_clear()
        get(f"{server.url}/other.onnx", tmp_path)
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_tls_goes_through_a_tunnel_of_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    context, pem = certificate(tmp_path)
    with Proxy() as proxy, NgcSimulator(context) as sim:
        sim.publish("nvidia/tao/net", "v1.0", {"model.etlt": MODEL})
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        network = Connection(ngc_api=sim.url, ngc_auth=sim.url)
        refused = refusal(SOURCE, tmp_path, network)
        assert (refused.code, variable in refused.hint) == ("tls-untrusted", True)
        access.access_of.cache_clear()
        monkeypatch.setenv(variable, str(pem))
        assert get(SOURCE, tmp_path, network).path.read_bytes() == MODEL
        assert {line.partition(" ")[0] for line in proxy.asked} == {"CONNECT"}
        assert sim.leaks == []


def test_a_proxy_that_wants_credentials_gets_those_of_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, pem = certificate(tmp_path)
    wanted = "Basic " + base64.b64encode(b"me:canary-password").decode()
    with Proxy(wanted) as proxy, Server(lambda _: Answer(MODEL), context) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:wrong-canary@{proxy.host}")
        refused = refusal(f"{server.url}/model.onnx", tmp_path)
        assert (refused.code, len(proxy.asked)) == ("source-unreachable", 1)
        assert "HTTPS_PROXY" in refused.hint
        assert "canary" not in f"{refused.message} {refused.hint}"
        access.access_of.cache_clear()
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:canary-password@{proxy.host}")
        assert get(f"{server.url}/model.onnx", tmp_path).path.read_bytes() == MODEL


def test_a_proxy_that_is_not_there_or_no_url_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("http://127.0.0.1:1", "::::"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        access.access_of.cache_clear()
        refused = refusal("https://models.example/model.onnx", tmp_path)
        assert (refused.code, "HTTPS_PROXY" in refused.hint) == ("source-unreachable", True)


def test_a_redirect_to_a_login_page_is_a_portal(tmp_path: Path) -> None:
    def decide(request: Request) -> Answer:
        to = server.url.replace("127.0.0.1", "localhost")
        return page() if request.target == "/login" else Answer(status=302, headers={"Location": f"{to}/login"})

    with Server(decide) as server:
        assert refusal(f"{server.url}/model.onnx", tmp_path).code == "network-intercepted"


def test_a_page_over_the_hosts_own_tls_is_the_hosts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with Server(lambda _: page(), context) as server:
        assert refusal(f"{server.url}/model.onnx", tmp_path).code == "source-not-a-model"


@pytest.mark.parametrize("target", ["http://[bad", "http://host:99999999/", "ftp://host/file", "javascript:void(0)"])
def test_a_redirect_to_nowhere_is_an_error_of_the_server(tmp_path: Path, target: str) -> None:
    with Server(lambda _: Answer(status=302, headers={"Location": target})) as server:
        assert refusal(f"{server.url}/model.onnx", tmp_path).code == "source-unreachable"


def test_user_and_password_of_a_url_are_sent_to_its_host_alone(tmp_path: Path) -> None:
    def private(request: Request) -> Answer:
        if request.headers.get("authorization") != "Basic " + base64.b64encode(b"me:secret").decode():
            return Answer(status=401)
        return Answer(status=302, headers={"Location": f"{elsewhere.url}/blob"})

    with Server(lambda _: Answer(MODEL)) as elsewhere, Server(private) as server:
        url = server.url.replace("//", "//me:secret@")
        assert get(f"{url}/model.onnx", tmp_path).path.read_bytes() == MODEL
        assert "authorization" not in elsewhere.requests[0].headers


def test_no_room_for_the_copy_is_found_before_the_first_byte(tmp_path: Path) -> None:
    def decide(request: Request) -> Answer:
        return Answer(b"x" * 600, headers={"Content-Length": str(10**16)})

    with Server(decide) as server:
        for copy_to in (None, Path("/dev/shm")):
            refused = refusal(f"{server.url}/model.onnx", tmp_path, copy_to=copy_to)
            assert (refused.code, refused.retryable) == ("disk-full", False)
        assert len(server.requests) == 2
    assert not [path for path in tmp_path.rglob("*.part") if path.stat().st_size]


ODD_LISTS: Dict[str, Any] = {
    "no files": {},
    "files that are none": {"modelFiles": ["x", None]},
    "files as an object": {"modelFiles": {"path": "model.etlt"}},
    "a version that is none": {"modelVersion": "v1.0", "modelFiles": []},
    "pages that are no number": {"modelFiles": [], "paginationInfo": {"totalPages": "many"}},
}


@pytest.mark.parametrize("odd", ODD_LISTS.values(), ids=ODD_LISTS.keys())
def test_a_list_that_is_not_understood_is_an_error_of_its_own(tmp_path: Path, odd: Dict[str, Any]) -> None:
    with NgcSimulator() as sim:
        sim.publish("nvidia/tao/net", "v1.0", {"model.etlt": MODEL})
        sim.fail("list", -1, document(odd))
        refused = refusal(SOURCE, tmp_path, Connection(ngc_api=sim.url))
    assert (refused.code, "not understood" in refused.message) == ("source-unreachable", True)


@pytest.mark.parametrize("place", ["token", "list"])
def test_what_fails_behind_a_failure_is_not_tried_again_for_each_try(tmp_path: Path, place: str) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text(f'{{"ngc_api_key": "{LEGACY_KEY}", "headers": []}}')
    with NgcSimulator() as sim:
        sim.publish("acme/own", "1", {"a.onnx": MODEL, "b.onnx": MODEL})
        sim.fail(place, -1, error(503, "SERVICE_UNAVAILABLE", "later"))
        network = Connection(ngc_api=sim.url, ngc_auth=sim.url, secrets_file=str(secrets))
        for name in ("a.onnx", "b.onnx"):
            assert refusal(f"ngc://acme/own:1/{name}", tmp_path, network).code == "source-unreachable"
        assert len(sim.asked) <= 6


@pytest.mark.parametrize("key", ["nvapi-\\u043a\\u043b\\u044e\\u0447", "nvapi-two\\nlines", "legacy \\u0007 key"])
def test_a_key_that_can_be_none_is_refused_without_a_request(tmp_path: Path, key: str) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text(f'{{"ngc_api_key": "{key}", "headers": []}}')
    with NgcSimulator() as sim:
        network = Connection(ngc_api=sim.url, ngc_auth=sim.url, secrets_file=str(secrets))
        assert refusal(SOURCE, tmp_path, network).code == "source-key-refused"
        assert sim.asked == []


WRONG_SIZES: Dict[str, Callable[[int], int]] = {"more": lambda size: size - 5, "fewer": lambda size: size + 5}


@pytest.mark.parametrize("listed", WRONG_SIZES.values(), ids=WRONG_SIZES.keys())
def test_bytes_of_another_size_than_listed_are_the_wrong_ones(tmp_path: Path, listed: "Callable[[int], int]") -> None:
    with NgcSimulator() as sim:
        version = sim.publish("nvidia/tao/net", "v1.0", {"model.etlt": MODEL})
        version.listed["model.etlt"] = {"sizeInBytes": listed(len(MODEL))}
        assert refusal(SOURCE, tmp_path, Connection(ngc_api=sim.url)).code == "digest-mismatch"
