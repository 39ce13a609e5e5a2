"""What the orchestrator and the entrypoint say to each other: a job in, events and a report out.

Standard library only, Python 3.8 and later. The orchestrator imports this package and nothing else of the entrypoint.
"""

from ._codec import ContractError
from .builder import BuilderConfig
from .conversion import CalibrationConfig, OnnxConfig, Plugin, TaoConfig
from .job import (
    CHECK_STAGES,
    CONTRACT_VERSION,
    CONVERTERS,
    PRECISIONS,
    STAGES,
    VERIFY_STAGES,
    Job,
    ModelJob,
    ShapeRange,
)
from .ros import RosConfig
from .verification import SCALE_ROOM, Thresholds, VerifyConfig

__all__ = [
    "CHECK_STAGES",
    "CONTRACT_VERSION",
    "CONVERTERS",
    "PRECISIONS",
    "SCALE_ROOM",
    "STAGES",
    "VERIFY_STAGES",
    "BuilderConfig",
    "CalibrationConfig",
    "ContractError",
    "Job",
    "ModelJob",
    "OnnxConfig",
    "Plugin",
    "RosConfig",
    "ShapeRange",
    "TaoConfig",
    "Thresholds",
    "VerifyConfig",
]
