"""The simulator itself, driven with nothing but the standard library: it must be NGC, not our client's echo."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from typing import Any, Dict, Iterator, Optional
from urllib.parse import quote

import pytest

from .ngc import LEGACY_KEY, PERSONAL_KEY, NgcSimulator

FILES = {"model.etlt": b"m" * 1000, "sub folder/a+b&c [1].txt": b"text"}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leave a redirect to the test."""


@pytest.fixture
def sim() -> Iterator[NgcSimulator]:
    with NgcSimulator() as running:
        running.publish("nvidia/tao/net", "v1.0", FILES)
        running.publish("nvidia/plain", "2", {"x.onnx": b"x"})
        running.publish("acme/own", "1", {"x.onnx": b"x"}, guest=False)
        running.publish("acme/gated", "1", {"x.onnx": b"x"}, licence=True)
        running.publish("nvidia/tao/tool", "1", {"x.zip": b"x"}, kind="resources")
        yield running


def ask(url: str, key: Optional[str] = None, **headers: str) -> "tuple[int, Dict[str, str], bytes]":
    if key:
        headers["Authorization"] = key
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({})).open(request) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def listing(sim: NgcSimulator, route: str, key: Optional[str] = None) -> Dict[str, Any]:
    status, _, body = ask(sim.url + route, key)
    assert status == 200
    raw: Dict[str, Any] = json.loads(body)
    return raw


@pytest.mark.parametrize(
    "route", ["/v2/models/nvidia/tao/net/versions/v1.0/files", "/v2/models/nvidia/plain/versions/2/files"]
)
def test_a_list_tells_size_and_digest(sim: NgcSimulator, route: str) -> None:
    for raw in listing(sim, route)["modelFiles"]:
        content = {**FILES, "x.onnx": b"x"}[raw["path"]]
        assert raw["sizeInBytes"] == len(content)
        assert base64.b64decode(raw["sha256_base64"]) == hashlib.sha256(content).digest()


def test_a_list_has_pages(sim: NgcSimulator) -> None:
    route = "/v2/models/nvidia/tao/net/versions/v1.0/files?page-size=1"
    first, second = listing(sim, route), listing(sim, f"{route}&page-number=1")
    assert first["paginationInfo"]["totalPages"] == 2
    assert [raw["modelFiles"][0]["path"] for raw in (first, second)] == list(FILES)


@pytest.mark.parametrize("path", list(FILES))
def test_every_route_to_a_file_ends_at_the_same_bytes(sim: NgcSimulator, path: str) -> None:
    direct = f"/v2/models/nvidia/tao/net/versions/v1.0/files/{quote(path)}"
    by_query = f"/v2/models/org/nvidia/team/tao/net/v1.0/files?redirect=true&path={quote(path, safe='')}"
    owned = f"/v2/org/nvidia/team/tao/models/net/versions/v1.0/files/{quote(path)}"
    manifest = listing(sim, f"/v2/models/org/nvidia/team/tao/net/v1.0/files?path={quote(path, safe='')}")
    urls = [*manifest["urls"]]
    for route, key in ((direct, None), (by_query, None), (owned, f"Bearer {PERSONAL_KEY}")):
        status, headers, _ = ask(sim.url + route, key)
        assert status == 302
        urls.append(headers["Location"])
    assert [ask(url)[2] for url in urls] == [FILES[path]] * 4


def test_a_signed_url_holds_for_its_own_bytes_alone_and_not_for_ever(sim: NgcSimulator) -> None:
    _, headers, _ = ask(f"{sim.url}/v2/models/nvidia/tao/net/versions/v1.0/files/model.etlt")
    url = headers["Location"]
    assert not url.startswith(sim.url)
    assert ask(url)[0] == 200
    assert ask(url.replace("%2B", "+"))[0] == 403
    assert ask(url.partition("?")[0])[0] == 403
    sim.expire_urls()
    assert ask(url)[0] == 403


def test_the_cdn_serves_ranges_of_the_content_that_was_meant(sim: NgcSimulator) -> None:
    _, headers, _ = ask(f"{sim.url}/v2/models/nvidia/tao/net/versions/v1.0/files/model.etlt")
    url = headers["Location"]
    status, told, body = ask(url, Range="bytes=990-")
    assert (status, told["Content-Range"], len(body)) == (206, "bytes 990-999/1000", 10)
    assert ask(url, Range="bytes=990-", **{"If-Range": told["ETag"]})[0] == 206
    assert ask(url, Range="bytes=990-", **{"If-Range": '"other"'})[0] == 200
    assert ask(url, Range="bytes=1000-")[0] == 416


def test_the_cdn_notes_credentials(sim: NgcSimulator) -> None:
    _, headers, _ = ask(f"{sim.url}/v2/models/nvidia/plain/versions/2/files/x.onnx")
    ask(headers["Location"])
    assert sim.leaks == []
    ask(headers["Location"], "Bearer x")
    assert len(sim.leaks) == 1


def test_a_legacy_key_buys_a_token_that_ends(sim: NgcSimulator) -> None:
    basic = base64.b64encode(f"$oauthtoken:{LEGACY_KEY}".encode()).decode()
    token = json.loads(ask(f"{sim.url}/token?service=ngc&scope=group/ngc:acme", f"Basic {basic}")[2])["token"]
    route = f"{sim.url}/v2/org/acme/models/own/versions/1/files"
    assert ask(route, f"Bearer {token}")[0] == 200
    sim.expire_tokens()
    assert ask(route, f"Bearer {token}")[0] == 401
    assert ask(f"{sim.url}/token?service=ngc", "Basic bm8=")[0] == 401


@pytest.mark.parametrize(
    ("route", "key", "status"),
    [
        ("/v2/org/acme/models/own/versions/1/files", None, 401),
        ("/v2/models/acme/own/versions/1/files", None, 403),
        ("/v2/org/acme/models/own/versions/1/files", f"Bearer {PERSONAL_KEY}", 200),
        ("/v2/models/acme/gated/versions/1/files", None, 412),
        ("/v2/models/acme/gated/1/files", None, 404),
        ("/v2/models/acme/none/versions/1/files", None, 404),
        ("/v2/models/acme/own/versions/9/files", None, 404),
        ("/v2/resources/nvidia/tao/tool/versions/1/files", None, 200),
        ("/v2/models/nvidia/tao/net/versions", None, 200),
        ("/v2/models/nvidia/tao/net?resolve-labels=false", None, 200),
        ("/v2/models/nvidia/tao/net/versions/v1.0", None, 200),
    ],
)
def test_each_caller_gets_the_documented_status(sim: NgcSimulator, route: str, key: Optional[str], status: int) -> None:
    assert ask(sim.url + route, key)[0] == status


def test_a_fault_ends(sim: NgcSimulator) -> None:
    route = f"{sim.url}/v2/models/nvidia/plain/versions/2/files"
    sim.fail("list", 2, status=503)
    assert [ask(route)[0] for _ in range(3)] == [503, 503, 200]
