"""Generated networks, with a place whose values overflow float16 or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from tests import networks

WIDTH = 32
KINDS = ("square", "scale", "exp", "pow", "matmul")


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Any] = {}

    def weight(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values, np.float32)
        return name

    def node(self, operator: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"layer_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def layer(self, hidden: str) -> str:
        weights = self.random.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)
        hidden = self.node("MatMul", [hidden, self.weight(weights)])
        operator = str(self.random.choice(["Relu", "Sigmoid", "Tanh", "Elu"]))
        return self.node(operator, [hidden])

    def place(self, hidden: str, kind: str, *, overflows: bool) -> str:
        """Add what goes out of float16 and comes back, or the same within it."""
        positive = self.node("Add", [self.node("Abs", [hidden]), self.weight(0.5)])
        if kind == "square":
            large = self.node("Mul", [positive, self.weight(400.0 if overflows else 4.0)], "planted_first")
            squares = self.node("Mul", [large, large], "planted_square")
            total = self.node("ReduceSum", [squares], "planted_sum", keepdims=1)
            return self.node("Div", [large, self.node("Sqrt", [total], "planted_sqrt")])
        if kind == "scale":
            first = self.node("Mul", [positive, self.weight(2000.0 if overflows else 20.0)], "planted_first")
            second = self.node("Mul", [first, self.weight(200.0)], "planted_second")
            back = self.node("Mul", [second, self.weight(0.005)], "planted_back")
            return self.node("Mul", [back, self.weight(0.0005 if overflows else 0.05)])
        if kind == "exp":
            scaled = self.node("Mul", [positive, self.weight(25.0 if overflows else 2.0)])
            return self.node("Log", [self.node("Exp", [scaled], "planted_exp")], "planted_log")
        if kind == "pow":
            scaled = self.node("Mul", [positive, self.weight(40.0 if overflows else 4.0)])
            return self.node("Pow", [self.node("Pow", [scaled, self.weight(4.0)], "planted_pow"), self.weight(0.25)])
        weights = self.random.uniform(0.5, 1.0, (WIDTH, WIDTH)) * (8000.0 if overflows else 8.0)
        return self.node("Mul", [self.node("MatMul", [positive, self.weight(weights)], "planted_matmul"),
                                 self.weight(0.0005 if overflows else 0.05)], "planted_back")  # fmt: skip


def network(path: Path, seed: int, *, overflows: bool) -> Path:
    """A network of some layers with one such place: ``x`` (1, 32) -> ``y``. Nodes of the place are named planted_*."""
    maker = _Maker(seed)
    hidden = "x"
    for _ in range(1 + seed % 3):
        hidden = maker.layer(hidden)
    hidden = maker.place(hidden, KINDS[seed % len(KINDS)], overflows=overflows)
    for _ in range(1 + seed % 2):
        hidden = maker.layer(hidden)
    maker.nodes.append(helper.make_node("Identity", [hidden], ["y"], name="out"))
    value = (TensorProto.FLOAT, (1, WIDTH))
    return networks.save(path, maker.nodes, [("x", *value)], [("y", *value)], maker.weights)


def cancelling_norm(path: Path, mean: float) -> Path:
    """A layer normalization as E[x^2] - E[x]^2 of values around ``mean``: ``x`` (4, 64) -> ``y``."""
    random = np.random.default_rng(0)
    make = helper.make_node
    nodes = [
        make("MatMul", ["x", "w1"], ["h0"], name="first"),
        make("Add", ["h0", "mean"], ["h"], name="bias"),
        make("ReduceMean", ["h"], ["mu"], axes=[-1], name="average"),
        make("Mul", ["h", "h"], ["squares"], name="square"),
        make("ReduceMean", ["squares"], ["mean_square"], axes=[-1], name="average_square"),
        make("Mul", ["mu", "mu"], ["square_mean"], name="square_average"),
        make("Sub", ["mean_square", "square_mean"], ["variance"], name="cancel"),
        make("Add", ["variance", "epsilon"], ["positive"], name="epsilon_added"),
        make("Sqrt", ["positive"], ["deviation"], name="root"),
        make("Sub", ["h", "mu"], ["centred"], name="centre"),
        make("Div", ["centred", "deviation"], ["normal"], name="divide"),
        make("MatMul", ["normal", "w2"], ["y"], name="last"),
    ]
    weights = {
        "w1": random.standard_normal((64, 64)) * 0.1, "w2": random.standard_normal((64, 16)) * 0.1,
        "mean": np.full(64, mean), "epsilon": np.array(1e-3),
    }  # fmt: skip
    arrays = {name: np.asarray(values, np.float32) for name, values in weights.items()}
    return networks.save(path, nodes, [("x", TensorProto.FLOAT, (4, 64))], [("y", TensorProto.FLOAT, (4, 16))], arrays)


def log_mel(path: Path) -> Path:
    """Power, mel filters and logarithm of a signal, then a convolution: ``x`` (1, 1, 8000) -> ``y``."""
    random = np.random.default_rng(0)
    time, frequency = np.arange(400), np.arange(201)[:, None]
    window = np.hanning(400)
    bank = np.abs(random.standard_normal((40, 201))) * (random.random((40, 201)) < 0.05) + 1e-3
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "cosines"], ["re"], name="real", strides=[160]),
        make("Conv", ["x", "sines"], ["im"], name="imaginary", strides=[160]),
        make("Mul", ["re", "re"], ["re2"], name="real_square"),
        make("Mul", ["im", "im"], ["im2"], name="imaginary_square"),
        make("Add", ["re2", "im2"], ["power"], name="power"),
        make("MatMul", ["bank", "power"], ["mel"], name="mel"),
        make("Log", ["mel"], ["log"], name="log"),
        make("Conv", ["log", "kernel"], ["y"], name="head", pads=[1, 1]),
    ]
    weights = {
        "cosines": (np.cos(2 * np.pi * frequency * time / 400) * window)[:, None, :],
        "sines": (-np.sin(2 * np.pi * frequency * time / 400) * window)[:, None, :],
        "bank": bank,
        "kernel": random.standard_normal((8, 40, 3)) * 0.1,
    }
    arrays = {name: np.asarray(values, np.float32) for name, values in weights.items()}
    return networks.save(
        path, nodes, [("x", TensorProto.FLOAT, (1, 1, 8000))], [("y", TensorProto.FLOAT, (1, 8, 48))], arrays
    )


def overflowing_loop(path: Path) -> Path:
    """A loop whose body squares what it has scaled by 400 and takes the root: ``x`` (1, 32) -> ``y``."""
    make, value = helper.make_node, helper.make_tensor_value_info
    shape, flag = (1, WIDTH), TensorProto.BOOL
    body = helper.make_graph(
        [
            make("Mul", ["state", "factor"], ["large"], name="inner_scale"),
            make("Mul", ["large", "large"], ["squares"], name="inner_square"),
            make("Sqrt", ["squares"], ["roots"], name="inner_root"),
            make("Mul", ["roots", "inverse"], ["next"], name="inner_back"),
            make("Identity", ["go_on"], ["still"], name="inner_condition"),
        ],
        "body",
        [value("turn", TensorProto.INT64, ()), value("go_on", flag, ()), value("state", TensorProto.FLOAT, shape)],
        [value("still", flag, ()), value("next", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    nodes = [
        make("Abs", ["x"], ["start"], name="start"),
        make("Loop", ["turns", "", "start"], ["y"], body=body, name="loop"),
    ]
    arrays = {"turns": np.array(3), "factor": np.float32(400), "inverse": np.float32(1 / 400)}
    return networks.save(path, nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)], arrays)


COARSE = (2, 6, 10, 14, 18, 22)


def steep(path: Path, gain: float) -> Path:
    """24 rotations whose rounding errors add up, those of ``COARSE`` most, then a sigmoid that is steep by ``gain``.

    ``x`` (8, 32) -> ``y``.
    """
    maker, hidden = _Maker(1), "x"
    for index in range(24):
        rotation, _ = np.linalg.qr(maker.random.standard_normal((WIDTH, WIDTH)))
        hidden = maker.node("MatMul", [hidden, maker.weight(rotation)], f"turn_{index}")
        if index in COARSE:
            lifted = maker.node("Add", [hidden, maker.weight(3.0)], f"lift_{index}")
            hidden = maker.node("Sub", [lifted, maker.weight(3.0)], f"drop_{index}")
    scaled = maker.node("Mul", [hidden, maker.weight(gain)], "scale")
    maker.nodes.append(helper.make_node("Sigmoid", [scaled], ["y"], name="out"))
    value = (TensorProto.FLOAT, (8, WIDTH))
    return networks.save(path, maker.nodes, [("x", *value)], [("y", *value)], maker.weights)


def branched(path: Path) -> Path:
    """Layers with a place that overflows in the branch of a rate of 16000: ``x`` (1, 32) and ``sr`` -> ``y``."""
    maker = _Maker(0)
    hidden = maker.layer(maker.place(maker.layer("x"), "scale", overflows=True))
    value = helper.make_tensor_value_info
    then = helper.make_graph(maker.nodes, "then", [], [value(hidden, TensorProto.FLOAT, (1, WIDTH))])
    other = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["plain"])], "else", [], [value("plain", TensorProto.FLOAT, (1, WIDTH))]
    )
    nodes = [
        helper.make_node("Equal", ["sr", "high"], ["is_high"], name="compare"),
        helper.make_node("If", ["is_high"], ["y"], name="choose", then_branch=then, else_branch=other),
    ]
    inputs = [("x", TensorProto.FLOAT, (1, WIDTH)), ("sr", TensorProto.INT64, ())]
    weights = {**maker.weights, "high": np.array(16000)}
    return networks.save(path, nodes, inputs, [("y", TensorProto.FLOAT, (1, WIDTH))], weights)
