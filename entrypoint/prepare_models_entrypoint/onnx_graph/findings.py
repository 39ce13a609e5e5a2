"""What samples showed of a model before its graph is rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from ..contract.report import PrecisionChoice, PrecisionProof, WarningInfo


@dataclass(frozen=True)
class Findings:
    """Nodes that can't leave fp32, with reasons by their names, and the samples that showed it, None without any.

    trusted: whether the samples stand for the inputs; if not, suspicious patterns stay in fp32, too.
    runs: how many times the model ran for it. choices: what was weighed where the precision was left open.
    """

    keep: Mapping[str, str]
    measured: Optional[str]
    trusted: bool = True
    runs: int = 0
    warnings: List[WarningInfo] = field(default_factory=list)
    choices: List[PrecisionChoice] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form of what rewriting needs."""
        return {"keep": dict(self.keep), "measured": self.measured, "trusted": self.trusted}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Findings:
        """Return what ``to_dict`` gave."""
        return cls(dict(raw["keep"]), raw["measured"], trusted=bool(raw["trusted"]))


def of_proof(proof: PrecisionProof) -> Findings:
    """Return the findings with which an engine was built: rewriting the model with them gives its graph again."""
    kept = {layer["name"]: layer["reason"] for layer in proof["kept"]}
    return Findings(kept, proof["measured"], trusted=proof["measured"] is not None)
