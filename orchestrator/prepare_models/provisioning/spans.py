"""A run as OpenTelemetry spans: the run, its models, their phases, and the stages in those."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract import event as events
from prepare_models_entrypoint.contract import extras
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.report import ModelReport

from .. import __version__
from ..planning.planned import PlannedModel
from ..running.progress import Observer
from ..support.page import Message, show

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_NS = 1_000_000_000


class _Spans(Observer):
    """Makes spans of what it hears, from any thread."""

    def __init__(self, tracer: Tracer, run: Span) -> None:
        self._tracer, self._run = tracer, run
        self._guard = threading.Lock()
        self._models: dict[str, Span] = {}
        self._phases: dict[str, Span] = {}
        self._stages: dict[tuple[str, str], Span] = {}
        self._heard: dict[str, float] = {}  # when anything was last heard of a model

    def planned(self, model: PlannedModel) -> None:
        with self._guard:
            span = self._of(model.spec.name, time.time())
            span.set_attributes({"prepare_models.action": model.action, "prepare_models.reason": model.reason})

    def phase(self, name: str | None, phase: str) -> None:
        """End a model's phase, and begin the next."""
        if name is None:
            return
        now = time.time()
        with self._guard:
            model = self._of(name, now)
            self._end(self._phases.pop(name, None), now)
            self._phases[name] = self._begin(phase, name, model, now)

    def event(self, event: Event) -> None:
        """Begin or end a stage."""
        if event.model is None or event.stage is None:
            return
        with self._guard:
            parent = self._phases.get(event.model) or self._of(event.model, event.time)
            if event.kind == events.STAGE_STARTED:
                self._stages[event.model, event.stage] = self._begin(event.stage, event.model, parent, event.time)
            elif event.kind == events.STAGE_FINISHED:
                self._end(self._stages.pop((event.model, event.stage), None), event.time)

    def finished(self, report: ModelReport) -> None:
        from opentelemetry.trace import Status, StatusCode

        with self._guard:
            span, error = self._of(report["name"], time.time()), report["error"]
            span.set_attribute("prepare_models.status", report["status"])
            if error is not None:
                span.set_attribute("error.type", error["code"])
                span.set_status(Status(StatusCode.ERROR, error["message"]))

    def close(self) -> None:
        """End what is open, each with what was last heard of its model."""
        for (name, _), span in self._stages.items():
            self._end(span, self._heard[name])
        for name, span in [*self._phases.items(), *self._models.items()]:
            self._end(span, self._heard[name])

    def _of(self, name: str, now: float) -> Span:
        self._heard[name] = now
        if name not in self._models:
            self._models[name] = self._begin(name, name, self._run, now)
        return self._models[name]

    def _begin(self, title: str, name: str, parent: Span, at: float) -> Span:
        from opentelemetry.trace import set_span_in_context

        about = {"prepare_models.model": name}
        return self._tracer.start_span(title, set_span_in_context(parent), attributes=about, start_time=int(at * _NS))

    def _end(self, span: Span | None, at: float) -> None:
        if span is not None:
            span.end(int(at * _NS))


@contextlib.contextmanager
def spans(run: str) -> Iterator[Observer]:
    """Yield what makes spans of a run where the environment names a collector (OTEL_EXPORTER_OTLP_ENDPOINT).

    Neither a silent collector nor a missing extra fails the run. ``run``: its name.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(map(os.environ.get, _ENDPOINTS)):
        yield Observer()
    elif not _installed():
        what = "no spans are sent: OTEL_EXPORTER_OTLP_ENDPOINT names a collector, and sending"
        show(
            Message("warning", "module-missing", run, *extras.missing(what, "otel", "OpenTelemetry")), stream=sys.stderr
        )
        yield Observer()
    else:
        with _sending(run) as observer:
            yield observer


def _installed() -> bool:
    try:
        return all(importlib.util.find_spec(package) is not None for package in _PACKAGES)
    except ModuleNotFoundError:  # not even the package above it
        return False


@contextlib.contextmanager
def _sending(run: str) -> Iterator[Observer]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service = os.environ.get("OTEL_SERVICE_NAME") or "prepare-models"
    about = Resource.create({"service.name": service, "service.version": __version__})
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("prepare_models", __version__)
    try:
        with tracer.start_as_current_span(run) as span, contextlib.closing(_Spans(tracer, span)) as observer:
            yield observer  # what ends the run is recorded in its span
    finally:
        provider.shutdown()
