"""Canaries in everything that is secret, through a good and a failing run: no form in which results leave shows one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests import networks
from tests.command import Result, Workplace
from tests.simulators.web import Answer, Request, Server

CANARY = "canary"


def texts_of(place: Workplace, told: list[Result], private: set[Path]) -> list[tuple[str, str]]:
    """Return what was printed and every file that was written, with a name for each."""
    files = [path for path in place.folder.rglob("*") if path.is_file() and path not in private]
    printed = [(f"output of command {n}", result.stdout + result.stderr) for n, result in enumerate(told)]
    return [*printed, *((str(path), f"{path}{path.read_bytes()!r}") for path in files)]


def test_no_secret_is_in_any_form_of_a_report(place: Workplace) -> None:
    model = networks.conv(place.folder / "served.onnx").read_bytes()
    sha256 = hashlib.sha256(model).hexdigest()
    headers = place.folder / "headers.secret"
    headers.write_text("X-Token: canary-header\nAuthorization: Bearer canary-bearer\n")

    def private(request: Request) -> Answer:
        allowed = request.headers.get("x-token") == "canary-header"
        if allowed and "/redirected" in request.target:
            return Answer(status=302, headers={"Location": f"{server.url}/good.onnx?Signature=canary-signature"})
        if "/good" in request.target:
            return Answer(model, ranged=True)
        repeated = "canary-header and canary-bearer may not read https://h/x?Signature=canary-signature"
        return Answer(b"<p>canary-signature of canary-header</p>", 403, reason=repeated)

    (place.folder / "locked.etlt").write_bytes(b"\0\0\0\0" + os.urandom(64))
    with Server(private) as server:
        url = server.url.replace("//", "//canary-user:canary-password@")
        place.write(
            {
                "name": "good",
                "source": f"{url}/good.onnx?token=canary-query",
                "sha256": sha256,
                "precision": "fp16",
                "verify": {},
            },
            {"name": "redirected", "source": f"{url}/redirected.onnx", "sha256": sha256},
            {"name": "refused", "source": f"{url}/refused.onnx?token=canary-query", "sha256": "0" * 64},
            {"name": "ngc", "source": "ngc://acme/own:1/own.onnx"},
            {"name": "locked", "source": "locked.etlt", "key": {"env": "MODEL_KEY"}},
            defaults={"headers_file": str(headers)},
        )
        variables = {
            "MODEL_KEY": "canary-model-key", "NGC_API_KEY": "nvapi-canary-ngc-key", "NO_PROXY": "127.0.0.1",
            "NGC_CLI_API_URL": server.url, "NGC_CLI_AUTH_URL": server.url, "HOME": str(place.folder / "home"),
        }  # fmt: skip
        forms = [f"--report-{form}={place.folder / form}" for form in ("html", "markdown", "junit")]
        report = place.folder / "report.json"
        run = place.run("-v", "--log-format", "json", "--report", str(report), *forms, **variables)
        models_dir = str(place.models_dir)
        asked = [
            ["verify", str(place.manifest), "--models-dir", models_dir],
            ["verify", models_dir, "--json"],
            ["plan", str(place.manifest), "--models-dir", models_dir, "--json"],
            ["check", str(place.manifest), "--executor", "local", "--json"],
            ["inspect", models_dir, "--layers", "--json"],
            ["lint", models_dir, "--json"],
            ["status", models_dir, "--json"],
            *(["report", "render", str(report), "--format", form] for form in ("html", "markdown", "junit")),
            ["report", "diff", str(report), models_dir, "--json"],
        ]
        told = [run, *(place.call(*arguments, **variables) for arguments in asked)]
    assert run.status == 1, run.stderr
    built = {model["name"]: model["status"] for model in run.report["models"]}
    assert built == {"good": "built", "redirected": "built", "refused": "failed", "ngc": "failed", "locked": "failed"}
    assert (place.models_dir / "good" / "provenance.json").is_file()
    texts = texts_of(place, told, {headers, place.manifest})
    assert len(texts) > 25
    leaks = [(name, at, text[max(0, at - 80) : at + 40]) for name, text in texts if (at := text.find(CANARY)) >= 0]
    assert leaks == []
