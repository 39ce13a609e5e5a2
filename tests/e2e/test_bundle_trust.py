"""Whom the engines of a bundle serve: its own runs alone, or all, where a trusted key signed them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from prepare_models.store.local import write_record
from tests.command import Workplace

from .bundles import Site, create


def forged(site: Site, folder: Path) -> tuple[Path, str]:
    """Return a bundle whose engine of ``remote`` has bytes of an attacker under a true build key, and their sha256."""
    cache = {"PREPARE_MODELS_CACHE_DIR": str(folder / "attacker")}
    honest = site.place.run("--accept-eula", "--models-dir", str(folder / "theirs"), **cache)
    entry = folder / "attacker" / "engines" / honest.model("remote")["build_key"]
    evil = (entry / "model.plan").read_bytes()[:-1] + b"!"
    record = json.loads((entry / "record.json").read_text())
    record["engine"]["sha256"] = hashlib.sha256(evil).hexdigest()
    (entry / "model.plan").unlink()
    (entry / "model.plan").write_bytes(evil)
    write_record(entry, json.dumps(record).encode())
    bundle = folder / "forged.bundle"
    assert create(site.place, bundle, "--no-wheels", "--engines", **cache).status == 0
    return bundle, record["engine"]["sha256"]


def test_an_unsigned_bundle_serves_its_own_runs_alone(site: Site, tmp_path: Path) -> None:
    bundle, evil = forged(site, tmp_path)
    here = tmp_path / "here"
    assert site.closed(here, "remote", bundle=bundle).model("remote")["engine"]["sha256"] == evil
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    reasons = []
    for models_dir in ("elsewhere", "models"):  # another directory, and the one that has the bundle's engine
        own = site.place.run("--accept-eula", "--locked", "remote", "--models-dir", str(here / models_dir), **cache)
        assert own.status == 0, own.stderr
        assert own.model("remote")["engine"]["sha256"] != evil
        assert own.model("remote")["origin"] is None
        reasons.append(own.model("remote")["reason"])
    assert reasons[-1].endswith("because: the engine came from an unsigned bundle")
    listed = site.place.call("cache", "ls", **cache)
    assert re.search(r"unpacked bundle [0-9a-f]{16}, unsigned", listed.stdout)


def test_an_engine_that_was_put_into_the_store_out_of_an_unsigned_bundle_is_not_delivered(
    site: Site, tmp_path: Path
) -> None:
    bundle, evil = forged(site, tmp_path)
    here = tmp_path / "here"
    theirs = site.closed(here, "remote", bundle=bundle).model("remote")
    assert theirs["engine"]["sha256"] == evil
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    (scope,) = (here / "cache" / "bundles").glob(f"*/cache/engines/{theirs['build_key']}")
    shutil.copytree(scope, here / "cache" / "engines" / scope.name)
    checked = site.place.call("cache", "verify", "--kind", "engine", **cache)
    assert (checked.status, "from an unsigned bundle" in checked.stdout) == (1, True), checked.stdout
    own = site.place.run("--accept-eula", "remote", "--models-dir", str(here / "elsewhere"), **cache)
    assert (own.model("remote")["status"], own.model("remote")["origin"]) == ("built", None)
    assert own.model("remote")["engine"]["sha256"] != evil


def write_key(folder: Path) -> None:
    for command in ("genpkey -algorithm ed25519 -out key.pem", "pkey -in key.pem -pubout -out key.pub"):
        subprocess.run(["openssl", *command.split()], check=True, cwd=folder)


def test_an_engine_of_a_signed_bundle_is_delivered_while_its_signer_is_trusted(site: Site, tmp_path: Path) -> None:
    write_key(tmp_path)
    call, here = site.place.call, tmp_path / "here"
    assert site.place.run("--accept-eula").status == 0
    signed = ("--no-wheels", "--engines", "--sign", str(tmp_path / "key.pem"))
    made = create(site.place, tmp_path / "signed.bundle", *signed)
    assert made.status == 0, made.stderr
    assert call("trust", "add", str(tmp_path / "key.pub")).status == 0
    done = site.closed(here, "remote", "--require-signed", bundle=tmp_path / "signed.bundle")
    assert done.model("remote")["status"] == "restored", done.stderr
    (keyid,) = json.loads(call("trust", "ls", "--json").stdout)["keys"]
    assert done.model("remote")["origin"]["signed_by"] == keyid
    again = ("--accept-eula", "remote", "--models-dir", str(here / "models"))
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    assert site.place.run(*again, **cache).model("remote")["status"] == "up-to-date"
    assert call("cache", "verify", **cache).status == 0
    assert call("trust", "revoke", keyid[:16]).status == 0
    later = site.place.run(*again, **cache).model("remote")
    assert (later["status"], later["origin"]) == ("built", None)
    assert f"by key {keyid[:16]}, which is not trusted here now" in later["reason"]


def test_a_trusted_signature_beside_an_engine_vouches_for_it_too(site: Site, tmp_path: Path) -> None:
    write_key(tmp_path)
    here = tmp_path / "here"
    assert site.closed(here, "remote").status == 0  # of an unsigned bundle
    sign = ("provenance", "sign", str(here / "models" / "remote"), "--key", str(tmp_path / "key.pem"))
    assert site.place.call(*sign).status == 0
    planned = ("--accept-eula", "remote", "--models-dir", str(here / "models"))
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    dry = site.place.run("--dry-run", *planned, **cache)
    assert "from an unsigned bundle" in json.loads(dry.stdout)["models"][0]["reason"]
    assert site.place.call("trust", "add", str(tmp_path / "key.pub")).status == 0
    assert site.place.run(*planned, **cache).model("remote")["status"] == "up-to-date"


def test_a_bundle_says_nothing_about_sources_to_later_runs(site: Site, tmp_path: Path) -> None:
    here = tmp_path / "here"
    assert site.closed(here, "remote").status == 0
    wanted = [{"name": "remote", "source": "ngc://nvidia/tao/net:v1/net.onnx"}]
    own = Workplace(here)
    own.write(*wanted, defaults={"ngc": {"key_file": str(site.place.folder / "ngc.key")}})
    silent = own.run(PREPARE_MODELS_CACHE_DIR=str(here / "cache"), NGC_CLI_API_URL="http://127.0.0.1:9")
    assert silent.model("remote")["error"] is not None, silent.model("remote")
    assert silent.model("remote")["error"]["code"] == "source-unreachable", "the server is asked, not the bundle"
