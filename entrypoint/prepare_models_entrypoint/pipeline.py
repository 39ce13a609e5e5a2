"""fetch -> convert -> inspect for one model, timed, with every failure turned into data."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import resource
import time
import traceback
from pathlib import Path
from typing import Callable, Dict, Iterator, Mapping, Optional, Sequence

from .contract import event, external_data, known_faults, schema
from .contract.companions import GRAPH
from .contract.digest import combined
from .contract.environment import RuntimeInfo
from .contract.external_errors import ExternalDataError
from .contract.files import partial_file, read_small, sha256_file, sync_file, take, write_own
from .contract.identity import build_key, identity
from .contract.job import Job, JobKind, ModelJob
from .contract.report import (
    BUILT,
    CHECKED,
    FAILED,
    FETCHED,
    REWRITING,
    REWRITTEN,
    VERIFIED,
    Engine,
    MadeBy,
    Material,
    ModelReport,
    Origin,
    StageResult,
    WarningInfo,
    blank,
    read_record,
)
from .contract.source import Source
from .contract.verification import VerifyConfig
from .contract.workspace import work_dir
from .converters.convert import Converted, convert
from .converters.precision import doubts, means_of, reprove, settled
from .converters.preflight import check_tensor_names
from .converters.request import SYNC
from .download.digest import wait_for
from .download.fetch import Fetched, fetch
from .errors import ConvertError, StageError, VerifyError, from_external_data, from_os_error
from .events import Events
from .inspect.built_plan import Inspected, inspect
from .masking import mask
from .onnx_graph import calibration_cache
from .onnx_graph.findings import of_proof
from .publish import PLAN, clear_room, make_room, publish
from .reach import samples_of
from .verify.comparison import FAR_OFF, refusal, verify

_STATUS = {
    JobKind.FETCH: FETCHED, JobKind.RUN: BUILT, JobKind.CHECK: CHECKED, JobKind.VERIFY: VERIFIED,
    JobKind.REWRITE: REWRITTEN,
}  # fmt: skip


def prepare(model: ModelJob, job: Job, runtime: RuntimeInfo, events: Events) -> ModelReport:
    """Run the job's stages for one model and return its report, even if they fail."""
    run = _Run(model, job, runtime, events)
    try:
        run.all_stages()
    except StageError as error:
        run.fail(error)
    except ExternalDataError as error:
        run.fail(from_external_data(error))
    except OSError as error:
        run.fail(from_os_error(error))
    except Exception as error:  # noqa: BLE001  # a bug in one model's work must not take the other models along
        traceback.print_exc()
        run.fail(StageError("internal", mask(f"{type(error).__name__}: {error}")))
    events.emit(event.MODEL_FINISHED, model=model.name, status=run.report["status"])
    return run.report


class _Run:
    def __init__(self, model: ModelJob, job: Job, runtime: RuntimeInfo, events: Events) -> None:
        self.model, self.job, self.events = model, job, events
        self.environment = runtime  # as described before any build, when the identity is computed
        self.runtime = runtime.copy()
        self.output_dir = Path(model.output_dir)
        self.stage = job.stages[0]
        self.report = blank(model.name, model.source, precision=model.precision, converter=model.converter)
        self.report["runtime"] = self.runtime
        self.report["plugins"] = [plugin.file for plugin in model.plugins]
        self.report["deployment"] = model.deployed()
        self.report["origin"] = schema.read(Origin, model.origin, "origin") if model.origin else None
        self.report["made_by"] = MadeBy(tool=job.tool, image=job.image)
        self.report["stages"] = [StageResult(**stage) for stage in model.done]  # type: ignore[typeddict-item]  # as the fetch container reported them
        self.log = Path(job.cache_dir) / "logs" / f"{job.run_id}-{model.name}.log"
        self.rescued = False
        self.own = True  # whether the engine is one that this run builds

    def all_stages(self) -> None:
        if "fetch" in self.job.stages:
            with self._timed("fetch"):
                fetched = self._fetch(offline=False)
        else:
            fetched = self._fetch(offline=True)
        kind = self.job.kind
        if kind is JobKind.FETCH:
            self._note_materials(fetched)
        else:
            with work_dir(Path(self.job.cache_dir)) as work:
                self._work(kind, fetched, work)
        self.report["status"] = _STATUS[kind]

    def _work(self, kind: JobKind, fetched: Dict[str, Fetched], work: Path) -> None:
        if kind is JobKind.CHECK:
            with self._timed("check") as timing:
                timing["peak_rss_bytes"] = self._check(fetched, work)
        elif kind is JobKind.REWRITE:
            with self._timed("rewrite") as timing:
                timing["peak_rss_bytes"] = self._check(fetched, work, graph=self.output_dir / GRAPH)
        elif kind is JobKind.VERIFY:
            self._verify_published(fetched, work)
        else:
            try:
                self._build(fetched, work)
            finally:
                clear_room(self.output_dir)
                self._keep_log(work / "build.log")

    def fail(self, error: StageError) -> None:
        self.report["status"] = FAILED
        self.report["error"] = error.info(self.stage)

    def _fetch(self, *, offline: bool) -> Dict[str, Fetched]:
        sources = {"model": (self.model.source, self.model.sha256)}
        if self.model.calibration_cache is not None:
            sources["calibration_cache"] = (self.model.calibration_cache, self.model.calibration_sha256)
        cache_dir = Path(self.job.cache_dir)
        fetched = {
            role: fetch(
                source,
                sha256=sha256,
                cache_dir=cache_dir,
                on_progress=self._progress,
                network=self.job.network,
                offline=offline,
                pins=self.model.pins,
            )
            for role, (source, sha256) in sources.items()
        }
        for weights in fetched["model"].external:
            if weights.source.scheme == "http" and not weights.fetched.pinned:
                raise ConvertError(
                    "onnx-external-data",
                    f"{weights.source.public} has no digest, and anyone in between may change its bytes",
                    hint="prepare-models lock pins it; or use https://",
                )
        self.report["licences"] = sorted({file.licence for file in fetched.values() if file.licence})
        return fetched

    def _check(self, fetched: Dict[str, Fetched], work: Path, graph: Optional[Path] = None) -> int:
        """Check the model, and return the peak memory in bytes of that process. ``graph`` receives the graph."""
        converted = self._converted(fetched, work / "unbuilt.plan", work, check_only=True, graph=graph)
        self._note_conversion(converted)
        self.report["io"] = converted.result["io"]
        self.report["preflight"] = {**(converted.result["preflight"] or {})}
        return converted.peak_rss_bytes

    def _converted(
        self, fetched: Dict[str, Fetched], plan: Path, work: Path, *, check_only: bool = False,
        graph: Optional[Path] = None,
    ) -> Converted:  # fmt: skip
        cache = fetched.get("calibration_cache")
        self.report["warnings"] += known_faults.of_build(self.model, self.runtime)

        def meanwhile() -> Callable[[], None]:
            digests = [] if check_only else [file.digest for file in fetched.values()]
            for digest in digests:
                digest.start()  # the build process has started, so there may be threads here now
            if not check_only:
                importlib.import_module(f"{__package__}.consumers.lint")
            return lambda: wait_for(digests)

        def on_progress(data: Mapping[str, object]) -> None:
            self._progress(data)
            if data["phase"] == SYNC:
                sync_file(plan)  # most of it, while the build process frees its memory

        return convert(
            self.model, fetched["model"].path, plan,
            work_dir=work, runtime=self.runtime, on_progress=on_progress, on_start=meanwhile,
            cache_file=cache.path if cache else None, timing_dir=self._timing_dir,
            check_only=check_only, graph=graph, attempts=self.report["attempts"],
        )  # fmt: skip

    def _build(self, fetched: Dict[str, Fetched], work: Path) -> None:
        plan = make_room(self.output_dir)
        with partial_file(plan) as (_, partial):
            with self._timed("convert") as timing:
                before = self._fingerprint(fetched)
                converted = self._converted(fetched, partial, work)
                timing["peak_rss_bytes"] = converted.peak_rss_bytes
                self._note_conversion(converted)
                self._refuse_change(fetched, before)
                self._note_materials(fetched)
                self._note_identity(fetched)
            with self._timed("inspect") as timing:
                inspected = inspect(partial, converted.result["io"], self.runtime, work, self.model)
                timing["peak_rss_bytes"] = inspected.peak_rss_bytes or timing["peak_rss_bytes"]
                self.report["io"] = inspected.io
                self.report["warnings"] += inspected.warnings
                self.report["details"] = inspected.details or converted.result["details"]
                self.report["tensor_names"] = check_tensor_names(inspected.io, self.model.ros)
                self._prove_precision(inspected)
            if self._settled().judged is not None and "verify" in self.job.stages:
                cache = fetched["calibration_cache"].path if "calibration_cache" in fetched else None
                self._judge(fetched, partial, work, cache or calibration_cache.made(work))
            self.report["engine"] = Engine(
                path=str(Path(self.model.deploy_dir) / PLAN),
                bytes=converted.result["engine_bytes"],
                sha256=converted.result["engine_sha256"],
                header=dict(inspected.header),
            )
            from .consumers import lint  # large: imported while others build, and not if nothing is published

            self.report["warnings"] += lint.of_engine(self.report, self.output_dir, self.model.deployment.consumers)
            self.report["status"] = BUILT
            self._keep_calibration(work)
            publish(partial, self.output_dir, self.model.deploy_dir, self.report)

    @property
    def _timing_dir(self) -> Path:
        return Path(self.job.cache_dir) / "timing"

    def _settled(self) -> ModelJob:
        """Return the model with the precision in which it was built."""
        return dataclasses.replace(self.model, precision=settled(self.report["precision_proof"]))

    def _judge(self, fetched: Dict[str, Fetched], plan: Path, work: Path, cache: Optional[Path]) -> None:
        """Verify an engine; unless the manifest asks for it, a verification that can't run is not an error."""
        try:
            self._verify(fetched, plan, work, cache)
        except VerifyError as error:
            if self.model.verify is not None or error.code == FAR_OFF:
                raise
            hint = "add verify: to the model to make this an error"
            self.report["warnings"].append(WarningInfo(code="not-verified", message=error.message, hint=hint))

    def _verify(self, fetched: Dict[str, Fetched], plan: Path, work: Path, cache: Optional[Path]) -> None:
        model = self._settled()
        model = dataclasses.replace(model, verify=model.judged)
        with self._timed("verify") as timing:
            verification, timing["peak_rss_bytes"] = verify(
                model, fetched["model"].path, plan,
                means=means_of(self.report), findings=of_proof(self.report["precision_proof"]),
                runtime=self.runtime, work_dir=work, cache_file=cache, timing_dir=self._timing_dir,
                rescued=self.rescued, own=self.own,
            )  # fmt: skip
            self.report["verification"] = verification
            searched = model.precision in ("fp16", "bf16")  # int8 has the result, and errors of its own
            search = self.report["precision_proof"]["search"] if searched else None
            error = refusal(verification, model, search)
            if error is not None:
                raise error
        if verification["verdict"] == "not-compared":
            hint = "run prepare-models verify where a GPU can load the engine"
            self.report["warnings"].append(
                WarningInfo(code="not-verified", message=verification["statement"], hint=hint)
            )
        scales = verification["scales"]
        if scales is not None and scales["problem"] is not None:
            hint = "verify with eight or more real samples, and check the calibration cache if the warning stays"
            self.report["warnings"].append(WarningInfo(code="scales-wide", message=scales["problem"], hint=hint))

    def _verify_published(self, fetched: Dict[str, Fetched], work: Path) -> None:
        """Verify the engine from an earlier run."""
        self.stage = "verify"
        record = read_record(self.output_dir)
        plan = self.output_dir / PLAN
        if record is None or not plan.is_file():
            raise StageError("engine-missing", f"{self.output_dir} has no engine with its report")
        self.report["precision_proof"], self.report["engine"] = record["precision_proof"], record["engine"]
        self.rescued = _was_rescued(record["warnings"])
        engine = record["engine"]  # a plan that somebody put in its place is no engine from here
        self.own = record["origin"] is None and engine is not None and sha256_file(plan) == engine["sha256"]
        self.model = dataclasses.replace(self.model, verify=self.model.judged or VerifyConfig())
        cache = fetched["calibration_cache"].path if "calibration_cache" in fetched else None
        self._verify(fetched, plan, work, cache or calibration_cache.made(self.output_dir))

    def _note_conversion(self, converted: Converted) -> None:
        result = converted.result
        if result["precision_proof"] is not None:
            self.report["precision_proof"] = result["precision_proof"]
        if self.runtime["backend"] is not None and result["backend"] is not None:
            self.runtime["backend"] = result["backend"]
        self.report["converter"] = converted.converter
        self.report["converter_reason"] = converted.reason
        self.report["builder"] = result["builder"]
        self.report["profiles"] = result["profiles"]
        self.report["warnings"] += result["warnings"]
        self.rescued = _was_rescued(result["warnings"])
        self.report["trtexec_command"] = converted.trtexec_command
        self.report["confinement"] = result["confinement"]

    def _prove_precision(self, inspected: Inspected) -> None:
        """Use the engine's own report of its layers, if a GPU could load it and nothing better is known."""
        proof = self.report["precision_proof"]
        if inspected.evidence is not None and proof["source"] in (None, "engine size"):
            proof = reprove(proof, inspected.evidence, allow_fallback=self.model.allow_fallback)
            self.report["precision_proof"] = proof
        self.report["warnings"] += doubts(proof)

    def _keep_calibration(self, work: Path) -> None:
        """Keep a cache that was made from samples next to the engine, for the next build and for other machines."""
        made = calibration_cache.made(work)
        if made is not None:
            write_own(
                self.output_dir / calibration_cache.FILE,
                read_small(made, largest=calibration_cache.LARGEST, follow=False),
            )

    def _fingerprint(self, fetched: Dict[str, Fetched]) -> "list[tuple[int, ...]]":
        """Return the states of the existing files whose digests are part of the identity, computed after the build."""
        own = [*external_data.files(fetched["model"].path), *samples_of(self.model)[0]]
        states = map(os.stat, filter(os.path.exists, map(str, (*(each.path for each in fetched.values()), *own))))
        return [(state.st_size, state.st_mtime_ns, state.st_ino) for state in states]

    def _refuse_change(self, fetched: Dict[str, Fetched], before: "list[tuple[int, ...]]") -> None:
        if self._fingerprint(fetched) != before:
            what = f"{fetched['model'].path}, its weights, samples or calibration cache changed during the build"
            raise StageError("source-changed", what, hint="run again", retryable=True)

    def _note_materials(self, fetched: Dict[str, Fetched]) -> None:
        sources = {"model": self.model.source, "calibration_cache": self.model.calibration_cache or ""}
        used = [(role, Source.of(sources[role]), file) for role, file in fetched.items()]
        used[1:1] = [("external_data", weights.source, weights.fetched) for weights in fetched["model"].external]
        self.report["materials"] = [
            Material(
                role=role, source=source.public, source_id=source.id, bytes=file.bytes, sha256=file.digest.result()
            )
            for role, source, file in used
        ]

    def _note_identity(self, fetched: Dict[str, Fetched]) -> None:
        model, cache = fetched["model"], fetched.get("calibration_cache")
        samples = self.model.calibration.samples_sha256() if self.model.calibration else None
        known = {model.path.parent / each.location: each.fetched.digest.result() for each in model.external}
        fields = identity(
            self.model,
            self.environment,
            model_sha256=model.digest.result(),
            calibration_sha256=cache.digest.result() if cache else samples,
            weights_sha256=combined(known.get(file) or sha256_file(file) for file in external_data.files(model.path)),
            samples_sha256=self.model.verify.samples_sha256() if self.model.verify else None,
        )
        self.report["identity"], self.report["build_key"] = fields, build_key(fields)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[StageResult]:
        self.stage = stage
        result = StageResult(
            name=stage, status=FAILED, started_at=round(time.time(), 3), seconds=0.0, peak_rss_bytes=None
        )
        self.report["stages"].append(result)
        self.events.emit(event.STAGE_STARTED, model=self.model.name, stage=stage)
        started = time.monotonic()
        try:
            yield result
            result["status"] = "done"
        finally:
            result["seconds"] = round(time.monotonic() - started, 6)
            if result["peak_rss_bytes"] is None:
                result["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            self.events.emit(
                event.STAGE_FINISHED,
                model=self.model.name,
                stage=stage,
                status=result["status"],
                seconds=result["seconds"],
            )

    def _progress(self, data: Mapping[str, object]) -> None:
        self.events.emit(event.PROGRESS, model=self.model.name, stage=self.stage, **data)

    def _keep_log(self, build_log: Path) -> None:
        """Keep the builder's output of a failed build; a good build's log says nothing that the report doesn't."""
        if self.report["engine"] is None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # there is none, or the model put something else in its place
                take(build_log, self.log)
                self.report["log"] = str(self.log)


def _was_rescued(warnings: Sequence[WarningInfo]) -> bool:
    """Return whether a model was rewritten to be buildable."""
    return any(warning["code"] == REWRITING for warning in warnings)
