"""examples/edge: the role passes its linter, and its second run changes nothing; cloud-init knows its file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests import networks
from tests.edge import machine

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / "examples/edge/ansible"
HERE = Path(sys.executable).parent
SITE = """\
- name: A device
  hosts: localhost
  gather_subset: [min]
  vars:
    ansible_python_interpreter: /usr/bin/python3
  roles:
    - role: prepare_models
      vars:
        prepare_models_package: "{wheel}"
        prepare_models_pip_arguments: --no-index --no-deps
        prepare_models_manifest: "{shared}/models.yaml"
        prepare_models_arguments: [--executor, local]
        prepare_models_on_calendar: "*-*-* 04:30:00"
"""
# What the wheel needs is there already; pip installs the wheel itself.
SCRIPT = """
mkdir -p /etc/prepare-models && cp people.onnx /etc/prepare-models/
python -m venv /opt/prepare-models
/opt/prepare-models/bin/python - "$SITE_PACKAGES" <<'P'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "rest.pth").write_text(sys.argv[1])
P
ansible-playbook -i localhost, -c local site.yml
time ansible-playbook -i localhost, -c local site.yml
systemctl show prepare-models.service -p Result -p ExecMainStatus
systemctl is-enabled prepare-models.timer; systemctl is-active prepare-models.timer
systemctl show prepare-models.timer -p TimersCalendar
cat /var/lib/models/provision.json
"""


def test_the_role_works_and_then_changes_nothing(tmp_path: Path) -> None:
    networks.conv(tmp_path / "people.onnx")
    (tmp_path / "models.yaml").write_text("version: 1\nmodels:\n  - {name: people, source: people.onnx}\n")
    build = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)]
    subprocess.run([HERE / build[0], *build[1:]], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    (tmp_path / "site.yml").write_text(SITE.format(wheel=f"{machine.SHARED}/{wheel.name}", shared=machine.SHARED))
    shutil.copytree(ANSIBLE / "roles", tmp_path / "roles")
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    said = machine.boot(
        SCRIPT, tmp_path, SITE_PACKAGES=packages, ANSIBLE_NOCOLOR="1", ANSIBLE_PIPELINING="1", LANG="C.UTF-8"
    )
    recaps = [
        dict(re.findall(r"(\w+)=(\d+)", line)) for line in said.splitlines() if re.match(r"localhost +: ok=", line)
    ]
    assert [recap["failed"] for recap in recaps] == ["0", "0"], said
    assert int(recaps[0]["changed"]) > 5
    assert recaps[1]["changed"] == "0", said
    assert "Result=success\nExecMainStatus=0\nenabled\nactive\n" in said
    assert "OnCalendar=*-*-* 04:30:00" in said
    assert '"state": "switched"' in said


def test_the_role_passes_its_linter(tmp_path: Path) -> None:
    found = subprocess.run(
        [HERE / "ansible-lint", "--offline", "--nocolor", "--profile", "production", "."],
        cwd=ANSIBLE, capture_output=True, text=True, check=False,
        env={**os.environ, "HOME": str(tmp_path), "PATH": f"{HERE}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Passed: 0 failure(s), 0 warning(s)" in found.stderr


def test_cloud_init_knows_its_file(tmp_path: Path) -> None:
    file = ROOT / "examples/edge/cloud-init/user-data.yaml"
    odd = tmp_path / "odd.yaml"
    odd.write_text(file.read_text().replace("runcmd:", "packages: 3\nruncmd:"))
    for which, ended in ((file, 0), (odd, 1)):
        done = subprocess.run(
            [sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(which)],
            capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.environ["CLOUD_INIT"]},
        )  # fmt: skip
        assert done.returncode == ended, done.stderr
