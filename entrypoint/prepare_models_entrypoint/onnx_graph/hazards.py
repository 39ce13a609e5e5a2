"""Constants that a narrower type can't hold, the nodes that need them, and bounds that may saturate."""

from __future__ import annotations

from typing import Dict, Iterator, Optional, Sequence, Tuple

import numpy as np
from onnx import TensorProto

from . import weights
from .operators import COMPARISONS, STEEP, named
from .sites import Site, behind, readers
from .values import INFINITE, LARGE, TINY, Misfit, Narrow, misfit

_BIASED = named("BatchNormalization Conv ConvTranspose Gemm InstanceNormalization LayerNormalization")
_BIAS = (2, 3)  # its position, and that of the mean of a batch normalization
_CONVERTED = (TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64)


class Hazards:
    """What the constants of a model rule out, and what they allow.

    kept: nodes that have to stay as they are, with the reason. bounds: inputs whose out-of-range values change nothing,
    by node and position; true if they have to become infinite.
    """

    def __init__(self, sites: Sequence[Site], narrow: Narrow) -> None:
        self.narrow = narrow
        self.kept: Dict[str, str] = {}
        self.bounds: Dict[Tuple[str, int], bool] = {}
        self.readers = readers(sites)
        self.products = {site.node.output[0] for site in sites if site.node.op_type in (*_BIASED, "MatMul")}
        self.verdicts: Dict[Tuple[int, str, bool], Optional[Misfit]] = {}
        for site in sites:
            for index, name, tensor in self._constants(site):
                each = site.node.op_type in STEEP and (site.node.op_type != "Div" or index == 1)
                self._judge(site, index, name, self._verdict(site, name, tensor, each=each))

    def _constants(self, site: Site) -> Iterator[Tuple[int, str, TensorProto]]:
        """Yield the constants whose values reach the output of a node, with their positions."""
        if site.node.op_type == "ConstantOfShape":
            for attribute in site.node.attribute:
                if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                    yield -1, "", attribute.t
        for index, name in enumerate(site.node.input):
            tensor = site.scope.constant(name) if name else None
            converted = site.node.op_type in ("Cast", "CastLike")
            if tensor is not None and (
                (tensor.data_type == TensorProto.FLOAT and (site.narrows(index) or converted))
                or (converted and index == 0 and tensor.data_type in _CONVERTED and site.is_float(site.node.output[0]))
            ):
                yield index, name, tensor

    def _verdict(self, site: Site, name: str, tensor: TensorProto, *, each: bool) -> Optional[Misfit]:
        key = (id(site.scope), name or site.node.name, each)
        if key not in self.verdicts:
            self.verdicts[key] = misfit(weights.array(tensor), self.narrow, each=each)
        return self.verdicts[key]

    def _judge(self, site: Site, index: int, name: str, found: Optional[Misfit]) -> None:
        if found is None or (found.why == TINY and self._is_bias(site, index)):
            return
        operator = site.node.op_type
        if operator in COMPARISONS or (operator in ("Clip", "Max", "Min") and found.why != TINY):
            tensor = site.scope.constant(name)
            if operator in COMPARISONS or (tensor is not None and self._is_harmless(operator, index, tensor)):
                if found.why == LARGE:
                    self.bounds[site.node.name, index] = operator in COMPARISONS
                return
        if site.variables:
            self._keep(site, f"its constant {name!r} is {found.told(self.narrow)}")
        shrinks = (found.why == TINY) != (operator == "Div" and index == 1)
        if found.why != INFINITE:
            for reader in behind(site, abs(found.worst), large=not shrinks, among=self.readers):
                if reader.variables:
                    self._keep(reader, f"reads {'small' if shrinks else 'large'} values of {site.node.name!r}")

    def _is_bias(self, site: Site, index: int) -> bool:
        """Return whether a constant is a bias: beside products, tiny values are nothing. An epsilon is one number."""
        if site.node.op_type != "Add":
            return site.node.op_type in _BIASED and index in _BIAS
        tensor = site.scope.constant(site.node.input[index])
        return site.node.input[1 - index] in self.products and tensor is not None and weights.size(tensor) > 1

    def _keep(self, site: Site, reason: str) -> None:
        self.kept.setdefault(site.node.name, reason)

    def _is_harmless(self, operator: str, index: int, tensor: TensorProto) -> bool:
        """Return whether out-of-range values are only bounds beyond every number of the narrower type."""
        values = weights.array(tensor)
        beyond = values[np.abs(values) > self.narrow.largest]
        upper = operator == "Min" or (operator == "Clip" and index == 2)
        return bool((beyond > 0).all() if upper else (beyond < 0).all())
