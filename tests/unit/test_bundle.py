"""The form of a bundle: whatever byte of it changes, and however it ends, is found before anything is used."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prepare_models.bundle import archive
from prepare_models.bundle.contents import Contents, spool
from prepare_models.bundle.create import Order, create
from prepare_models.bundle.index import BundledModel, Index, ModelFile, Named, parse
from prepare_models.bundle.unpack import read_index, unpack, verify
from prepare_models.docker.tar_streams import END, header
from prepare_models.errors import BundleError, HostError, ManifestError
from prepare_models.lock.document import Lock, LockedFile, path_of, write
from prepare_models.lock.make import make as make_lock
from prepare_models.manifest.load import load

MODEL = random.Random(7).randbytes(1500)
MANIFEST = b"version: 1\nmodels:\n- {name: net, source: net.onnx}\n"
Change = Callable[[Index], Index]


def silent(done: int, total: int) -> None:
    assert done <= total


def make(target: Path, *, change: Change = lambda index: index, manifest: bytes = MANIFEST) -> Index:
    """Write a small bundle with one model that zstd can't make smaller and one that it can."""
    with spool(target) as folder:
        contents = Contents(folder, {})
        digest, other = contents.add_bytes(MODEL), contents.add_bytes(bytes(5000))
        lock = Lock({"net": (LockedFile("model", "net.onnx", digest, len(MODEL)),)})
        index = Index(
            tool="0",
            manifest=Named("models.yaml", contents.add_bytes(manifest)),
            lock=Named("models.lock", contents.add_bytes(lock.to_json().encode())),
            models=(BundledModel("net", (ModelFile("model", "net/model/net.onnx", digest),)),),
            timing=(Named("a.cache", other),),
        )
        index = change(replace(index, contents=contents.index))
        contents.write(index, target, silent)
    return index


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make(tmp_path / "site.bundle")
    return tmp_path / "site.bundle"


def problem(data: bytes | bytearray) -> str:
    """Return the code with which a bundle is refused, or nothing."""
    try:
        for _ in archive.Reader(io.BytesIO(data)).walk(lambda _: None):
            pass
    except BundleError as error:
        return error.code
    return ""


def test_every_flipped_byte_is_found(bundle: Path) -> None:
    data = bundle.read_bytes()
    assert problem(data) == ""
    bits = random.Random(1)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bits.randrange(8)
        assert problem(damaged) == "bundle-damaged", f"byte {place} of {len(data)}"


def test_every_other_end_is_found(bundle: Path) -> None:
    data = bundle.read_bytes()
    for size in range(0, len(data), 37):
        assert problem(data[:size]) == "bundle-damaged", size
    for more in (b"\0", bytes(10240), data):
        assert problem(data + more) == "bundle-damaged"


def test_nothing_of_a_damaged_bundle_is_used(bundle: Path) -> None:
    data = bundle.read_bytes()
    cache = Path(os.environ["PREPARE_MODELS_CACHE_DIR"])
    for place in [*random.Random(2).sample(range(len(data)), 20), len(data) - 1]:
        bundle.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        with pytest.raises(BundleError):
            unpack(bundle, (), None, silent, lambda _: False)
        assert [file for file in cache.rglob("*") if file.is_file()] == [], place
    bundle.write_bytes(data)
    (model,) = unpack(bundle, (), None, silent, lambda _: False).manifest.models
    source = Path(model.source)
    before = source.stat().st_ino
    assert source.read_bytes() == MODEL
    unpack(bundle, (), None, silent, lambda _: False)
    assert source.stat().st_ino == before  # another run may be reading it
    source.chmod(0o644)
    source.write_bytes(b"written by somebody")
    unpack(bundle, (), None, silent, lambda _: False)
    assert source.read_bytes() == MODEL
    (timing,) = cache.glob("bundles/*/cache/timing/a.cache")  # serves runs of this bundle alone
    assert timing.read_bytes() == bytes(5000)
    assert not (cache / "timing").exists()


def test_names_may_be_others_where_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "site.bundle"
    make(bundle, manifest=b'version: 1\nmodels:\n- {name: "net-${SITE}", source: "${PLACE}/net.onnx"}\n')
    monkeypatch.setenv("PLACE", "/nowhere")
    monkeypatch.setenv("SITE", "b")
    (model,) = unpack(bundle, (), None, silent, lambda _: False).manifest.models
    assert model.name == "net-b"
    assert Path(model.source).read_bytes() == MODEL
    monkeypatch.delenv("SITE")
    with pytest.raises(ManifestError, match="SITE"):
        unpack(bundle, (), None, silent, lambda _: False)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (b'source: "catalog:peoplesemsegnet-shuffleseg-etlt", precision: "${X}"', "calibration cache ngc://"),
        (b'source: "https://example.com/${X}.onnx", calibration_cache: "${X}"', "calibration cache .*/int8"),
    ],
)
def test_files_that_only_the_manifest_here_names_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: bytes, told: str
) -> None:
    monkeypatch.setenv("X", "int8")
    make(tmp_path / "site.bundle", manifest=b"version: 1\nmodels:\n- {name: net, " + entry + b"}\n")
    with pytest.raises(BundleError, match=rf"net: {told}.* is not in the bundle"):
        unpack(tmp_path / "site.bundle", (), None, silent, lambda _: False)


def test_any_tar_program_reads_it(bundle: Path) -> None:
    index = read_index(bundle)
    with tarfile.open(bundle) as tar:
        names = tar.getnames()
        assert names == [f"index-{index.digest}.json", *(content.name for content in index.contents)]
        first = tar.extractfile(names[0])
        assert first is not None
        assert json.load(first)["manifest"]["name"] == "models.yaml"
    assert any(name.endswith(".zst") for name in names)


@pytest.mark.parametrize("size", [0, 511, 512, 5 << 30, 9 << 30, 3 << 40])
def test_a_member_may_be_of_any_size(size: int) -> None:
    head = header("content/" + "0" * 64, size)
    with tarfile.open(fileobj=io.BytesIO(head + END)) as tar:
        entry = tar.next()
    assert entry is not None
    assert (entry.size, len(head) % 512) == (size, 0)


def leading(index: Index, path: str) -> tuple[BundledModel, ...]:
    return (BundledModel("net", (ModelFile("model", path, index.contents[0].sha256),)),)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: replace(index, models=leading(index, "../../escape")),
        lambda index: replace(index, models=leading(index, "/etc/escape")),
        lambda index: replace(index, models=leading(index, "a//b")),
        lambda index: replace(index, timing=(Named("../escape", index.contents[0].sha256),)),
        lambda index: replace(index, manifest=Named("..", index.manifest.sha256)),
    ],
)
def test_an_index_leads_nowhere_else(tmp_path: Path, change: Change) -> None:
    bundle = tmp_path / "bad.bundle"
    make(bundle, change=change)
    with pytest.raises(BundleError) as caught:
        unpack(bundle, (), None, silent, lambda _: False)
    assert caught.value.code == "bundle-damaged"
    assert not list(tmp_path.rglob("escape*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda index: replace(index, models={"net": (ModelFile("model", "a", "0" * 64),)}),
        lambda index: replace(index, wheels=(Named("a.whl", "../escape"),)),
        lambda index: replace(index, contents=(*index.contents, replace(index.contents[0], sha256="../escape"))),
    ],
)
def test_a_digest_is_one_of_a_content(bundle: Path, change: Change) -> None:
    with pytest.raises(BundleError) as caught:
        parse(change(read_index(bundle)).to_bytes())
    assert caught.value.code == "bundle-damaged"


def test_a_newer_bundle_names_its_version(bundle: Path) -> None:
    newer = read_index(bundle).to_bytes().replace(b'"version": 1', b'"version": 2')
    with pytest.raises(BundleError, match="version 2"):
        parse(newer)


def test_what_zstd_made_very_small_is_unpacked_in_pieces(tmp_path: Path) -> None:
    target, sizes = tmp_path / "zeros.bundle", [0]
    with spool(target) as folder:
        contents = Contents(folder, {})
        pattern = (os.urandom(4096) + bytes((1 << 20) - 4096) for _ in range(64))
        zeros = Named("zeros", contents.add_stream(pattern))
        contents.write(Index("0", zeros, zeros, (), contents=contents.index), target, silent)
    assert target.stat().st_size < 1 << 20
    with target.open("rb") as stream:
        for _ in archive.Reader(stream).walk(lambda _: lambda piece: sizes.append(len(piece))):
            pass
    assert (sum(sizes), max(sizes)) == (64 << 20, 1 << 20)


def test_parts_of_a_bundle_are_named_as_such(tmp_path: Path, bundle: Path) -> None:
    bundle.rename(tmp_path / "site.bundle.aa")
    with pytest.raises(BundleError, match=r"site.bundle doesn't exist") as told:
        verify(bundle, (), None, silent)
    subprocess.run(told.value.hint.partition(": ")[2], shell=True, check=True)  # the hint, to the letter
    verify(bundle, (), None, silent)
    with pytest.raises(BundleError, match="is a directory"):
        verify(tmp_path, (), None, silent)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "site.bundle"

    def fail(index: Index) -> Index:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        make(target, change=fail)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".site.bundle.x.spool.prepare-models-partial").mkdir()  # of a process that was killed
    (tmp_path / ".site.bundle.x.prepare-models-partial").write_bytes(b"half")
    make(target)
    assert [file.name for file in tmp_path.iterdir()] == ["site.bundle"]


def test_a_link_to_where_bundles_are_kept_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "site.bundle"
    link.symlink_to(tmp_path / "disk/site.bundle")
    make(link)
    assert link.is_symlink()
    verify(tmp_path / "disk/site.bundle", (), None, silent)


def test_a_full_disk_is_told_before_anything_is_unpacked(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prepare_models.bundle.contents._SPARE", 1 << 60)
    with pytest.raises(HostError, match="unpacks to"):
        unpack(bundle, (), None, silent, lambda _: False)


def test_everything_that_a_model_names_is_carried(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for number, name in enumerate(("net.onnx", "lib.so", "cal/a.png", "cal/b.jpg", "ver/c.png", "arrays.npz")):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(bytes([number]) * 100)
    library = hashlib.sha256((site / "lib.so").read_bytes()).hexdigest()
    file = site / "models.yaml"
    file.write_text(
        "version: 1\nmodels:\n"
        f"- {{name: a, source: net.onnx, plugins: [{{file: lib.so, sha256: {library}}}], calibration: {{images: cal}},"
        " verify: {images: ver}}\n- {name: b, source: net.onnx, verify: {npz: arrays.npz}}\n"
    )
    made = make_lock(load(file), Lock(), update=(), accept_eula=False, on_event=lambda _: None)
    write(path_of(file), made)
    create(
        Order(manifest=file, target=tmp_path / "a.bundle"),
        on_event=lambda _: None,
        on_measured=lambda _: None,
        on_written=silent,
    )
    shutil.rmtree(site)
    first, second = unpack(tmp_path / "a.bundle", (), None, silent, lambda _: False).manifest.models
    assert first.calibration is not None
    assert first.verify is not None
    assert first.verify.images is not None
    assert second.verify is not None
    here = [first.source, first.plugins[0].file, second.verify.npz or ""]
    here += [str(sample) for sample in (*first.calibration.samples(), *first.verify.images.samples())]
    assert [Path(path).read_bytes()[0] for path in here] == [0, 1, 5, 2, 3, 4]
    assert [first.sha256, second.sha256] == [made.models[name][0].sha256 for name in "ab"]
