# /// script
# requires-python = ">=3.11"
# dependencies = ["onnxruntime", "numpy"]
# ///
"""Measure the quickstart model with onnxruntime on synthetic images that training never saw.

Run `python evaluate.py --model model.onnx`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime

# isort: split
from synthetic import synthetic_batch

HEIGHT, WIDTH = 544, 960
HELD_OUT_SEED = 1_000_000  # training uses seeds from 0 up, one per step


def main() -> None:
    """Print the pixel accuracy, the IoU of each class over all images, and the time of one inference."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path("model.onnx"))
    parser.add_argument("--count", type=int, default=200, help="number of images")
    options = parser.parse_args()
    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    confusion, seconds = np.zeros((2, 2), np.int64), []
    for index in range(options.count):
        images, masks = synthetic_batch(1, HEIGHT, WIDTH, HELD_OUT_SEED + index)
        start = time.perf_counter()
        (labels,) = session.run(["argmax_1"], {"input_2:0": images})
        seconds.append(time.perf_counter() - start)
        confusion += np.bincount((2 * masks + labels[..., 0]).ravel(), minlength=4).reshape(2, 2)
    hits = np.diag(confusion)
    background, person = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    print(f"{options.count} images of {HEIGHT}x{WIDTH}: pixel accuracy {hits.sum() / confusion.sum():.4f}")
    print(f"IoU: background {background:.4f}, person {person:.4f}, mean {(background + person) / 2:.4f}")
    print(f"inference: median {1000 * np.median(seconds):.0f} ms")


if __name__ == "__main__":
    main()
