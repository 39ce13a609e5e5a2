"""Readers of ``verify:``, how an engine is compared with its source model."""

from __future__ import annotations

from typing import Any

from prepare_models_entrypoint.contract.verification import Thresholds, VerifyConfig

from .nodes import Node
from .settings import Reader, Settings

VERIFY_KEYS = ("images", "preprocess", "limit", "npz", "random", "thresholds", "outputs", "scale_room")


class VerifySettings(Settings):
    """Reads samples and thresholds."""

    def verify(self, node: Node) -> VerifyConfig | None:
        """Return the settings of a verification."""
        readers: dict[str, Reader] = {
            "npz": lambda n: self.text(n, "the path of a .npz file"),
            "random": self._random,
            "thresholds": self._thresholds,
            "outputs": self._outputs,
            "scale_room": self._above_1,
        }
        if not self.kind(node, "mapping", f"a mapping of {', '.join(VERIFY_KEYS)}; {{}} for random samples"):
            return None
        self.problems.check_keys(node, VERIFY_KEYS)
        given = [key for key in ("images", "npz", "random") if key in node.entries]
        if len(given) > 1:
            self.problems.add(node, f"give one of images:, npz: and random:, not {' and '.join(given)}")
        values = {key: readers[key](node.entries[key]) for key in readers if key in node.entries}
        of_images = {key: value for key, value in node.entries.items() if key in ("images", "preprocess", "limit")}
        if of_images:
            values["images"] = self.calibration(Node("mapping", node.line, node.path, entries=of_images))
        npz = values.get("npz")
        return VerifyConfig(
            images=values.get("images"),
            npz=str(self.place(npz)) if npz else None,
            thresholds=values.get("thresholds"),
            outputs=values.get("outputs") or {},
            scale_room=values.get("scale_room"),
            **(values.get("random") or {}),
        )

    def _random(self, node: Node) -> dict[str, Any]:
        readers: dict[str, Reader] = {
            "seed": lambda n: self.integer(n, "a whole number", 0),
            "count": lambda n: self.integer(n, "a number of samples", 1),
            "ranges": self._ranges,
        }
        return self.fields(node, readers)

    def _ranges(self, node: Node) -> dict[str, tuple[float, float]] | None:
        if not self.kind(node, "mapping", "input names with [low, high]"):
            return None
        found = {}
        for name, value in node.entries.items():
            ends = self.numbers(value)
            if ends is None or len(ends) != 2 or not ends[0] < ends[1]:
                self.problems.add(value, "expected [low, high] with low < high")
            else:
                found[name] = (ends[0], ends[1])
        return found

    def _thresholds(self, node: Node) -> Thresholds:
        readers: dict[str, Reader] = {
            "max_abs": self._at_least_0,
            "max_rel": self._at_least_0,
            "max_of_range": self._at_least_0,
            "cosine": self._share,
            "argmax": self._share,
            "argmax_axis": self._axis,
        }
        return Thresholds(**self.fields(node, readers))

    def _outputs(self, node: Node) -> dict[str, Thresholds] | None:
        if not self.kind(node, "mapping", "output names with their thresholds"):
            return None
        return {name: self._thresholds(value) for name, value in node.entries.items()}

    def _at_least_0(self, node: Node) -> float | None:
        value = self.number(node)
        if value is not None and value < 0:
            self.problems.expected(node, "a number of at least 0")
            return None
        return value

    def _above_1(self, node: Node) -> float | None:
        value = self.number(node)
        if value is not None and value <= 1:
            self.problems.expected(node, "a number above 1, such as 1.7")
            return None
        return value

    def _share(self, node: Node) -> float | None:
        value = self.number(node)
        if value is not None and not 0 <= value <= 1:
            self.problems.expected(node, "a number from 0 to 1")
            return None
        return value

    def _axis(self, node: Node) -> int | None:
        value = self.number(node)
        if value is not None and (value != int(value) or abs(value) > 7):
            self.problems.expected(node, "an axis, such as 1 or -1")
            return None
        return None if value is None else int(value)
