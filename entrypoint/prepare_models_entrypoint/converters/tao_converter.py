"""tao-converter's command line, for .etlt models that only this program can read (TensorRT 8)."""

from __future__ import annotations

from typing import List, Optional, Sequence

from ..contract.job import ModelJob
from ..contract.shapes import ShapeRange
from ..errors import ConvertError
from .options import check_tao
from .program import MASK


def command(
    model: ModelJob, *, program: str, key: str, etlt: str, engine: str, cache: Optional[str] = None
) -> List[str]:
    """Return the argument vector, in the order of NVIDIA's own examples.

    Args:
        model: the model's settings.
        program: path of tao-converter.
        key: the model's key, or ``MASK`` if the line is shown: -k accepts only the key itself.
        etlt: model file.
        engine: engine file to write.
        cache: calibration cache file, required for int8.

    Raises:
        ConvertError: the manifest asks for something that tao-converter can't do.
    """
    _check(model, cache)
    argv = [program, "-k", key]
    argv += ["-d", ",".join(map(str, model.tao.dims))] if model.tao.dims else []
    for profile in (model.inputs, *model.profiles):
        argv += [part for name, shapes in profile.items() for part in ("-p", _profile(name, shapes))]
    argv += ["-t", model.precision]
    argv += ["-c", cache] if cache else []
    argv += ["-e", engine]
    argv += ["-o", ",".join(model.outputs)] if model.outputs else []
    return [*argv, *_rest(model), etlt]


def _rest(model: ModelJob) -> List[str]:
    options = {
        "-b": model.tao.batch,
        "-m": model.tao.max_batch,
        "-i": model.tao.input_order,
        **{row.option.tao: value for row, value in model.builder.chosen()},
    }
    argv = [part for option, value in options.items() if type(value) in (int, str) for part in (option, str(value))]
    return argv + [option for option, value in options.items() if value is True]


def _check(model: ModelJob, cache: Optional[str]) -> None:
    check_tao(model.builder)
    if model.precision not in ("fp32", "fp16", "int8"):
        raise ConvertError(
            "precision-unavailable", f"tao-converter has no -t {model.precision}", hint="use fp32, fp16 or int8"
        )
    if model.precision == "int8" and cache is None:
        raise ConvertError(
            "calibration-missing",
            "tao-converter -t int8 without -c would calibrate on nothing",
            hint="add calibration_cache: with the file from the model's page",
        )
    values = [shapes for profile in (model.inputs, *model.profiles) for shapes in profile.values() if shapes.values]
    asked = {"keep_fp32": model.keep_fp32, "plugins": model.plugins, "inputs: values": values}
    unused = [name for name, value in asked.items() if value]
    if unused:
        raise ConvertError(
            "builder-option-unavailable",
            f"tao-converter would ignore {', '.join(unused)}",
            hint="remove these lines, or use converter: api",
        )


def _profile(name: str, shapes: ShapeRange) -> str:
    return ",".join([name, *("x".join(map(str, dims)) for dims in (shapes.min, shapes.opt, shapes.max))])


def masked(argv: Sequence[str]) -> List[str]:
    """Return the vector with the key replaced."""
    return [MASK if index and argv[index - 1] == "-k" else argument for index, argument in enumerate(argv)]
