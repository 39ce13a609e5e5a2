"""From the store into a models directory, and from there into the store."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from prepare_models_entrypoint.contract import companions
from prepare_models_entrypoint.contract.report import EDITED, FAILED, RESTORED, ModelReport, read, read_record
from prepare_models_entrypoint.contract.source import Source

from ..planning.planned import PlannedModel
from ..running.publishing import Publisher
from ..signing.origins import untrusted
from . import CALIBRATION
from . import PLAN as STORED_PLAN
from .local import Entry, Store, Turn, record_digest


def find(store: Store, planned: PlannedModel, turn: Turn) -> Entry | None:
    """Return the engine that a model needs, if already built.

    One that never got into the store may be in the models directory of a killed process: its record is newer than what
    was there when that process began. Any other in the model's own directory serves that alone, since its record may
    be a stranger's.
    """
    entry = store.find(planned.turn)
    place = turn.last_place
    if entry is None and place is not None and turn.last_began not in (None, record_digest(place)):
        record = read_record(place)
        if record is not None and record["build_key"] == planned.turn and keep(store, record, place):
            entry = store.find(planned.turn)
    entry = entry or found_in(planned.output_dir, planned.turn, store)
    try:
        usable = (
            entry is not None
            and untrusted(entry.record, locked=planned.spec.engines) is None
            and planned.spec.unfit(entry.record) is None
            and as_of(entry, planned)
        )
    except EDITED:
        return None
    return entry if usable else None  # a build will report what is wrong


def found_in(folder: Path, key: str, store: Store) -> Entry | None:
    """Return the engine in a model's directory, if its record says that it is the one with a build key."""
    record, files = read_record(folder), files_in(folder)
    if record is None or STORED_PLAN not in files:
        return None
    entry = Entry(key, files, record, 0, 0.0)
    return entry if store.problem(entry) is None else None


def files_in(output_dir: Path) -> dict[str, Path]:
    """Return the files of a build in a model's directory, by their names in the store."""
    files = {STORED_PLAN: output_dir / companions.PLAN, CALIBRATION: output_dir / CALIBRATION}
    return {name: file for name, file in files.items() if file.is_file()}


def keep(store: Store, record: ModelReport, output_dir: Path) -> bool:
    """Store what was built, in its turn, and return whether that worked; a full store doesn't harm the build."""
    if untrusted(record) is not None:
        return False
    try:
        store.put(record, files_in(output_dir))
    except (OSError, *EDITED):
        return False
    return True


def restore(entry: Entry, planned: PlannedModel, publisher: Publisher) -> ModelReport:
    """Publish the store's engine for a model and return its report, in which the record describes the build."""
    report = as_of(entry, planned)
    error = publisher.publish(entry.files, report, planned.output_dir)
    report["stages"] = []
    return report if error is None else {**report, "status": FAILED, "engine": None, "error": error}


def as_of(entry: Entry, planned: PlannedModel) -> ModelReport:
    """Return the record of a build as that of this model, with its own names and paths."""
    spec, report = planned.spec, read(json.loads(json.dumps(entry.record)))
    old_plan = report["engine"]["path"] if report["engine"] else ""
    new_plan = str(planned.output_dir / companions.PLAN)
    places = {
        old_plan: new_plan,
        report["source"]: Source.of(spec.source).public,
        f"{report['name']}.onnx": f"{spec.name}.onnx",
    }
    command = _in_place(report["trtexec_command"], places)
    if report["engine"]:
        report["engine"]["path"] = new_plan
    if all(each["source_id"] != Source.of(spec.source).id for each in report["materials"] if each["role"] == "model"):
        report["materials"] = [each for each in report["materials"] if each["role"] != "external_data"]
    for material in report["materials"]:
        if material["role"] == "external_data":
            continue  # unchanged next to the same model
        source = (spec.calibration_cache if material["role"] == "calibration_cache" else None) or spec.source
        material["source"], material["source_id"] = Source.of(source).public, Source.of(source).id
    licences = sorted({*report["licences"], *([spec.eula] if spec.eula else [])})
    return {
        **report,
        "name": spec.name,
        "source": Source.of(spec.source).public,
        "status": RESTORED,
        "reason": planned.told(),
        "licences": licences,
        "trtexec_command": command,
        "tensor_names": spec.ros.resolve(report["io"]),
        "plugins": [plugin.file for plugin in spec.plugins],
        "deployment": spec.deployed(),
    }


def _in_place(command: str | None, places: dict[str, str]) -> str | None:
    """Return a command line with other paths."""
    if command is None:
        return None
    words = [word.partition("=") for word in shlex.split(command)]
    return shlex.join(f"{option}{equals}{places.get(value, value)}" for option, equals, value in words)
