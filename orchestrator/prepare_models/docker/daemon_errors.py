"""What container engines say when they refuse, and what it means: text -> our error. The table is the knowledge."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ContainerError

TOOLKIT = (
    "install NVIDIA's Container Toolkit, then: sudo nvidia-ctk runtime configure --runtime=docker "
    "&& sudo systemctl restart docker; on a machine without a GPU use --gpu none"
)
_GENERATE_CDI = (
    "run: sudo nvidia-ctk cdi list; generate with: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
)
_TLS = (
    "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH=DIR, which holds ca.pem, cert.pem and key.pem of this engine; "
    "or make a context: docker context create"
)
_DRIVER = "install or load the NVIDIA driver; check with: nvidia-smi"


class Row(NamedTuple):
    """A part of the engine's text (every part must be there), our stable code, what it means, and the fix."""

    parts: tuple[str, ...]
    code: str
    meaning: str
    fix: str


ROWS: tuple[Row, ...] = (
    Row(
        ("river/library version mismatch",),
        "gpu-unavailable",
        "the NVIDIA driver was updated while its old module is loaded",
        "restart the machine; check with: nvidia-smi",
    ),
    Row(
        ('exec: "nvidia-', "executable file not found in $PATH"),
        "gpu-unavailable",
        "a program of NVIDIA's Container Toolkit is missing on the engine's machine",
        TOOLKIT,
    ),
    Row(
        ("docker-credential-", "executable file not found in $PATH"),
        "registry-refused",
        "the credential helper that ~/.docker/config.json names is not installed",
        'install it, or remove "credsStore" and "credHelpers" from ~/.docker/config.json and run docker login',
    ),
    Row(
        ("mount", ".so.", "no such file or directory"),
        "gpu-unavailable",
        "the CDI specification names libraries of another driver: the driver was updated since it was written",
        "write it anew: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    ),
    Row(
        ("iptables", "raw"),
        "docker-refused",
        "the kernel has no iptables table `raw`, which Docker 28 wants; Jetson's kernels lack it",
        "add Environment=DOCKER_INSECURE_NO_IPTABLES_RAW=1 to Docker's service (sudo systemctl edit docker) and "
        "restart it; or install Docker 27",
    ),
    Row(
        ("toomanyrequests",),
        "registry-refused",
        "the registry limits how much is pulled without a log-in, and the limit is reached",
        "docker login, or wait some hours, then run again",
    ),
    Row(
        ("x509: ",),
        "registry-unreachable",
        "the registry's certificate is not from an authority that the engine knows",
        "put the authority's certificate into /etc/docker/certs.d/REGISTRY/ca.crt; check the clock: date",
    ),
    Row(
        ("Client.Timeout exceeded",),
        "registry-unreachable",
        "the registry does not answer in time",
        "check network, firewall and the daemon's proxy; without a network: prepare-models image load",
    ),
    Row(
        ("no matching manifest for",),
        "image-unfit",
        "the registry has this image, but not for this machine's architecture",
        "choose an image of this architecture: prepare-models doctor names the platform",
    ),
    Row(
        ("URL scheme http+docker",),
        "docker-unreachable",
        "the Python package docker is too old for the installed requests",
        "pip install --upgrade 'docker>=7.1'",
    ),
    Row(
        ("client version", "is too"),
        "docker-refused",
        "the engine does not speak this client's API version",
        "unset DOCKER_API_VERSION, or update the older of the two: pip install --upgrade docker, or Docker itself",
    ),
    Row(
        ("ounts denied",),
        "docker-refused",
        "Docker Desktop does not share this directory with containers",
        "share it: Settings, Resources, File sharing; or choose a directory below your home",
    ),
    Row(
        ("could not select device driver", "capabilities: [[gpu"),
        "gpu-unavailable",
        "the engine has no driver for GPUs: the Container Toolkit is missing, or the engine was not restarted since",
        TOOLKIT,
    ),
    Row(("failed to discover GPU vendor from CDI",), "gpu-unavailable", "the engine knows no GPU vendor", TOOLKIT),
    Row(
        ("could not select device driver", "cdi"),
        "gpu-unavailable",
        "the engine has no CDI: it is older than 25, or the feature is switched off",
        'set "features": {"cdi": true} in /etc/docker/daemon.json and restart Docker',
    ),
    Row(
        ("CDI device request",),
        "gpu-unavailable",
        "the engine does not take a CDI request of this form",
        "choose another way: --gpu none, or switch CDI off; and please report it with the engine's version",
    ),
    Row(
        ("cannot set both Count and DeviceIDs",),
        "gpu-unavailable",
        "the engine does not take a device request of this form",
        "please report it with the engine's version; --gpu all asks in another form",
    ),
    Row(("unresolvable CDI devices",), "gpu-unavailable", "no CDI specification names this device", _GENERATE_CDI),
    Row(("Unknown runtime specified",), "gpu-unavailable", "the runtime nvidia is not registered", TOOLKIT),
    Row(("unknown or invalid runtime name",), "gpu-unavailable", "the runtime nvidia is not registered", TOOLKIT),
    Row(("error gathering device information", "/dev/nvidia"), "gpu-unavailable", "the driver is not loaded", _DRIVER),
    Row(("libnvidia-ml.so.1: cannot open",), "gpu-unavailable", "there is no NVIDIA driver on the host", _DRIVER),
    Row(("nvml error: driver not loaded",), "gpu-unavailable", "the NVIDIA driver is not loaded", _DRIVER),
    Row(
        ("nvidia-container-cli", "unknown device"),
        "gpu-unavailable",
        "this machine has no GPU of that number or UUID",
        "choose one that nvidia-smi -L lists, or --gpu all",
    ),
    Row(
        ("unsatisfied condition: cuda",),
        "driver-too-old",
        "the driver is too old for the image's CUDA",
        "update the driver, or choose an image with an older CUDA: prepare-models doctor tells which",
    ),
    Row(
        ("invoking the NVIDIA Container Runtime Hook directly",),
        "gpu-unavailable",
        "on a Jetson the GPU comes through the runtime nvidia only",
        TOOLKIT,
    ),
    Row(
        ("bpf_prog_query(BPF_CGROUP_DEVICE) failed",),
        "gpu-unavailable",
        "a rootless engine can't set device rules",
        "use CDI, or: sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups --in-place",
    ),
    Row(
        ("FileNotFoundError",),
        "docker-unreachable",
        "no container engine listens here",
        "install Docker or start it: sudo systemctl start docker; run and check work without one: --executor local",
    ),
    Row(
        ("PermissionError",),
        "docker-forbidden",
        "this user may not talk to Docker",
        "run: sudo usermod -aG docker $USER, then log in anew; run and check work without it: --executor local",
    ),
    Row(
        ("Permission denied", "server API version"),
        "docker-forbidden",
        "this user may not talk to Docker",
        "run: sudo usermod -aG docker $USER, then log in anew; run and check work without it: --executor local",
    ),
    Row(
        ("Connection refused",),
        "docker-unreachable",
        "no container engine listens at this address",
        "check DOCKER_HOST and the Docker context (docker context ls), or start Docker: sudo systemctl start docker",
    ),
    Row(
        ("HTTP request to an HTTPS server",),
        "docker-unreachable",
        "the engine speaks TLS and was addressed without",
        _TLS,
    ),
    Row(
        ("client_cert param",),
        "docker-unreachable",
        "DOCKER_TLS_VERIFY is set and the certificates are not there",
        _TLS,
    ),
    Row(
        ("CERTIFICATE_VERIFY_FAILED", "server API version"),
        "docker-unreachable",
        "the engine's certificate is not from the authority in ca.pem, or for another name",
        _TLS,
    ),
    Row(
        ("ALERT", "server API version"),
        "docker-forbidden",
        "the engine does not accept this client's certificate",
        _TLS,
    ),
    Row(
        ("EOF occurred in violation of protocol",),
        "docker-forbidden",
        "the engine broke off, as it does where it does not accept this client's certificate",
        _TLS,
    ),
    Row(
        ("Connection reset by peer", "server API version"),
        "docker-forbidden",
        "the engine broke off, as it does where it does not accept this client's certificate",
        _TLS,
    ),
    Row(
        ("Invalid bind address",),
        "docker-unreachable",
        "DOCKER_HOST is no address",
        "write unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST:PORT",
    ),
    Row(
        ("no such Docker context",),
        "docker-unreachable",
        "DOCKER_CONTEXT names no context of this user",
        "choose one that docker context ls lists, or unset DOCKER_CONTEXT",
    ),
    Row(
        ("not found in known_hosts",),
        "docker-unreachable",
        "the key of the SSH server is not known here",
        "log in there once by hand: ssh USER@HOST",
    ),
    Row(
        ("Authentication failed",),
        "docker-forbidden",
        "the SSH server does not let this user in",
        "see that ssh USER@HOST works without a password: an agent, or a key in ~/.ssh",
    ),
    Row(
        ("Name or service not known",),
        "docker-unreachable",
        "the engine's host has no address",
        "check the name in DOCKER_HOST or in the Docker context (docker context ls)",
    ),
    Row(
        ("Unable to connect to port",),
        "docker-unreachable",
        "no SSH server listens there",
        "check host and port in DOCKER_HOST: ssh://USER@HOST:PORT",
    ),
    Row(
        ("Install paramiko",),
        "docker-unreachable",
        "an ssh:// address needs the Python package paramiko",
        "pip install 'prepare-models[ssh]', and give user and port: ssh://user@host:22",
    ),
    Row(
        ("BrokenPipeError",),
        "docker-unreachable",
        "the connection to the engine's host was not made",
        "check that ssh to it works without a password, and that docker is installed there",
    ),
    Row(
        ("server API version",),
        "docker-unreachable",
        "the container engine does not answer",
        "check DOCKER_HOST and the Docker context (docker context ls)",
    ),
    Row(
        ("No such image",),
        "image-missing",
        "the engine does not have the image",
        "prepare-models image build, or: image pull, image load",
    ),
    Row(
        ("no basic auth credentials",),
        "registry-refused",
        "the registry wants a log-in",
        "docker login REGISTRY; for nvcr.io the user is $oauthtoken and the password an NGC API key",
    ),
    Row(
        ("nauthorized",),
        "registry-refused",
        "the registry refused the log-in",
        "docker login REGISTRY; for nvcr.io the user is $oauthtoken and the password an NGC API key",
    ),
    Row(
        ("pull access denied",),
        "registry-refused",
        "the registry has no such image, or wants a log-in",
        "check the image's name; then docker login REGISTRY; for nvcr.io the user is $oauthtoken and the password an "
        "NGC API key",
    ),
    Row(("manifest unknown",), "image-missing", "the registry has no image of that name", "check name and tag"),
    Row(
        ("no such host",),
        "registry-unreachable",
        "the registry's name can't be resolved",
        "check network, DNS and the daemon's proxy; without a network: prepare-models image load",
    ),
    Row(
        ("dial tcp",),
        "registry-unreachable",
        "the registry does not answer",
        "check network, firewall and the daemon's proxy; without a network: prepare-models image load",
    ),
    Row(
        ('exec: "python3"', "executable file not found in $PATH"),
        "image-unfit",
        "the image has no python3",
        "build it anew: prepare-models image build",
    ),
    Row(
        ("exec: ", "permission denied"),
        "image-unfit",
        "this user may not start the image's python3",
        "build it anew: prepare-models image build",
    ),
    Row(
        ("unable to find user",),
        "image-unfit",
        "the image names a user that it does not have",
        "build it anew: prepare-models image build; where an own base names a user, give it as uid:gid",
    ),
    Row(
        ("exec format error",),
        "image-unfit",
        "the image is for another architecture",
        "build or pull the image of this platform: prepare-models doctor names it",
    ),
    Row(
        ("bind source path does not exist",),
        "docker-remote",
        "the engine does not see this machine's files",
        "a loopback address stands for an engine on this machine; call another one by its name, and files are sent",
    ),
    Row(
        ("error setting rlimit",),
        "docker-refused",
        "the engine may not raise a limit that its configuration asks for",
        "remove default-ulimits from /etc/docker/daemon.json",
    ),
    Row(
        ("Minimum memory limit allowed",),
        "docker-refused",
        "the memory limit is too small for a container",
        "raise --memory",
    ),
    Row(
        ("no space left on device",),
        "disk-full",
        "the engine's disk is full",
        "free space: docker system df, docker image prune",
    ),
    Row(
        ("could not find bridge",),
        "docker-refused",
        "the engine's network bridge is gone, as a second daemon with --bridge=none removes it",
        "restart Docker: sudo systemctl restart docker",
    ),
    Row(
        ("invalid tar header",),
        "archive-damaged",
        "the image archive is damaged",
        "copy it again and compare its sha256",
    ),
    Row(
        ("unexpected EOF",), "archive-damaged", "the image archive is cut short", "copy it again and compare its sha256"
    ),
)


def explain(text: str) -> ContainerError:
    """Return the error for what an engine said; its own words stay in the message."""
    words = " ".join(text.split())[:600]
    for row in ROWS:
        if all(part in text for part in row.parts):
            return ContainerError(row.code, f"{row.meaning} ({words})", hint=row.fix)
    return ContainerError(
        "docker-refused", f"the container engine refused: {words}", hint="see its log: journalctl -u docker"
    )


def lost(text: str) -> ContainerError:
    """Return the error for an engine that answered before and does not any more."""
    words = " ".join(text.split())[:300]
    return ContainerError(
        "docker-lost",
        f"the container engine went away in mid-work ({words})",
        hint="see that it is up (docker info), then run again: what is done is kept",
    )
