"""Which files belong to an ONNX model, wherever in it they are named; and what is refused."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from prepare_models_entrypoint.contract.digest import combined
from prepare_models_entrypoint.contract.external_data import check, files, locations, resolve, tensors
from prepare_models_entrypoint.contract.external_errors import ExternalDataError, UnreadableError
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.onnx_graph import whole_file
from tests import networks, odd_models

ROUNDS = 400


def outside(name: str, location: str, *, values: int = 4) -> TensorProto:
    """Return a tensor whose values onnx itself says to be in another file."""
    tensor = numpy_helper.from_array(np.arange(values, dtype=np.float32), name)
    external_data_helper.set_external_data(tensor, location, offset=0, length=4 * values)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def constant(name: str, location: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=outside(name, location))


def everywhere() -> tuple[onnx.ModelProto, list[str]]:
    """Return a model that names files in every place that ONNX has for tensors, and the files."""
    names = [
        "initializer", "sparse-values", "sparse-indices", "attribute", "attribute-list", "sparse-attribute",
        "subgraph", "subgraph-list", "function", "function-default", "training",
    ]  # fmt: skip
    f = {name: f"{name}.bin" for name in names}
    inner = odd_models.graph_of([constant("c", f["subgraph"])], [], [odd_models.value("c")])
    listed = odd_models.graph_of([], [], [], initializer=[outside("l", f["subgraph-list"])])
    nodes = [
        constant("a", f["attribute"]),
        helper.make_node("Own", ["x"], ["b"], domain="own", many=[outside("m", f["attribute-list"])]),
        helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner),
        helper.make_node("Own", ["x"], ["e"], domain="own", graphs=[listed]),
    ]
    sparse = onnx.SparseTensorProto(
        values=outside("sv", f["sparse-values"]), indices=outside("si", f["sparse-indices"]), dims=[9]
    )
    own = onnx.AttributeProto(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    own.sparse_tensor.values.CopyFrom(outside("sa", f["sparse-attribute"]))
    nodes[1].attribute.append(own)
    graph = odd_models.graph_of(
        nodes, [odd_models.value("x")], [odd_models.value("a")],
        initializer=[outside("w", f["initializer"])], sparse_initializer=[sparse],
    )  # fmt: skip
    model = odd_models.model_of(graph)
    function = helper.make_function("own", "F", [], ["y"], [constant("y", f["function"])], [])
    default = onnx.AttributeProto(name="p", type=onnx.AttributeProto.TENSOR, t=outside("p", f["function-default"]))
    function.attribute_proto.append(default)
    model.functions.append(function)
    training = odd_models.graph_of([], [], [], initializer=[outside("t", f["training"])])
    model.training_info.add().initialization.CopyFrom(training)
    return model, list(f.values())


def external(path: Path, location: str, seed: int = 0) -> Path:
    """Write a model with onnx, its weights in ``location``."""
    model = onnx.load(networks.heavy(path.with_name("plain.onnx"), layers=2))
    for tensor in model.graph.initializer:
        values = np.random.default_rng(seed).random(numpy_helper.to_array(tensor).shape, np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    (path.parent / location).unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def named(path: Path, location: str) -> Path:
    """Write a model that names a file which is not written."""
    model = odd_models.identity()
    model.graph.initializer.append(outside("w", location))
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_in_one_file_has_none(tmp_path: Path) -> None:
    assert files(networks.conv(tmp_path / "model.onnx")) == ()
    assert combined(()) is None


@pytest.mark.parametrize("length", [1, 100, 127, 128, 129, 200, 255])
@pytest.mark.parametrize("suffix", [".onnx", ".ONNX", ".bin", ""])
def test_every_length_of_a_name_and_every_suffix_of_a_model(tmp_path: Path, length: int, suffix: str) -> None:
    model = external(tmp_path / f"model{suffix}", "w" * length)
    assert files(model) == (tmp_path / ("w" * length),)
    before = combined(map(sha256_file, files(model)))
    external(model, "w" * length, seed=1)
    assert combined(map(sha256_file, files(model))) != before


def test_a_long_path_of_folders(tmp_path: Path) -> None:
    location = "/".join(["d" * 100] * 3 + ["w.bin"])
    model = external(tmp_path / "model.onnx", location)
    assert files(model) == (tmp_path / location,)
    assert check(model) == 2 * 512 * 512 * 4


def test_one_file_for_each_tensor_in_the_order_of_the_model(tmp_path: Path) -> None:
    model = onnx.load(networks.heavy(tmp_path / "plain.onnx", layers=3))
    onnx.save(
        model, tmp_path / "many.onnx", save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0
    )
    assert [file.name for file in files(tmp_path / "many.onnx")] == ["w0", "w1", "w2"]


def test_every_place_for_a_tensor(tmp_path: Path) -> None:
    model, expected = everywhere()
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert sorted(locations(tmp_path / "model.onnx")) == sorted(expected)
    assert sorted({tensor.location for tensor in tensors(tmp_path / "model.onnx")}) == sorted(expected)
    for name in expected:
        (tmp_path / name).write_bytes(bytes(16))
    assert check(tmp_path / "model.onnx") == 16 * 12, "the then and the else branch have a tensor each"


def test_entries_of_a_tensor_whose_values_are_in_the_model_do_not_count(tmp_path: Path) -> None:
    model = odd_models.identity()
    model.graph.initializer.append(outside("w", "absent.bin"))
    model.graph.initializer[0].raw_data = bytes(16)
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert files(tmp_path / "model.onnx") == ()


def test_a_cache_that_links_models_and_weights_into_one_directory(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots/0123"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    external(tmp_path / "model.onnx", "model.onnx_data")
    for name, blob in (("model.onnx", "aaaa"), ("model.onnx_data", "bbbb")):
        (tmp_path / name).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    assert files(snapshot / "model.onnx") == (snapshot / "model.onnx_data",)
    assert resolve(snapshot / "model.onnx", "model.onnx_data") == (blobs / "bbbb").resolve()
    assert check(snapshot / "model.onnx") == 2 * 512 * 512 * 4


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("../secret", "is outside"),
        ("sub/../../secret", "is outside"),
        ("ABSOLUTE", "is outside"),
        ("", "is outside"),
        (".", "is outside"),
        ("a\0b", "is outside"),
        ("absent.bin", "can't be found"),
        ("link", "leads out"),
        ("linked/secret", "leads out"),
        ("device", "leads out"),
        ("pipe", "not a regular file"),
        ("folder", "not a regular file"),
        ("loop", "can't be read"),
        ("file/w.bin", "can't be read"),
        ("n" * 300, "can't be read"),
    ],
)
def test_what_a_model_may_not_have_is_refused(tmp_path: Path, location: str, why: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "models"
    (folder / "folder").mkdir(parents=True)
    (folder / "link").symlink_to("../secret")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "device").symlink_to("/dev/zero")
    (folder / "loop").symlink_to("loop")
    (folder / "file").touch()
    os.mkfifo(folder / "pipe")
    model = named(folder / "model.onnx", str(tmp_path / "secret") if location == "ABSOLUTE" else location)
    for look in (files, check):
        with pytest.raises(ExternalDataError, match=why):
            look(model)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"offset": "-1"}, "offset"),
        ({"offset": "1e3"}, "offset"),
        ({"length": "9" * 5000}, "length"),
        ({"length": ""}, "length"),
        ({"length": "15"}, "take 16"),
        ({"offset": "1"}, "has 16 bytes"),
        ({"offset": "9" * 18}, "has 16 bytes"),
    ],
)
def test_offsets_and_lengths_that_do_not_fit_are_refused(tmp_path: Path, entries: dict[str, str], why: str) -> None:
    model = odd_models.identity()
    tensor = outside("w", "w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(16))
    for entry in tensor.external_data:
        entry.value = entries.pop(entry.key, entry.value)
    model.graph.initializer.append(tensor)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExternalDataError, match=why):
        check(tmp_path / "model.onnx")


def test_a_tensor_without_a_length_takes_what_its_shape_needs(tmp_path: Path) -> None:
    model = odd_models.identity()
    tensor = outside("w", "w.bin")
    del tensor.external_data[1:]
    model.graph.initializer.append(tensor)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "w.bin").write_bytes(bytes(15))
    with pytest.raises(ExternalDataError, match="needs 16"):
        check(tmp_path / "model.onnx")


def hostile() -> dict[str, bytes]:
    model = odd_models.identity()
    model.graph.initializer.append(outside("w", "absent.bin"))
    two_names = odd_models.identity()
    two_names.graph.initializer.append(outside("w", "absent.bin"))
    two_names.graph.initializer[0].external_data.add(key="location", value="other.bin")
    no_name = odd_models.identity()
    no_name.graph.initializer.append(outside("location", "absent.bin"))
    del no_name.graph.initializer[0].external_data[:]
    split = outside("w", "absent.bin")
    halves = [TensorProto(data_location=TensorProto.EXTERNAL), TensorProto(external_data=split.external_data)]
    attribute = b"".join(odd_models.field(5, half.SerializeToString()) for half in halves)
    node = odd_models.field(1, odd_models.field(5, attribute))
    good = model.SerializeToString()
    return {
        "two graphs": good + good,
        "two names": two_names.SerializeToString(),
        "no name": no_name.SerializeToString(),
        "not text": good.replace(b"absent.bin", b"\xff\xfeabsent.."),
        "a tensor in two halves": b"\x08\x08" + odd_models.field(7, node),
        "a length beyond its message": good.replace(b"\x12\x0aabsent", b"\x12\x7fabsent"),
        "deep": odd_models.deep(60).replace(b"then_branch", b"location..."),
        "many": b"\x08\x08" + odd_models.field(7, b"\x0a\x00" * 2_100_000),
    }  # fmt: skip


@pytest.mark.parametrize("kind", hostile())
def test_a_hostile_structure_is_refused_and_not_walked_for_ever(tmp_path: Path, kind: str) -> None:
    (tmp_path / "model.onnx").write_bytes(hostile()[kind])
    with pytest.raises(UnreadableError, match=r"model\.onnx can't be read"):
        files(tmp_path / "model.onnx")


def test_a_damaged_model_gives_its_files_or_an_error(tmp_path: Path) -> None:
    """Whatever a flipped byte does: as protobuf reads the file, so it is read here, or it is refused."""
    data, chance = everywhere()[0].SerializeToString(), random.Random(3)
    flipped = [(chance.randrange(len(data)), chance.randrange(256)) for _ in range(ROUNDS)]
    damaged = [data[:at] + bytes([byte]) + data[at + 1 :] for at, byte in flipped]
    file = tmp_path / "model.onnx"
    for content in damaged + [data[:size] for size in range(0, len(data), 3)]:
        file.write_bytes(content)
        try:
            found = set(locations(file))
        except UnreadableError:
            continue
        is_refused = whole_file.verdict(file) != whole_file.WHOLE  # by every command that reads models
        assert is_refused or _as_protobuf_reads(content) in (found, None)


def _as_protobuf_reads(data: bytes) -> set[str] | None:
    """Return the files of all tensors in a message that protobuf parses; None where it refuses the model."""
    try:
        messages = [onnx.ModelProto.FromString(data)]
    except DecodeError:
        return None
    found = set()
    while messages:
        message = messages.pop()
        if isinstance(message, TensorProto) and external_data_helper.uses_external_data(message):
            found |= {entry.value for entry in message.external_data if entry.key == "location"}
        for field, content in message.ListFields():
            if field.message_type is not None:
                messages += [content] if hasattr(content, "ListFields") else content
    return found


def test_other_and_empty_files_have_none_and_pipes_do_not_hang(tmp_path: Path) -> None:
    (tmp_path / "model.etlt").write_bytes(b"\0\0\0\0" + b"\x0a\x08location\x12\x01a" * 9)
    (tmp_path / "model.onnx").touch()
    assert files(tmp_path / "model.etlt") == files(tmp_path / "model.onnx") == ()
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(OSError, match="Not a regular file"):
        files(tmp_path / "pipe.onnx")
