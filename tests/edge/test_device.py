"""A device under a real systemd: provisioned by its service, in its sandbox, with metrics and spans of what it did."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import prometheus_client.parser
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from prepare_models.provisioning.spans import spans
from prepare_models.running.progress import Observer
from tests import networks
from tests.edge import machine
from tests.simulators.web import Answer, Server

SCRIPT = """
install() {
  prepare-models provision models.yaml --models-dir /var/lib/models --metrics /var/lib/prom/models.prom \\
    --executor local --device robot --install-unit
}
install
prepare-models provision install-unit models.yaml --models-dir /var/lib/models --metrics /var/lib/prom/models.prom \\
  --print | grep "^ExecStart=.*provision models.yaml --models-dir /var/lib/models --metrics [^ ]*$"
install
mkdir /etc/systemd/system/prepare-models.service.d && cd /etc/systemd/system/prepare-models.service.d
printf '[Service]\\nEnvironment=OTEL_EXPORTER_OTLP_ENDPOINT=%s\\n' "$COLLECTOR" > otel.conf
cd -
systemctl daemon-reload
systemctl enable --now prepare-models.timer
systemctl start prepare-models.service
systemctl show prepare-models.service -p Result
cp /var/lib/models/provision.json first.json
systemctl start prepare-models.service
cp /var/lib/models/provision.json second.json
cp /var/lib/models/people/report.json report.json
cp /var/lib/prom/models.prom good.prom
cp broken.yaml models.yaml
systemctl start prepare-models.service && exit 1
systemctl show prepare-models.service -p Result,StatusText,ExecMainStatus
cp /var/lib/prom/models.prom failed.prom
cp /var/lib/models/provision.json third.json
journalctl -o cat -u prepare-models.service
"""


def manifest(file: Path, *sources: str) -> None:
    models = [{"name": source.partition(".")[0], "source": source} for source in sources]
    file.write_text(yaml.safe_dump({"version": 1, "models": models}))


def samples(file: Path) -> dict[tuple[str, ...], float]:
    families = prometheus_client.parser.text_string_to_metric_families(file.read_text())
    return {(sample.name, *sample.labels.values()): sample.value for each in families for sample in each.samples}


def test_a_night_a_night_without_work_and_a_failure(tmp_path: Path) -> None:
    networks.conv(tmp_path / "people.onnx")
    networks.unsupported(tmp_path / "odd.onnx")
    manifest(tmp_path / "models.yaml", "people.onnx")
    manifest(tmp_path / "broken.yaml", "people.onnx", "odd.onnx")
    with Server(lambda _: Answer()) as collector:
        said = machine.boot(SCRIPT, tmp_path, COLLECTOR=collector.url)
    status = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("first", "second", "third")]
    assert said.count("written") == said.count("unchanged") == 2
    assert "Result=success" in said
    assert [each["outcome"] for each in status] == ["good", "good", "failed"]
    assert [model["state"] for each in status for model in each["models"]] == [
        "switched", "up-to-date", "up-to-date", "failed",
    ]  # fmt: skip
    assert {"files", "no-network"} <= set(json.loads((tmp_path / "report.json").read_text())["confinement"]["held"])
    for line in ("Result=exit-code", "ExecMainStatus=1", "StatusText=failed: people up-to-date, odd failed"):
        assert f"{line}\n" in said

    good, failed = samples(tmp_path / "good.prom"), samples(tmp_path / "failed.prom")
    last = ("prepare_models_last_success_timestamp_seconds",)
    assert good["prepare_models_provision_outcome", "good"] == failed["prepare_models_provision_outcome", "failed"] == 1
    assert good["prepare_models_model_state", "people", "up-to-date"] == 1
    assert failed["prepare_models_model_state", "odd", "failed"] == 1
    assert failed["prepare_models_model_version", "odd"] == 0
    assert failed[last] == good[last] < failed["prepare_models_provision_start_timestamp_seconds",]
    assert good["prepare_models_disk_free_bytes",] > 0

    spans = [
        span
        for request in collector.requests
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    runs = [span for span in spans if span.name == "provision"]
    assert len(runs) == 3
    first = {span.name: span for span in spans if span.trace_id == runs[0].trace_id}
    assert first["people"].parent_span_id == runs[0].span_id
    assert first["run"].parent_span_id == first["switch"].parent_span_id == first["people"].span_id
    assert first["convert"].parent_span_id == first["run"].span_id
    assert (
        first["convert"].end_time_unix_nano
        <= first["run"].end_time_unix_nano
        <= first["verify"].start_time_unix_nano + 1
    )
    third = {span.name: span for span in spans if span.trace_id == runs[2].trace_id}
    assert third["odd"].status.code == 2
    assert any(each.key == "error.type" for each in third["odd"].attributes)


def test_a_run_goes_on_without_the_extra_and_without_the_collector(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with spans("provision") as observer:
        observer.phase("people", "run")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with spans("provision") as observer:
        assert type(observer) is Observer
    said = capsys.readouterr().err
    assert "warning [module-missing] provision: " in said
    assert "[otel]" in said
