# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.13.0", "onnx", "numpy"]
# ///
"""Train the quickstart people segmentation network on synthetic images and write it as an ONNX model.

Run `python train.py --output model.onnx`. A CPU with two cores is enough, and the same seed gives the same images.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# isort: split
from synthetic import synthetic_batch

if TYPE_CHECKING:
    import onnx
    import torch

HEIGHT, WIDTH, SHRINK = 544, 960, 2  # the model averages its input over 2x2 pixels before the first convolution
INPUT_NAME, OUTPUT_NAME = "input_2:0", "argmax_1"
OPSET, IR_VERSION = 17, 8

Weights = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


class Layer(NamedTuple):
    """A convolution with batch norm and ReLU; with `skip`, its input is doubled in size and joined to that layer."""

    name: str
    channels: int
    stride: int = 1
    dilation: int = 1
    skip: str = ""


LAYERS = (
    Layer("encoder_1", 16, stride=2),
    Layer("encoder_2", 16, stride=2),
    Layer("encoder_3", 24, stride=2),
    Layer("encoder_3_refine", 24),
    Layer("encoder_4", 40, stride=2),
    Layer("context_1", 40, dilation=2),
    Layer("context_2", 40, dilation=4),
    Layer("decoder_3", 24, skip="encoder_3_refine"),
    Layer("decoder_2", 16, skip="encoder_2"),
    Layer("decoder_1", 16, skip="encoder_1"),
)


def build_network() -> torch.nn.ModuleDict:
    """Return the trainable layers by name, with `logits` (two channels: background, person) as the last."""
    from torch import nn

    widths = {layer.name: layer.channels for layer in LAYERS}
    network, channels = nn.ModuleDict(), 3
    for layer in LAYERS:
        channels += widths.get(layer.skip, 0)
        conv = nn.Conv2d(
            channels, layer.channels, 3, layer.stride, padding=layer.dilation, dilation=layer.dilation, bias=False
        )
        network[layer.name] = nn.Sequential(conv, nn.BatchNorm2d(layer.channels))
        channels = layer.channels
    network["logits"] = nn.Conv2d(channels, 2, 3, padding=1)
    return network


def forward(network: torch.nn.ModuleDict, images: torch.Tensor, shrink: int) -> torch.Tensor:
    """Map images (n, 3, height, width) in [0, 1] to logits (n, 2, height, width).

    The layers see the images `shrink` times smaller in height and width, which must leave multiples of 16.
    """
    import torch
    from torch.nn import functional

    outputs: dict[str, torch.Tensor] = {}
    features = functional.avg_pool2d(images, shrink)
    for layer in LAYERS:
        if layer.skip:
            features = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = torch.cat([features, outputs[layer.skip]], 1)
        features = outputs[layer.name] = functional.relu(network[layer.name](features))
    logits: torch.Tensor = network["logits"](features)
    return functional.interpolate(logits, scale_factor=2 * shrink, mode="bilinear", align_corners=False)


def _loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus the soft Dice loss of the person class; logits (n, 2, h, w), masks (n, h, w)."""
    from torch.nn import functional

    person = logits.softmax(1)[:, 1]
    dice = 1 - (2 * (person * masks).sum() + 1) / (person.sum() + masks.sum() + 1)
    return functional.cross_entropy(logits, masks) + dice


def train(network: torch.nn.ModuleDict, steps: int, fine_steps: int, seed: int) -> None:
    """Train on images of half size (4 per step, 272x480), then for `fine_steps` on full size (4 per step, 544x960)."""
    import torch

    total = steps + fine_steps
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / total)) / 2
    )
    network.train()
    for step in range(total):
        count, shrink = (4, 1) if step < steps else (4, SHRINK)
        images, masks = synthetic_batch(count, HEIGHT * shrink // SHRINK, WIDTH * shrink // SHRINK, seed + step)
        inputs = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        loss = _loss(forward(network, inputs, shrink), torch.from_numpy(masks).long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        optimizer.step()
        schedule.step()
        if step % 25 == 0 or step == total - 1:
            print(f"step {step:4d} of {total}: loss {loss.item():.4f}", flush=True)


def folded_weights(network: Any) -> Weights:
    """Return each layer's kernel (out, in, 3, 3) and bias (out,), with the batch norm folded into them."""
    folded: Weights = {}
    for layer in LAYERS:
        conv, norm = network[layer.name]
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        folded[layer.name] = (kernel.detach().contiguous().numpy(), bias.detach().numpy())
    logits = network["logits"]
    folded["logits"] = (logits.weight.detach().contiguous().numpy(), logits.bias.detach().numpy())
    return folded


class GraphWriter:
    """Collects the nodes and constants of an ONNX graph; each node has the name of its output tensor."""

    def __init__(self) -> None:
        """Start without nodes."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Embed a constant and return its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name: str, source: str, weights: Weights, stride: int = 1, dilation: int = 1) -> str:
        """Add a 3x3 convolution that keeps the size at stride 1, and return the name of its output."""
        kernel, bias = (
            self.constant(f"{name}/{part}", value)
            for part, value in zip(("kernel", "bias"), weights[name], strict=True)
        )
        return self.add(
            "Conv", f"{name}/conv", [source, kernel, bias], kernel_shape=[3, 3], strides=[stride] * 2,
            dilations=[dilation] * 2, pads=[dilation] * 4,
        )  # fmt: skip


def export_model(weights: Weights) -> onnx.ModelProto:
    """Write the graph: `input_2:0` float32 (1, 3, 544, 960) in [0, 1] to `argmax_1` int32 (1, 544, 960, 1)."""
    import onnx
    from onnx import TensorProto, helper

    graph = GraphWriter()
    double = graph.constant("double_size", np.array([1, 1, 2, 2], np.float32))
    full = graph.constant("full_size", np.array([1, 1, 2 * SHRINK, 2 * SHRINK], np.float32))
    pool = {"kernel_shape": [SHRINK] * 2, "strides": [SHRINK] * 2}
    features = graph.add("AveragePool", "input/shrink", [INPUT_NAME], **pool)
    for layer in LAYERS:
        if layer.skip:
            larger = graph.add("Resize", f"{layer.name}/upsample", [features, "", double], mode="nearest",
                               coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
            features = graph.add("Concat", f"{layer.name}/concat", [larger, f"{layer.skip}/relu"], axis=1)
        features = graph.conv(layer.name, features, weights, layer.stride, layer.dilation)
        features = graph.add("Relu", f"{layer.name}/relu", [features])
    logits = graph.conv("logits", features, weights)
    logits = graph.add("Resize", "logits/upsample", [logits, "", full], mode="linear",
                       coordinate_transformation_mode="half_pixel")  # fmt: skip
    logits = graph.add("Transpose", "logits/nhwc", [logits], perm=[0, 2, 3, 1])
    labels = graph.add("ArgMax", "labels/argmax", [logits], axis=3, keepdims=1)
    graph.add("Cast", OUTPUT_NAME, [labels], to=TensorProto.INT32)
    source = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    result = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.INT32, [1, HEIGHT, WIDTH, 1])
    body = helper.make_graph(graph.nodes, "quickstart_people_segmentation", [source], [result], graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "quickstart"
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Train from a seed and write the model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=Path("model.onnx"))
    parser.add_argument("--steps", type=int, default=1000, help="training steps on images of half size")
    parser.add_argument("--fine-steps", type=int, default=40, help="training steps on images of full size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    network = build_network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no types for it
    start = time.monotonic()
    train(network, options.steps, options.fine_steps, options.seed)
    network.eval()
    data = export_model(folded_weights(network)).SerializeToString()
    options.output.write_bytes(data)
    print(f"trained in {time.monotonic() - start:.0f} s, wrote {len(data)} bytes")


if __name__ == "__main__":
    main()
