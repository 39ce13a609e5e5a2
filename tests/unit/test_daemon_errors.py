from __future__ import annotations

import re
from pathlib import Path

import pytest

from prepare_models import errors
from prepare_models.docker.daemon_errors import ROWS, explain
from prepare_models_entrypoint.contract.error_codes import ERRORS

# Texts as engines say them, word for word.
SAID = [
    (
        "docker.credentials.errors.StoreError: docker-credential-secretservice not installed or not available in PATH",
        "credential-helper-missing",
        "credsStore",
    ),
    ("nvml error: insufficient permissions: unknown", "gpu-unavailable", "/dev/nvidia*"),
    (
        'error mounting "/usr/bin/nvidia-smi" to rootfs at "/usr/bin/nvidia-smi": no such file or directory',
        "cdi-stale",
        "nvidia-ctk cdi generate",
    ),
    ("ldcache error: open failed: /sbin/ldconfig.real: no such file", "gpu-unavailable", "@/sbin/ldconfig"),
    ("nvidia-container-cli: container error: cgroup subsystem devices not found", "gpu-unavailable", "no-cgroups"),
    ("net/http: TLS handshake timeout", "registry-timeout", "firewall"),
    ("lookup nvcr.io on 127.0.0.53:53: server misbehaving", "registry-unreachable", "DNS"),
    ("received unexpected HTTP status: 503 Service Unavailable", "registry-unreachable", "run again later"),
    ("no match for platform in manifest: not found", "image-architecture", "doctor names the platform"),
    ("denied: requested access to the resource is denied", "registry-refused", "docker login"),
    (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "docker-unreachable",
        "systemctl start docker",
    ),
    ("dial unix /var/run/docker.sock: connect: permission denied", "docker-forbidden", "usermod -aG docker"),
    (
        "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown",
        "driver-mismatch",
        "restart the machine",
    ),
    ("Failed to initialize NVML: Driver/library version mismatch", "driver-mismatch", "restart the machine"),
    (
        'unable to retrieve OCI runtime error: exec: "nvidia-container-runtime": executable file not found in $PATH',
        "toolkit-missing",
        "nvidia-ctk runtime configure",
    ),
    (
        (
            'error getting credentials - err: exec: "docker-credential-desktop": executable file not '
            'found in $PATH, out: ``'
        ),
        "credential-helper-missing",
        "credsStore",
    ),
    (
        (
            'error mounting "/usr/lib/x86_64-linux-gnu/libcuda.so.550.90.07" to rootfs: mount src=..., '
            'no such file or directory'
        ),
        "cdi-stale",
        "nvidia-ctk cdi generate",
    ),
    (
        (
            "Unable to enable DIRECT ACCESS FILTERING - DROP rule: (iptables failed: iptables --wait -t raw -A "
            "PREROUTING ...: iptables v1.8.7 (legacy): can't initialize iptables table `raw': Table does not exist"
        ),
        "iptables-raw-missing",
        "DOCKER_INSECURE_NO_IPTABLES_RAW=1",
    ),
    ("toomanyrequests: You have reached your pull rate limit.", "registry-rate-limited", "docker login"),
    (
        (
            'Get "https://registry.example/v2/": tls: failed to verify certificate: x509: certificate '
            'signed by unknown authority'
        ),
        "registry-untrusted",
        "/etc/docker/certs.d/",
    ),
    (
        (
            'Get "https://registry.example/v2/": net/http: request canceled while waiting for connection '
            "(Client.Timeout exceeded while awaiting headers)"
        ),
        "registry-timeout",
        "proxy",
    ),
    (
        "failed to authorize: failed to fetch oauth token: unexpected status from GET request: 401 Unauthorized",
        "registry-refused",
        "$oauthtoken",
    ),
    ("no matching manifest for linux/arm64/v8 in the manifest list entries", "image-architecture", "doctor"),
    (
        "Error while fetching server API version: Not supported URL scheme http+docker",
        "docker-sdk-too-old",
        "pip install --upgrade",
    ),
    (
        "client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client",
        "docker-api-version",
        "DOCKER_API_VERSION",
    ),
    (
        "client version 1.52 is too new. Maximum supported API version is 1.43",
        "docker-api-version",
        "DOCKER_API_VERSION",
    ),
    (
        "Mounts denied: The path /data/models is not shared from the host and is not known to Docker.",
        "mounts-denied",
        "File sharing",
    ),
    ('could not select device driver "" with capabilities: [[gpu]]', "gpu-unavailable", "nvidia-ctk runtime configure"),
    ('could not select device driver "cdi" with capabilities: []', "gpu-unavailable", '"cdi": true'),
    ("failed to discover GPU vendor from CDI: no known GPU vendor found", "gpu-unavailable", "nvidia-ctk"),
    ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7", "gpu-unavailable", "nvidia-ctk cdi"),
    ("Unknown runtime specified nvidia", "gpu-unavailable", "nvidia-ctk runtime configure"),
    ("unknown or invalid runtime name: nvidia", "gpu-unavailable", "nvidia-ctk runtime configure"),
    (
        'error gathering device information while adding custom device "/dev/nvidia0": no such file or directory',
        "gpu-unavailable",
        "nvidia-smi",
    ),
    (
        (
            "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: "
            "cannot open shared object"
        ),
        "gpu-unavailable",
        "driver",
    ),
    (
        ("OCI runtime create failed: container_linux.go:380: error running hook #0: error running hook: exit status 1, "
        "stdout: , stderr: nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown"),
        "gpu-unavailable",
        "nvidia-smi",
    ),
    (
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver",
        "driver-too-old",
        "update the driver",
    ),
    (
        ("stderr: Auto-detected mode as 'csv'\ninvoking the NVIDIA Container Runtime Hook directly (e.g. specifying "
        "the docker --gpus flag) is not supported."),
        "gpu-unavailable",
        "nvidia-ctk",
    ),
    (
        ("could not apply required modification to OCI specification: error modifying OCI spec: failed to inject CDI "
        "devices: unresolvable CDI devices nvidia.com/gpu=all"),
        "gpu-unavailable",
        "nvidia-ctk cdi generate",
    ),
    ("nvidia-container-cli: device error: 7: unknown device: unknown", "gpu-unavailable", "nvidia-smi -L"),
    ("bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted", "gpu-unavailable", "no-cgroups"),
    (
        "Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such file'))",
        "docker-unreachable",
        "systemctl start docker",
    ),
    (
        "Error while fetching server API version: ('Connection aborted.', PermissionError(13, 'Permission denied'))",
        "docker-forbidden",
        "usermod -aG docker",
    ),
    (
        ("Error while fetching server API version: ('Connection aborted.', ConnectionRefusedError(111, "
        "'Connection refused'))"),
        "docker-unreachable",
        "DOCKER_HOST",
    ),
    (
        'Error while fetching server API version: 400: ("Client sent an HTTP request to an HTTPS server.")',
        "docker-unreachable",
        "DOCKER_TLS_VERIFY=1",
    ),
    (
        "Path to a certificate and key files must be provided through the client_cert param.",
        "docker-unreachable",
        "DOCKER_CERT_PATH",
    ),
    (
        "Error while fetching server API version: SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')",
        "docker-unreachable",
        "ca.pem",
    ),
    (
        "Error while fetching server API version: SSLError(1, '[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad')",
        "docker-forbidden",
        "cert.pem",
    ),
    (
        "Error while fetching server API version: SSLEOFError(8, 'EOF occurred in violation of protocol')",
        "docker-forbidden",
        "cert.pem",
    ),
    (
        "Error while fetching server API version: (..., ConnectionResetError(104, 'Connection reset by peer'))",
        "docker-forbidden",
        "cert.pem",
    ),
    ("Invalid bind address format: port is required: nonsense", "docker-unreachable", "tcp://HOST:PORT"),
    ("no such Docker context: gone", "docker-unreachable", "docker context ls"),
    ("Error while fetching server API version: Server 'orin' not found in known_hosts", "docker-unreachable", "log in"),
    ("Error while fetching server API version: Authentication failed.", "docker-forbidden", "without a password"),
    ("Error while fetching server API version: [Errno -2] Name or service not known", "docker-unreachable", "the name"),
    ("Error while fetching server API version: [Errno None] Unable to connect to port 22 on 192.0.2.1",
     "docker-unreachable", "host and port"),
    ("Error while fetching server API version: Install paramiko package to enable ssh:// support",
     "docker-unreachable", "prepare-models[ssh]"),
    ("No such image: prepare-models:0-rtx", "image-missing", "image build"),
    ("manifest for x:1 not found: manifest unknown", "image-missing", "name and tag"),
    ("no basic auth credentials", "registry-refused", "docker login"),
    ("unauthorized: authentication required", "registry-refused", "docker login"),
    ('Get "https://registry.test/v2/": dial tcp: lookup registry.test: no such host', "registry-unreachable", "proxy"),
    ("pull access denied for absent, repository does not exist or may require 'docker login': denied: requested access",
     "registry-refused", "docker login"),
    ('Get "https://registry.test/v2/": dial tcp 192.0.2.1:443: i/o timeout', "registry-unreachable", "firewall"),
    ("unexpected count in CDI device request", "gpu-unavailable", "report"),
    ("unexpected options in CDI device request", "gpu-unavailable", "report"),
    ("cannot set both Count and DeviceIDs on device request", "gpu-unavailable", "report"),
    ('exec: "python3": permission denied: unknown', "image-unfit", "image build"),
    ("unable to find user nosuchuser: no matching entries in passwd file", "image-unfit", "uid:gid"),
    ('exec: "python3": executable file not found in $PATH', "image-unfit", "image build"),
    ("exec /usr/bin/python3: exec format error", "image-architecture", "doctor"),
    ('invalid mount config for type "bind": bind source path does not exist: /x', "docker-remote", "on this machine"),
    ("error setting rlimits for ready process: error setting rlimit type 8: operation not permitted",
     "docker-refused", "default-ulimits"),
    ("Minimum memory limit allowed is 6MB", "docker-refused", "--memory"),
    ("write /var/lib/docker/tmp: no space left on device", "disk-full", "prune"),
    ("could not find bridge docker0: route ip+net: no such network interface", "docker-refused", "restart"),
    ("archive/tar: invalid tar header", "archive-damaged", "sha256"),
    ("unexpected EOF", "archive-damaged", "sha256"),
    ("The command '/bin/sh -c pip install x' returned a non-zero code: 1", "image-build-failed", "--index-url"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "fix"), SAID, ids=[text[:40] for text, _, _ in SAID])
def test_known_text_has_its_meaning_and_its_fix(text: str, code: str, fix: str) -> None:
    error = explain(text)
    assert error.code == code
    assert fix in error.hint
    assert " ".join(text.split())[:60] in error.message
    assert error.exit_code == 3


def test_unknown_text_is_passed_on() -> None:
    error = explain("something new")
    assert error.code == "docker-refused"
    assert "something new" in error.message


def test_no_row_is_hidden_by_an_earlier_one() -> None:
    for index, row in enumerate(ROWS):
        text = " ... ".join(row.parts)
        assert not [earlier for earlier in ROWS[:index] if all(part in text for part in earlier.parts)], row


def test_every_code_of_the_host_is_a_row_of_the_table_of_codes() -> None:
    sources = [file.read_text(encoding="utf-8") for file in Path(errors.__file__).parent.rglob("*.py")]
    raised = {row.code for row in ROWS}
    for text in sources:
        raised |= set(re.findall(r'(?:ContainerError|BundleError)\(\s*"([^"]+)"', text))
        raised |= set(re.findall(r'^    code = "([^"]+)"', text, re.MULTILINE))
    assert len(raised) > 20
    assert raised <= set(ERRORS)
