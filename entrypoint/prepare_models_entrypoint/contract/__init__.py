"""What the orchestrator and the entrypoint say to each other: a job in, events and a report out.

Standard library only, Python 3.8 and later. The orchestrator imports this package and nothing else of the entrypoint.
"""

from ._codec import ContractError
from .job import CONTRACT_VERSION, CONVERTERS, PRECISIONS, STAGES, BuilderConfig, Job, ModelJob, ShapeRange

__all__ = [
    "CONTRACT_VERSION",
    "CONVERTERS",
    "PRECISIONS",
    "STAGES",
    "BuilderConfig",
    "ContractError",
    "Job",
    "ModelJob",
    "ShapeRange",
]
