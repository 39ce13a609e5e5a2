"""Double of NVIDIA's tao-converter, which can't be had here: takes the documented options, refuses all others.

It decrypts with NVIDIA's codec and builds a real engine with TensorRT-RTX. It prints the key, as a careless program
might. Environment: TRT_DOUBLE_ARGV (file that receives the arguments as JSON).
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from trtexec import engine_of  # type: ignore[import-not-found]  # its neighbour, started as a program

OPTIONS = json.loads((Path(__file__).parent / "options.json").read_text(encoding="utf-8"))["tao-converter"]
DIMS = 3


def main(arguments: list[str]) -> int:
    if "TRT_DOUBLE_ARGV" in os.environ:
        Path(os.environ["TRT_DOUBLE_ARGV"]).write_text(json.dumps(arguments), encoding="utf-8")
    values: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in OPTIONS["without"]:
            values[option] = []
        elif option in OPTIONS["with_value"] and rest:
            values.setdefault(option, []).append(rest.pop(0))
        else:
            return failed(f"invalid option {option}")
    if len(rest) != 1 or "-k" not in values:
        return failed("expected -k KEY and one input file")
    if values.get("-t", ["fp32"])[0] not in ("fp32", "fp16", "int8"):
        return failed(f"unknown data type {values['-t'][0]}")
    print(f"key {values['-k'][0]}")
    return convert(Path(rest[0]), values)


def convert(etlt: Path, values: dict[str, list[str]]) -> int:
    from eff_tao_encryption.tao_codec.tao_codec import decrypt_stream

    if values["-t"] == ["int8"] and not Path(values["-c"][0]).is_file():
        return failed("no calibration cache")
    with tempfile.TemporaryDirectory() as folder, etlt.open("rb") as source:
        if struct.unpack("<i", source.read(4))[0]:
            return failed("this double has no UFF parser")
        plain = Path(folder) / "plain.onnx"
        with plain.open("wb") as target:
            decrypt_stream(source, target, values["-k"][0], encryption=True, rewind=False)
        profiles = [profile.split(",") for profile in values.get("-p", [])]
        shapes = {name: [[int(n) for n in dims.split("x")] for dims in rest] for name, *rest in profiles}
        engine = engine_of(str(plain), shapes)
    if engine is None:
        return failed("UffParser: Could not read buffer, please check the encoding key and input file")
    Path(values["-e"][0]).write_bytes(engine)
    return 0


def failed(why: str) -> int:
    print(f"[ERROR] {why}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
