"""Where a farm is, and whether anybody else can listen or join there."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ..errors import UsageError
from ..executors.options import FarmOptions

_FORM = "tls://HOST:8786, or tcp://127.0.0.1:8786 on one machine"


def checked(options: FarmOptions) -> str:
    """Return the scheduler's address.

    Raises:
        UsageError: it is not one, or leaves this machine without TLS, or the files of TLS are incomplete.
    """
    address = options.scheduler or ""
    parts = urlsplit(address)
    try:
        complete = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        complete = None
    if not complete:
        raise UsageError(f"{address!r} is not the address of a scheduler", hint=f"give --scheduler {_FORM}")
    files = [options.tls_ca, options.tls_cert, options.tls_key]
    if parts.scheme == "tls" and None in files:
        raise UsageError(f"{address} needs certificates", hint="give --tls-ca, --tls-cert and --tls-key")
    for file in filter(None, files):
        if not file.is_file():
            raise UsageError(f"{file} is not a file", hint="give the PEM files of the farm's certificates")
    if parts.scheme == "tcp" and any(files):
        raise UsageError(f"{address} has no TLS", hint=f"write tls://{parts.netloc}")
    if parts.scheme == "tcp" and not is_here(address) and not options.insecure:
        raise UsageError(
            f"{address} leaves this machine without TLS: whoever reaches it could run programs on its machines",
            hint="give tls://, --tls-ca, --tls-cert and --tls-key; --insecure is for a network of the farm's own",
        )
    return address


def is_here(address: str) -> bool:
    """Return whether an address is on this machine, and nobody else reaches it."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
