"""The schema's descriptions, limits and examples of the fields of a provisioning's status."""

from __future__ import annotations

from collections.abc import Mapping

from prepare_models_entrypoint.contract.kinds import Schema

from ..provisioning.status_document import (
    NEXT,
    OUTCOMES,
    PHASES,
    SCHEMA_VERSION,
    STATES,
    ProvisionedModel,
    ProvisionStatus,
)
from .told import HEX64, told

_NOON = "2026-05-04T12:30:00.000+00:00"

PROVISIONED: Mapping[object, Mapping[str, Schema]] = {
    ProvisionStatus: {
        "schema_version": told("Version of this format; a change that breaks readers raises it.", const=SCHEMA_VERSION),
        "tool": told("What wrote this: name and version."),
        "device": told("Name of the machine: --device, else its host name.", examples=["robot-17"]),
        "manifest": told("Path of the manifest or of the bundle."),
        "manifest_sha256": told("Digest of the manifest's file; null while it is not known.", pattern=HEX64),
        "models_dir": told("Triton model repository."),
        "started_at": told("Start, UTC.", format="date-time", examples=[_NOON]),
        "finished_at": told(
            "End, UTC; null while it runs, and after it was killed.", format="date-time", examples=[_NOON]
        ),
        "seconds": told("Wall time; null as finished_at.", minimum=0),
        "outcome": told(
            "running; good: every model is as it should be; failed: some are not, the others are; stopped: error says"
            " what stopped all of it.",
            enum=OUTCOMES,
        ),
        "error": told("What stopped the provisioning; null otherwise."),
        "models": told("What became of each model, in the manifest's order."),
    },
    ProvisionedModel: {
        "": told("What one model serves, and what became of it."),
        "name": told("Name in the manifest."),
        "state": told(
            "waiting: not looked at yet; up-to-date; switched: serves a new version; failed: serves what it served;"
            " rolled-back: a version was rejected, an earlier one serves; stale: serves, but not what the manifest asks"
            " for.",
            enum=STATES,
        ),
        "phase": told(
            "What is being done; of a failed model, where it failed; null when it is done.", enum=(*PHASES, None)
        ),
        "reason": told("Why there is something to do, or what was done.", examples=["rebuild because: precision fp16"]),
        "version": told("Version that is served; null without any.", minimum=1),
        "engine_sha256": told("Digest of its plan file.", pattern=HEX64),
        "build_key": told("Its build key: equal keys stand for equal engines.", pattern=HEX64),
        "previous_version": told("Version that rollback returns to; null without any.", minimum=1),
        "warnings": told("What its run warned of, such as a shared store that can't be reached."),
        "error": told("Why it failed or was rolled back; null otherwise."),
        "log": told("The builder's output of a failed build."),
        "next": told(
            "What the next provisioning does with the model. hold: nothing until the manifest changes or --force is"
            " given.",
            enum=NEXT,
        ),
        "next_told": told("The same in words."),
    },
}
