"""Fetching from NGC: every fault survives or fails with its own code, and nothing wrong ever has a final name."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

from prepare_models_entrypoint.contract.fetch import Connection
from prepare_models_entrypoint.download import retries
from prepare_models_entrypoint.download.fetch import Fetched, fetch
from prepare_models_entrypoint.download.transfer import Progress
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.sources import access
from prepare_models_entrypoint.sources.ngc.catalogue import answer
from tests.simulators.ngc import LEGACY_KEY, PERSONAL_KEY, NgcSimulator, error, page
from tests.simulators.web import Answer, certificate

MODEL = bytes(range(251)) * 8_000  # 2 MB
SHA256 = hashlib.sha256(MODEL).hexdigest()
ODD = "sub folder/a+b&c=d [1] é.etlt"
SOURCE = "ngc://nvidia/tao/net:v1.0/model.etlt"


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[NgcSimulator]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.001)
    with NgcSimulator() as running:
        running.publish("nvidia/tao/net", "v1.0", {"model.etlt": MODEL, ODD: b"odd", "empty.txt": b""})
        running.publish("nvidia/plain", "v 2+x", {"x.onnx": b"plain"})
        running.publish("nvidia/tao/old", "1", {"x.onnx": b"old"}, digests=False)
        running.publish("acme/own", "1", {"x.onnx": b"own"}, guest=False)
        running.publish("acme/gated", "1", {"x.onnx": b"x"}, licence=True)
        running.publish("acme/pending", "1", {"x.onnx": b"x"}, status="UPLOAD_PENDING")
        running.publish("nvidia/tao/tool", "1", {"x.bin": b"tool"}, kind="resources")
        yield running
        assert running.leaks == []
        access.access_of.cache_clear()


def network(sim: NgcSimulator, key: Optional[str] = None, folder: Optional[Path] = None, **more: Any) -> Connection:
    secrets = None
    if key and folder:
        secrets = folder / "secrets.json"
        secrets.write_text(json.dumps({"ngc_api_key": key, "headers": []}), encoding="utf-8")
    access.access_of.cache_clear()
    return Connection(ngc_api=sim.url, ngc_auth=sim.url, secrets_file=str(secrets) if secrets else None, **more)


def get(
    sim: NgcSimulator,
    source: str,
    folder: Path,
    *,
    sha256: Optional[str] = None,
    key: Optional[str] = None,
    **more: Any,
) -> Fetched:
    return fetch(
        source,
        sha256=sha256,
        cache_dir=folder / "cache",
        on_progress=lambda _: None,
        network=network(sim, key, folder, **more),
    )


def refusal(sim: NgcSimulator, source: str, folder: Path, **options: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        get(sim, source, folder, **options)
    assert kept(folder) == []
    return caught.value


def kept(folder: Path) -> List[str]:
    """Return the digests of the contents that are kept as whole files."""
    return sorted(path.name for path in (folder / "cache" / "downloads/blobs").glob("*"))


def test_a_guest_lists_first_and_fetches_once(sim: NgcSimulator, tmp_path: Path) -> None:
    fetched = get(sim, SOURCE, tmp_path)
    assert fetched.path.read_bytes() == MODEL
    assert (fetched.path.name, fetched.promised) == ("model.etlt", "server")
    assert fetched.licence == "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/tao/models/net?version=v1.0"
    assert [request.target.partition("?")[0] for request in sim.asked] == [
        "/v2/models/nvidia/tao/net/versions/v1.0/files",
        "/v2/models/nvidia/tao/net/versions/v1.0/files/model.etlt",
    ]
    assert sim.bytes_served == len(MODEL)


FORMS = [
    "{api}/v2/models/nvidia/tao/net/versions/v1.0/files/model.etlt",
    "{api}/v2/models/org/nvidia/team/tao/net/v1.0/files?redirect=true&path=model.etlt",
    "{api}/v2/models/org/nvidia/team/tao/net/v1.0/files?path=model.etlt",
    "{api}/v2/org/nvidia/team/tao/models/net/versions/v1.0/files/model.etlt",
    "{api}/v2/org/nvidia/team/tao/models/net/v1.0/files?path=model.etlt",
    "https://api.ngc.nvidia.com/v2/models/nvidia/tao/net/versions/v1.0/files/model.etlt",
    "ngc://nvidia/tao/net:v1.0?file=model.etlt",
    SOURCE,
]


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_is_the_same_file(sim: NgcSimulator, tmp_path: Path, form: str) -> None:
    get(sim, SOURCE, tmp_path)
    served = sim.bytes_served
    assert get(sim, form.format(api=sim.url), tmp_path).path.read_bytes() == MODEL
    assert sim.bytes_served == served


@pytest.mark.parametrize(
    ("source", "content"),
    [
        (f"ngc://nvidia/tao/net:v1.0/{ODD}", b"odd"),
        ("ngc://nvidia/tao/net:v1.0/empty.txt", b""),
        ("ngc://nvidia/plain:v 2+x/x.onnx", b"plain"),
        ("{api}/v2/models/nvidia/plain/versions/v%202%2Bx/files/x.onnx", b"plain"),
        (
            "{api}/v2/models/org/nvidia/team/tao/net/v1.0/files?path=sub+folder%2Fa%2Bb%26c%3Dd+%5B1%5D+%C3%A9.etlt",
            b"odd",
        ),
        ("{api}/v2/resources/nvidia/tao/tool/versions/1/files/x.bin", b"tool"),
        ("{api}/v2/recipes/nvidia/tao/tool/versions/1/files/x.bin", b"tool"),
        ("ngc://nvidia/tao/old:1/x.onnx", b"old"),
    ],
)
def test_names_are_literal_and_quoting_is_ours(sim: NgcSimulator, tmp_path: Path, source: str, content: bytes) -> None:
    fetched = get(sim, source.format(api=sim.url), tmp_path)
    assert fetched.path.read_bytes() == content


@pytest.mark.parametrize("key", [LEGACY_KEY, PERSONAL_KEY])
def test_a_key_opens_what_is_not_public(sim: NgcSimulator, tmp_path: Path, key: str) -> None:
    assert get(sim, "ngc://acme/own:1/x.onnx", tmp_path, key=key).path.read_bytes() == b"own"
    exchanged = [request for request in sim.asked if request.target.startswith("/token")]
    assert len(exchanged) == (1 if key == LEGACY_KEY else 0)


def test_a_token_that_ends_on_the_way_is_renewed_once(sim: NgcSimulator, tmp_path: Path) -> None:
    sim.fail("file", 1, error(401, "UNAUTHORIZED", "expired"))
    assert get(sim, "ngc://acme/own:1/x.onnx", tmp_path, key=LEGACY_KEY).path.read_bytes() == b"own"
    assert sum(request.target.startswith("/token") for request in sim.asked) == 2


def test_a_netrc_replaces_no_key(sim: NgcSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    get(sim, "ngc://acme/own:1/x.onnx", tmp_path, key=PERSONAL_KEY)
    assert {request.headers.get("authorization") for request in sim.asked} == {f"Bearer {PERSONAL_KEY}"}
    assert [request.headers.get("authorization") for request in sim.fetched] == [None]


def test_a_key_that_is_refused_is_not_tried_for_ever(sim: NgcSimulator, tmp_path: Path) -> None:
    assert refusal(sim, SOURCE, tmp_path, key="a-wrong-legacy-key").code == "source-key-refused"
    assert refusal(sim, SOURCE, tmp_path, key="nvapi-wrong").code == "source-key-refused"
    assert len(sim.asked) <= 3
    sim.fail("list", -1, error(401, "UNAUTHORIZED", "no"))
    assert refusal(sim, SOURCE, tmp_path, key=LEGACY_KEY).code == "source-key-refused"


@pytest.mark.parametrize(
    ("source", "code", "told"),
    [
        ("ngc://acme/own:1/x.onnx", "source-refused", "no key was sent"),
        (
            "ngc://acme/gated:1/x.onnx",
            "licence-not-accepted",
            "https://catalog.ngc.nvidia.com/orgs/acme/models/gated?version=1",
        ),
        ("ngc://acme/pending:1/x.onnx", "source-unreadable", "UPLOAD_PENDING"),
        ("ngc://nvidia/tao/net:v1.1/model.etlt", "source-not-found", "v1.0"),
        ("ngc://nvidia/tao/net:v1.0/model.etl", "source-not-found", "model.etlt"),
        ("ngc://nvidia/tlt_vision/net:v1.0/model.etlt", "source-not-found", "ngc://nvidia/tao/net"),
        ("ngc://nvidia/tao/net:v1.0/../x", "source-not-found", "model.etlt"),
    ],
)
def test_a_refusal_says_what_to_do(sim: NgcSimulator, tmp_path: Path, source: str, code: str, told: str) -> None:
    refused = refusal(sim, source, tmp_path)
    assert (refused.code, refused.retryable) == (code, False)
    assert told in f"{refused.message} {refused.hint}"
    assert len(sim.asked) <= 2


SURVIVED: List[Callable[[NgcSimulator], None]] = [
    lambda sim: sim.fail("cdn", 1, cut_after=1_500_000),
    lambda sim: sim.fail("cdn", 12, cut_after=160_000),
    lambda sim: sim.fail("cdn", 1, flip=True),
    lambda sim: sim.fail("cdn", 1, page()),
    lambda sim: sim.fail("cdn", 1, Answer(b"<Error/>", 403)),
    lambda sim: sim.fail("cdn", 2, Answer(b"", 503)),
    lambda sim: sim.fail("list", 1, page()),
    lambda sim: sim.fail("list", 2, Answer(b"", 500)),
    lambda sim: sim.fail("list", 1, Answer(b"", 429, {"Retry-After": "0"})),
    lambda sim: sim.fail("file", 1, Answer(b"", 429)),
    lambda sim: sim.fail("file", 1, error(404, "NOT_FOUND", "this route alone")),
    lambda sim: sim.fail("cdn", 1, ranged=False, cut_after=1_000_000),
]


@pytest.mark.parametrize("fault", SURVIVED)
def test_a_fault_that_passes_is_survived(
    sim: NgcSimulator, tmp_path: Path, fault: "Callable[[NgcSimulator], None]"
) -> None:
    fault(sim)
    assert get(sim, SOURCE, tmp_path).path.read_bytes() == MODEL
    assert kept(tmp_path) == [SHA256]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lambda sim: sim.fail("cdn", -1, flip=True), "digest-mismatch"),
        (lambda sim: sim.fail("cdn", -1, cut_after=100), "source-unreachable"),
        (lambda sim: sim.fail("cdn", -1, page()), "network-intercepted"),
        (lambda sim: sim.fail("cdn", -1, Answer(b"\xef\xbb\xbf <!-- x --><html>log in")), "network-intercepted"),
        (lambda sim: sim.fail("cdn", -1, Answer(b"<?xml version='1.0'?><Error/>")), "source-not-a-model"),
        (lambda sim: sim.fail("cdn", -1, Answer(b"{}", 511)), "network-intercepted"),
        (lambda sim: sim.fail("cdn", -1, Answer(b"<Error/>", 403)), "source-refused"),
        (lambda sim: sim.fail("cdn", -1, Answer(b"", 503)), "source-unreachable"),
        (lambda sim: sim.fail("list", -1, page()), "network-intercepted"),
        (
            lambda sim: sim.fail("list", -1, Answer(status=302, headers={"Location": "http://portal/"})),
            "network-intercepted",
        ),
        (lambda sim: sim.fail("list", -1, Answer(b"", 429)), "source-rate-limited"),
        (lambda sim: sim.fail("list", -1, Answer(b"", 429, {"Retry-After": "9999"})), "source-rate-limited"),
    ],
)
def test_a_fault_that_stays_has_its_own_code(
    sim: NgcSimulator, tmp_path: Path, fault: "Callable[[NgcSimulator], None]", code: str
) -> None:
    fault(sim)
    assert refusal(sim, SOURCE, tmp_path).code == code
    assert sum(request.status != 302 for request in sim.asked + sim.fetched) <= 8


def test_what_came_before_a_break_is_not_asked_for_again(sim: NgcSimulator, tmp_path: Path) -> None:
    sim.fail("cdn", 1, cut_after=1_800_000)
    get(sim, SOURCE, tmp_path)
    assert sim.bytes_served == len(MODEL)
    assert sim.fetched[1].headers["if-range"].startswith('"')
    assert sim.fetched[1].status == 206


def test_a_later_run_goes_on_where_an_earlier_one_broke_off(sim: NgcSimulator, tmp_path: Path) -> None:
    sim.fail("cdn", 1, cut_after=1_800_000)
    sim.fail("cdn", 5, Answer(b"", 500))
    assert refusal(sim, SOURCE, tmp_path).code == "source-unreachable"
    sim.faults.clear()
    assert get(sim, SOURCE, tmp_path).path.read_bytes() == MODEL
    assert sim.bytes_served == len(MODEL)


def test_a_url_that_expires_on_the_way_is_signed_anew(sim: NgcSimulator, tmp_path: Path) -> None:
    sim.fail("cdn", 1, cut_after=1_000_000)
    sim.fail("cdn", 1, Answer(b"<Error/>", 403))
    get(sim, SOURCE, tmp_path)
    signed = [request for request in sim.asked if request.target.endswith("/model.etlt")]
    assert (len(signed), sim.bytes_served) == (3, len(MODEL) + len(b"<Error/>"))


def test_a_stall_ends_the_connection_and_the_rest_is_fetched(sim: NgcSimulator, tmp_path: Path) -> None:
    sim.fail("cdn", 1, stall_s=20.0)
    assert get(sim, SOURCE, tmp_path, stall_s=0.2).path.read_bytes() == MODEL
    assert sim.fetched[1].status == 206


def test_a_list_that_tells_another_digest_is_believed(sim: NgcSimulator, tmp_path: Path) -> None:
    version = sim.publish("acme/lying", "1", {"x.onnx": b"other"})
    version.listed["x.onnx"] = {"sha256_base64": "A" * 43 + "="}
    assert refusal(sim, "ngc://acme/lying:1/x.onnx", tmp_path).code == "digest-mismatch"


def test_a_pin_that_the_list_contradicts_costs_no_download(sim: NgcSimulator, tmp_path: Path) -> None:
    assert refusal(sim, SOURCE, tmp_path, sha256="0" * 64).code == "digest-mismatch"
    assert sim.fetched == []


def test_pinned_bytes_that_are_here_need_no_server(sim: NgcSimulator, tmp_path: Path) -> None:
    get(sim, SOURCE, tmp_path)
    asked = len(sim.asked)
    assert get(sim, "ngc://elsewhere/renamed:1/model.etlt", tmp_path, sha256=SHA256).path.read_bytes() == MODEL
    assert len(sim.asked) == asked


def test_bytes_that_were_changed_in_the_store_are_fetched_again(sim: NgcSimulator, tmp_path: Path) -> None:
    path = get(sim, SOURCE, tmp_path).path.resolve()
    path.chmod(0o644)
    path.write_bytes(b"x" * len(MODEL))
    assert get(sim, SOURCE, tmp_path).path.read_bytes() == MODEL


def test_no_secret_is_told_or_kept(sim: NgcSimulator, tmp_path: Path) -> None:
    canary = "nvapi-canary-0123456789"
    told = [refusal(sim, SOURCE, tmp_path, key=canary), refusal(sim, SOURCE, tmp_path, key="canary-legacy-0123456789")]
    sim.fail("cdn", -1, Answer(b"<Error/>", 403))
    told.append(refusal(sim, "ngc://acme/own:1/x.onnx", tmp_path, key=PERSONAL_KEY))
    texts = [f"{failure.message} {failure.hint}" for failure in told]
    texts += [
        str(path) + path.read_bytes().decode("latin-1") for path in (tmp_path / "cache").rglob("*") if path.is_file()
    ]
    for text in texts:
        assert "canary" not in text
        assert "Signature=" not in text
        assert PERSONAL_KEY not in text


def test_who_waits_for_another_download_sees_how_far_it_is(sim: NgcSimulator, tmp_path: Path) -> None:
    sim.rate = 4e6
    told: List[Progress] = []
    first = threading.Thread(target=get, args=(sim, SOURCE, tmp_path))
    first.start()
    while not sim.fetched:
        time.sleep(0.01)
    fetch(SOURCE, sha256=None, cache_dir=tmp_path / "cache", on_progress=told.append, network=network(sim))
    first.join()
    assert [step["done"] for step in told] == sorted(step["done"] for step in told)
    assert {step["total"] for step in told if step["done"] > 1 << 20} == {len(MODEL)}
    assert len(sim.fetched) == 1


def test_tls_names_the_variable_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, pem = certificate(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with NgcSimulator(context) as sim:
        sim.publish("nvidia/tao/net", "v1.0", {"model.etlt": MODEL})
        refused = refusal(sim, SOURCE, tmp_path)
        assert refused.code == "tls-untrusted"
        assert "REQUESTS_CA_BUNDLE" in refused.hint
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
        assert "absent.pem" in refusal(sim, SOURCE, tmp_path).hint
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
            monkeypatch.setenv(name, str(pem))
            (tmp_path / name).mkdir()
            assert get(sim, SOURCE, tmp_path / name).path.read_bytes() == MODEL
        assert sim.leaks == []
    access.access_of.cache_clear()


def test_the_catalogue_answers(sim: NgcSimulator, tmp_path: Path) -> None:
    settings = network(sim).to_dict()

    def ask(question: str, about: str) -> Dict[str, Any]:
        return answer({"ask": question, "about": about, "network": settings})

    assert [row["model"] for row in ask("search", "net")["rows"]] == ["nvidia/tao/net"]
    assert [row["version"] for row in ask("versions", "nvidia/tao/net")["rows"]] == ["v1.0"]
    files = ask("files", "nvidia/tao/net:v1.0")["rows"]
    assert [row["path"] for row in files] == ["model.etlt", ODD, "empty.txt"]
    assert files[0]["sha256"] == SHA256
    assert ask("files", "nvidia/tao/net")["error"]["code"] == "source-not-found"
    assert "v1.0" in ask("files", "nvidia/tao/net:9")["error"]["message"]


def test_offline_takes_what_is_here_and_asks_nobody(sim: NgcSimulator, tmp_path: Path) -> None:
    def offline(source: str) -> Fetched:
        return fetch(
            source,
            sha256=None,
            cache_dir=tmp_path / "cache",
            on_progress=lambda _: None,
            network=Connection(),
            offline=True,
        )

    get(sim, SOURCE, tmp_path)
    asked = len(sim.asked)
    assert offline(SOURCE).path.read_bytes() == MODEL
    with pytest.raises(FetchError) as caught:
        offline("ngc://nvidia/tao/net:v1.0/empty.txt")
    assert "may not use the network" in caught.value.message
    assert len(sim.asked) == asked
