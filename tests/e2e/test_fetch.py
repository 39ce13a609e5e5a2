"""``prepare-models fetch`` and ``ngc`` as a user runs them, against a simulator of NGC in this process."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import networks
from tests.command import COMMAND, Result, Workplace
from tests.simulators.ngc import LEGACY_KEY, NgcSimulator
from tests.simulators.web import Answer, Request, Server

MODEL = os.urandom(3_000_000)
SHA256 = hashlib.sha256(MODEL).hexdigest()
SOURCE = "ngc://nvidia/tao/net:v1.0/model.etlt"


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[NgcSimulator]:
    with NgcSimulator() as running:
        monkeypatch.setenv("NGC_CLI_API_URL", running.url)
        monkeypatch.setenv("NGC_CLI_AUTH_URL", running.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        for name in ("NGC_API_KEY", "NGC_CLI_API_KEY", "NGC_APP_KEY", "NGC_API_KEY_FILE", "NGC_CLI_HOME"):
            monkeypatch.delenv(name, raising=False)
        running.publish("nvidia/tao/net", "v1.0", {"model.etlt": MODEL, "deep er/cache [1].txt": b"cache"})
        running.publish("acme/own", "1", {"own.onnx": b"own"}, guest=False)
        yield running
        assert running.leaks == []


def fetch(place: Workplace, *arguments: str, **variables: str) -> Result:
    return place.call("fetch", *arguments, "--output", str(place.folder / "out"), **variables)


def out(place: Workplace) -> dict[str, str]:
    folder = place.folder / "out"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_file_lands_under_its_base_name(place: Workplace, sim: NgcSimulator) -> None:
    result = fetch(place, SOURCE, "ngc://nvidia/tao/net:v1.0/deep er/cache [1].txt", "--json")
    assert (result.status, result.stderr) == (0, "")
    assert out(place) == {"model.etlt": SHA256, "cache [1].txt": hashlib.sha256(b"cache").hexdigest()}
    files = {file["source"]: file for file in json.loads(result.stdout)["files"]}
    assert files[SOURCE]["sha256"] == SHA256
    assert files[SOURCE]["promised"] == "server"
    assert files[SOURCE]["licence"].startswith("https://catalog.ngc.nvidia.com/")


def test_a_whole_version_is_all_of_its_files(place: Workplace, sim: NgcSimulator) -> None:
    assert fetch(place, "ngc://nvidia/tao/net:v1.0").status == 0
    assert set(out(place)) == {"model.etlt", "cache [1].txt"}


def test_a_second_fetch_brings_no_bytes_and_a_changed_file_is_put_right(place: Workplace, sim: NgcSimulator) -> None:
    fetch(place, SOURCE)
    (place.folder / "out/model.etlt").unlink()
    (place.folder / "out/model.etlt").write_bytes(b"broken by somebody")
    assert fetch(place, SOURCE).status == 0
    assert out(place) == {"model.etlt": SHA256}
    assert sim.bytes_served == len(MODEL)


def test_pinned_and_present_means_no_request(place: Workplace, sim: NgcSimulator) -> None:
    fetch(place, SOURCE)
    asked = len(sim.asked)
    assert fetch(place, f"{SOURCE}#sha256={SHA256}").status == 0
    assert len(sim.asked) == asked


def test_one_failure_does_not_stop_the_others(place: Workplace, sim: NgcSimulator) -> None:
    result = fetch(place, "ngc://nvidia/tao/net:v9/other.etlt", SOURCE)
    assert result.status == 1
    assert out(place) == {"model.etlt": SHA256}
    assert "[source-not-found]" in result.stderr
    assert "v1.0" in result.stderr


@pytest.mark.parametrize("arguments", [["ftp://host/x"], ["ngc://nvidia"], []])
def test_what_is_no_source_is_a_usage_error(place: Workplace, arguments: list[str]) -> None:
    assert fetch(place, *arguments).status == 2
    assert not list((place.folder / "out").glob("*"))


def test_a_name_that_is_not_utf_8_is_a_usage_error(place: Workplace) -> None:
    argv = [os.fsencode(COMMAND), b"fetch", b"https://models.example/\xff.onnx", b"--output", b"out"]
    done = subprocess.run(argv, capture_output=True, env=place.environment(), cwd=place.folder, check=False)
    assert done.returncode == 2
    assert b"is not UTF-8" in done.stderr


def test_a_directory_in_the_place_of_a_file_is_named(place: Workplace, sim: NgcSimulator) -> None:
    target = place.folder / "out/model.etlt"
    target.mkdir(parents=True)
    result = fetch(place, SOURCE)
    assert result.status == 1
    assert f"{target} can't be written" in result.stderr
    assert [path.name for path in target.parent.iterdir()] == ["model.etlt"]


def test_two_files_of_one_name_are_not_mixed_up(place: Workplace, sim: NgcSimulator) -> None:
    sim.publish("nvidia/tao/other", "1", {"model.etlt": b"another"})
    result = fetch(place, SOURCE, "ngc://nvidia/tao/other:1/model.etlt")
    assert result.status == 1
    assert "[output-name-taken]" in result.stderr
    assert out(place) == {}
    assert sim.fetched == []


def test_a_key_is_found_and_stays_secret(place: Workplace, sim: NgcSimulator, tmp_path: Path) -> None:
    config = tmp_path / "home/.ngc/config"
    config.parent.mkdir(parents=True)
    config.write_text(f"[CURRENT]\napikey = {LEGACY_KEY}\norg = acme\n")
    key_file = tmp_path / "key"
    key_file.write_text(LEGACY_KEY + "\n")
    assert fetch(place, "ngc://acme/own:1/own.onnx", "-v").status == 0
    wrong = fetch(place, "ngc://acme/own:1/own.onnx", NGC_API_KEY="canary-of-a-legacy-key")
    assert (wrong.status, "[source-key-refused]" in wrong.stderr) == (1, True)
    assert "canary" not in wrong.stdout + wrong.stderr
    right = fetch(place, "ngc://acme/own:1/own.onnx", "--ngc-key-file", str(key_file), NGC_API_KEY="canary")
    assert right.status == 0
    assert not [
        path for path in place.cache_dir.rglob("*") if path.is_file() and LEGACY_KEY.encode() in path.read_bytes()
    ]


def test_two_processes_fetch_each_byte_once(place: Workplace, sim: NgcSimulator) -> None:
    sim.rate = 4e6
    argv = [COMMAND, "fetch", SOURCE, "--output", str(place.folder / "out"), "--json"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, env=place.environment()) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    told = [json.loads(process.communicate()[0])["files"][0]["status"] for process in both]
    assert sorted(told) == ["fetched", "present"]
    assert sim.bytes_served == len(MODEL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_fetch_is_continued(place: Workplace, sim: NgcSimulator, number: signal.Signals) -> None:
    sim.rate = 3e6
    argv = [COMMAND, "fetch", SOURCE, "--output", str(place.folder / "out")]
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=place.environment()
    ) as process:
        while sum(path.stat().st_size for path in place.cache_dir.rglob("*.part")) < len(MODEL) // 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
    assert list((place.folder / "out").iterdir()) == []
    sim.rate = None
    assert fetch(place, SOURCE).status == 0
    assert out(place) == {"model.etlt": SHA256}
    assert sim.fetched[-1].status == 206
    assert sim.fetched[-1].sent <= 0.6 * len(MODEL)


def children_of(pid: int) -> list[int]:
    direct = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [deep for child in map(int, direct) for deep in (child, *children_of(child))]


@pytest.fixture
def many() -> Iterator[tuple[Server, dict[str, bytes]]]:
    """A server with so many files that several processes share them, and one that it refuses."""
    files = {f"file-{number}.bin": os.urandom(2000) for number in range(150)}

    def decide(request: Request) -> Answer:
        name = request.target.strip("/")
        return Answer(files[name]) if name in files else Answer(b"no", 404)

    with Server(decide) as server:
        yield server, files


def test_many_files_are_shared_out_and_each_is_told_of(place: Workplace, many: tuple[Server, dict[str, bytes]]) -> None:
    server, files = many
    result = fetch(place, *(f"{server.url}/{name}" for name in files), f"{server.url}/none.bin", "--json", NO_PROXY="*")
    assert (result.status, result.stderr.count("\n")) == (1, 2), result.stderr
    assert "[source-not-found]" in result.stderr
    assert out(place) == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    told = json.loads(result.stdout)["files"]
    assert sorted(file["source"].rpartition("/")[2] for file in told) == sorted([*files, "none.bin"])
    assert len(server.requests) == len(files) + 1


def test_processes_that_share_files_share_no_connection(place: Workplace, sim: NgcSimulator) -> None:
    files = {f"{number}.bin": os.urandom(2000) for number in range(100)}
    sim.publish("nvidia/tao/many", "1", files, digests=False)
    result = fetch(place, "ngc://nvidia/tao/many:1", "--connections", "4")
    assert (result.status, out(place)) == (0, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    listing, *others = sim.asked
    assert listing.client not in {request.client for request in others}, "over it, each may get the other's answers"


def test_processes_that_share_files_end_with_the_one_that_started_them(place: Workplace) -> None:
    with Server(lambda _: Answer(b"x" * 2000, delay_s=1.0)) as server:
        sources = [f"{server.url}/{number}.bin" for number in range(100)]
        running = subprocess.Popen(
            [COMMAND, "fetch", *sources, "--output", str(place.folder / "out"), "--quiet"],
            env=place.environment(NO_PROXY="*"),
        )
        while not server.requests:
            time.sleep(0.01)
        started = children_of(running.pid)
        running.kill()
        running.wait()
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    ("which", "ended_by", "message"),
    [
        (0, signal.SIGKILL, "no memory left"),
        (1, signal.SIGTERM, "the entrypoint ended with status 1: RuntimeError"),  # and the first is killed after it
    ],
)
def test_one_that_is_killed_for_memory_is_no_bug(
    place: Workplace, which: int, ended_by: signal.Signals, message: str
) -> None:
    with Server(lambda _: Answer(b"x" * 2000, delay_s=0.2)) as server:
        running = subprocess.Popen(
            [COMMAND, "fetch", *(f"{server.url}/{number}.bin" for number in range(100)), "--output", "out", "--quiet"],
            env=place.environment(NO_PROXY="*"), cwd=place.folder, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not server.requests or len(children_of(running.pid)) < 3:  # the one that shares files out, and two more
            time.sleep(0.01)
        os.kill(children_of(children_of(running.pid)[0])[which], ended_by)
        assert running.communicate()[1].startswith(f"error [environment] prepare-models: {message}")
        assert running.returncode == 3


def test_a_private_server_gets_its_headers_and_nobody_else(place: Workplace) -> None:
    def private(request: Request) -> Answer:
        if request.headers.get("x-token") != "canary-token":
            return Answer(status=401)
        return Answer(status=302, headers={"Location": f"{elsewhere.url}/blob?sig=canary"})

    with Server(lambda _: Answer(MODEL)) as elsewhere, Server(private) as server:
        headers = place.folder / "headers"
        headers.write_text("# for the private server\nX-Token: canary-token\n")
        url = f"{server.url}/model.onnx"
        refused = fetch(place, url, NO_PROXY="127.0.0.1")
        assert (refused.status, "[source-refused]" in refused.stderr) == (1, True)
        assert fetch(place, url, "--headers-file", str(headers), NO_PROXY="127.0.0.1").status == 0
        assert "x-token" not in elsewhere.requests[0].headers
    assert out(place) == {"model.onnx": SHA256}


def test_no_secret_leaves_in_any_form(place: Workplace, sim: NgcSimulator) -> None:
    """Canaries in a URL, a headers file, keys, a proxy's address and a signed redirect, where each of them fails."""

    def private(request: Request) -> Answer:
        signed = {"Location": f"{server.url}/blob?Signature=canary-signature"}
        return Answer(status=302, headers=signed) if "/signed" in request.target else Answer(status=403)

    headers = place.folder / "headers.secret"
    headers.write_text("X-Token: canary-header\n")
    sim.fail("cdn", -1, Answer(b"<Error/>", 403))
    with Server(private) as server:
        url = server.url.replace("//", "//user:canary-password@")
        sources = [f"{url}/a.onnx?sig=canary-query", f"{url}/signed.onnx", "ngc://acme/own:1/own.onnx", SOURCE]
        place.write(
            *({"name": f"net{n}", "source": source, "sha256": "0" * 64} for n, source in enumerate(sources)),
            defaults={"headers_file": str(headers)},
        )
        told, variables = [], {"HTTPS_PROXY": "http://me:canary-proxy@127.0.0.1:1", "NO_PROXY": "127.0.0.1"}
        for key in ("nvapi-canary-key", "canary-legacy-key", "nvapi-canary\u043a"):
            variables["NGC_API_KEY"] = key
            arguments = (*sources, "https://models.example/x.onnx", "--attempts", "1", "--json")
            told.append(fetch(place, *arguments, **variables))
        told.append(fetch(place, *sources, "--attempts", "1", "--headers-file", str(headers), **variables))
        told.append(place.run("-v", "--log-format", "json", **variables))
        told.append(place.call("plan", str(place.manifest), "--json", **variables))
    assert [result.status for result in told] == [1, 1, 1, 1, 1, 0]
    files = [path for path in place.folder.rglob("*") if path.is_file() and path not in (headers, place.manifest)]
    texts = [text for result in told for text in (result.stdout, result.stderr)]
    for text in [*texts, *(f"{path}{path.read_bytes()!r}" for path in files)]:
        assert "canary" not in text


def test_a_member_of_an_archive_is_a_source(place: Workplace) -> None:
    with tarfile.open(place.folder / "models.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("./inner/model.onnx")
        info.size = len(MODEL)
        tar.addfile(info, io.BytesIO(MODEL))
    assert fetch(place, "models.tar.gz!inner/model.onnx").status == 0
    assert out(place) == {"model.onnx": SHA256}


def test_the_catalogue_is_printed(place: Workplace, sim: NgcSimulator) -> None:
    assert "nvidia/tao/net" in place.call("ngc", "search", "net").stdout
    assert "v1.0" in place.call("ngc", "versions", "nvidia/tao/net").stdout
    files = json.loads(place.call("ngc", "files", "nvidia/tao/net:v1.0", "--json").stdout)
    assert [(file["path"], file["bytes"]) for file in files] == [
        ("model.etlt", 3_000_000),
        ("deep er/cache [1].txt", 5),
    ]
    gone = place.call("ngc", "versions", "nvidia/tlt_x/net")
    assert (gone.status, "tao" in gone.stderr) == (1, True)


def test_the_next_model_is_fetched_while_one_is_built(place: Workplace, sim: NgcSimulator) -> None:
    networks.heavy(place.folder / "first.onnx", layers=20)
    networks.conv(place.folder / "second.onnx")
    sim.publish("nvidia/tao/second", "1", {"second.onnx": (place.folder / "second.onnx").read_bytes()})
    place.write(
        {"name": "first", "source": "first.onnx"},
        {"name": "second", "source": "ngc://nvidia/tao/second:1/second.onnx"},
    )
    result = place.run()
    assert result.status == 0
    assert len(sim.fetched) == 1
    assert result.model("second")["licences"] == [
        "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/tao/models/second?version=1"
    ]
    fetched_at = max(path.stat().st_mtime for path in place.cache_dir.glob("downloads/blobs/*"))
    assert fetched_at < (place.models_dir / "first/report.json").stat().st_mtime


def test_terms_are_accepted_by_the_user_alone(place: Workplace, sim: NgcSimulator) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx", "eula": "https://example.com/eula"})
    refused = place.run()
    assert (refused.status, refused.model("net")["error"]["code"]) == (1, "licence-not-accepted")
    assert "https://example.com/eula" in refused.model("net")["error"]["message"]
    accepted = place.run(PREPARE_MODELS_ACCEPT_EULA="1")
    assert (accepted.status, accepted.model("net")["licences"]) == (0, ["https://example.com/eula"])


def test_a_changed_archive_is_a_reason_to_build(place: Workplace) -> None:
    def pack(layers: int) -> None:
        networks.heavy(place.folder / "net.onnx", layers=layers)
        with tarfile.open(place.folder / "nets.tar", "w") as tar:
            tar.add(place.folder / "net.onnx", "inner/net.onnx")

    pack(1)
    place.write({"name": "net", "source": "nets.tar!inner/net.onnx"})
    assert place.run().model("net")["status"] == "built"
    assert place.run().model("net")["status"] == "up-to-date"
    (place.folder / "nets.tar").touch()
    assert place.run().model("net")["status"] == "up-to-date", "its bytes are the same"
    pack(2)
    assert place.run().model("net")["status"] == "built"


@pytest.mark.parametrize(
    ("written", "status", "next_step"),
    [
        (
            "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/tao/models/peoplenet", 1,
            "prepare-models ngc versions nvidia/tao/peoplenet",
        ),
        ("nvidia/tao/peoplenet:pruned_v2.0", 2, "write ngc://nvidia/tao/peoplenet:pruned_v2.0/FILE"),
    ],
)  # fmt: skip
def test_what_readmes_link_leads_on(place: Workplace, written: str, status: int, next_step: str) -> None:
    fetched = place.call("fetch", written, "-o", str(place.folder / "out"))
    assert (fetched.status, next_step in fetched.stderr) == (status, True), fetched.stderr
    place.write({"name": "model", "source": written})
    checked = place.call("check", str(place.manifest), "--executor", "local")
    assert checked.status in (1, 2)
    assert next_step in checked.stdout + checked.stderr
