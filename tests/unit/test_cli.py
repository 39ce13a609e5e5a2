"""The command line: what is refused, what help tells, what starts how fast."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prepare_models import __version__
from prepare_models.__main__ import main
from prepare_models_entrypoint.contract import extras

COMMANDS = ("convert", "run", "plan", "inspect", "schema", "init", "lock")
HEAVY = (
    "tensorrt",
    "onnx",
    "polygraphy",
    "docker",
    "requests",
    "structlog",
    "rich",
    "tenacity",
    "yaml",
    "zstandard",
    "packaging",
)


def python(code: str) -> list[str]:
    """Run code in a fresh interpreter and return the words that it prints last."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "COMMAND"),
        (["walk"], "invalid choice: 'walk'"),
        (["run"], "MANIFEST"),
        (["run", "m.yaml", "--jobs", "0"], "--jobs: expected a number of at least 1, found '0'"),
        (["run", "m.yaml", "--jobs", "two"], "--jobs: expected a number of at least 1, found 'two'"),
        (["run", "m.yaml", "--timeout", "-1"], "--timeout: expected a number of seconds above 0, found '-1'"),
        (["run", "m.yaml", "--timeout", "nan"], "--timeout: expected a number of seconds above 0, found 'nan'"),
        (["run", "m.yaml", "--timeout", "inf"], "--timeout: expected a number of seconds above 0, found 'inf'"),
        (["run", "m.yaml", "--timeout", "soon"], "--timeout: expected a number of seconds above 0, found 'soon'"),
        (["run", "m.yaml", "--executor", "cloud"], "invalid choice: 'cloud'"),
        (["run", "m.yaml", "--keep-going", "--fail-fast"], "not allowed with argument"),
        (["run", "m.yaml", "--quiet", "-v"], "not allowed with argument"),
        (["run", "m.yaml", "--log-format", "xml"], "invalid choice: 'xml'"),
        (["plan"], "MANIFEST"),
        (["inspect"], "FILE"),
        (["schema", "job"], "invalid choice: 'job'"),
    ],
)
def test_a_command_line_that_can_not_be_followed(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    output = capsys.readouterr()
    assert told in output.err
    assert output.out == ""


def test_a_manifest_error_ends_with_2_and_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "models.yaml"
    manifest.write_text("version: 2\nmodels:\n- name: a\n", encoding="utf-8")
    assert main(["run", str(manifest), "--models-dir", str(tmp_path / "models")]) == 2
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        f"error [manifest-invalid] {manifest}:1: version: expected 1, the version that this tool reads, found '2'",
        f"error [manifest-invalid] {manifest}:3: models[0]: key 'source' is missing",
    ]
    assert output.out == ""
    assert not (tmp_path / "models").exists()


def test_a_model_that_the_manifest_does_not_have_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "models.yaml"
    manifest.write_text("version: 1\nmodels:\n- {name: a, source: a.onnx}\n", encoding="utf-8")
    assert main(["plan", str(manifest), "b"]) == 2
    assert capsys.readouterr().err == f"error [usage] prepare-models: {manifest} has no model b\n  -> its models: a\n"


@pytest.mark.parametrize("argv", [[], *([command] for command in COMMANDS)])
def test_help_of_every_command_has_an_example_that_parses(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from prepare_models.cli.parser import parser

    with pytest.raises(SystemExit) as ended:
        main([*argv, "--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.partition("example:\n")[2].splitlines()
    examples = [line.split(">")[0].split()[1:] for line in lines if line.startswith("  prepare-models ")]
    assert examples
    for example in examples:
        assert parser().parse_args(example).command == (argv or ["convert"])[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_parsed_alike_beside_the_others_and_alone(command: str) -> None:
    from prepare_models.cli.parser import parser

    helps = []
    for root in (parser(), parser(command)):
        (commands,) = (action for action in root._actions if action.dest == "command")
        assert isinstance(commands.choices, dict)
        helps.append(commands.choices[command].format_help())
    assert helps[0] == helps[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"prepare-models {__version__}\n"


def test_defaults_of_run() -> None:
    from prepare_models.cli.parser import parser

    arguments = parser().parse_args(["run", "m.yaml"])
    assert arguments.models_dir == Path("models")
    assert (arguments.executor, arguments.jobs, arguments.names) == ("auto", 1, [])
    assert not any((arguments.fail_fast, arguments.force, arguments.json))
    assert (arguments.command, parser().parse_args(["run", "m.yaml", "--dry-run"]).command) == ("run", "plan")


@pytest.mark.parametrize(("flag", "fail_fast"), [("--keep-going", False), ("--fail-fast", True)])
def test_what_happens_after_a_failure(flag: str, fail_fast: bool) -> None:
    from prepare_models.cli.parser import parser

    assert parser().parse_args(["run", "m.yaml", flag]).fail_fast is fail_fast


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom prepare_models.cli.parser import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('loaded', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    assert python(code) == ["loaded"]


def test_a_fetch_of_small_files_loads_no_more_than_it_needs() -> None:
    code = (
        "import sys, prepare_models.__main__, prepare_models.cli.parser, prepare_models.cli.commands.fetch\n"
        "import prepare_models_entrypoint.__main__\n"
        "from prepare_models_entrypoint.download import batch, cached\n"
        "from prepare_models_entrypoint.sources import http, web\n"
        "costly = ('onnx', 'docker', 'prepare_models_entrypoint.contract.report')\n"
        "print('loaded', *(name for name in costly if name in sys.modules))"
    )
    assert python(code) == ["loaded"]


def test_the_host_shares_the_contract_with_the_entrypoint_and_nothing_else() -> None:
    code = (
        "import importlib, pkgutil, sys, prepare_models\n"
        "for found in pkgutil.walk_packages(prepare_models.__path__, 'prepare_models.'):\n"
        "    importlib.import_module(found.name)\n"
        "print(*(name for name in sys.modules if name.startswith('prepare_models')))"
    )
    modules = python(code)
    assert {"prepare_models.cli.commands.run", "prepare_models.executors.local"} <= set(modules)
    entrypoint = {name.split(".")[1] for name in modules if name.startswith("prepare_models_entrypoint.")}
    assert entrypoint == {"contract"}


def test_the_whole_host_loads_without_any_backend() -> None:
    code = (
        "import importlib, pkgutil, sys, prepare_models\n"
        "for found in pkgutil.walk_packages(prepare_models.__path__, 'prepare_models.'):\n"
        "    importlib.import_module(found.name)\n"
        "unwanted = ('tensorrt', 'tensorrt_rtx', 'onnx', 'polygraphy')\n"
        "print('loaded', *(name for name in unwanted if name in sys.modules))"
    )
    assert python(code) == ["loaded"]


def test_the_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from prepare_models.support.paths import cache_dir

    assert cache_dir() == Path(os.environ["PREPARE_MODELS_CACHE_DIR"])
    monkeypatch.delenv("PREPARE_MODELS_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "prepare-models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "prepare-models"


@pytest.mark.parametrize(
    ("package", "command", "told"),
    [
        ("fsspec", ["store", "ls", "s3://me:secret@a/b"], ("s3://a/b needs fsspec with s3fs", "remote", "s3fs")),
        ("fsspec", ["fleet", "status", "gs://a/b"], ("gs://a/b needs fsspec with gcsfs", "remote", "gcsfs")),
        (
            "distributed",
            ["worker", "--scheduler", "tcp://127.0.0.1:1", "--store", "file:///s"],
            ("a farm needs distributed", "farm"),
        ),
        ("netron", ["inspect", "--view", "a.onnx"], ("--view needs netron", "view")),
        ("securesystemslib", ["lock", "--sign", "key.pem", "m.yaml"], ("a signature needs securesystemslib", "sign")),
    ],
)
def test_a_missing_extra_is_a_sentence_with_the_command_that_brings_it(
    package: str, command: list[str], told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # makes its import fail
    what, *packages = told
    assert main(command) == 3
    assert capsys.readouterr().err == (
        f"error [environment] prepare-models: {what}, which is not installed\n  -> {extras.install(*packages)}\n"
    )
