"""What samples showed about a model before its graph is rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from ..contract.report import PrecisionChoice, PrecisionProof, PrecisionSearch, WarningInfo


@dataclass(frozen=True)
class Findings:
    """Nodes that can't leave fp32, with reasons by name, and the samples that showed it; None without samples.

    trusted: whether the samples represent real inputs; if not, suspicious patterns stay in fp32, too.
    runs: how many times the model ran. choices: what was considered, if the precision was left open. search, share: as
    in ``verify.ranges.Measured``.
    """

    keep: Mapping[str, str]
    measured: Optional[str]
    trusted: bool = True
    runs: int = 0
    search: Optional[PrecisionSearch] = None
    share: Optional[float] = None
    warnings: List[WarningInfo] = field(default_factory=list)
    choices: List[PrecisionChoice] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return what rewriting needs, in JSON form."""
        return {"keep": dict(self.keep), "measured": self.measured, "trusted": self.trusted}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Findings:
        """Return the findings from the output of ``to_dict``."""
        return cls(dict(raw["keep"]), raw["measured"], trusted=bool(raw["trusted"]))


def of_proof(proof: PrecisionProof) -> Findings:
    """Return the findings with which an engine was built: rewriting the model with them gives the same graph."""
    kept = {layer["name"]: layer["reason"] for layer in proof["kept"]}
    return Findings(kept, proof["measured"], trusted=proof["measured"] is not None)
