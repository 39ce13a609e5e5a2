"""Wrap the tar of a root file system as an archive for ``docker load``.

``docker import --platform`` of Engine 20.10 records the daemon's own architecture; this records a given one.
"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

ENV = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    "PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
]


def main(rootfs: str, tag: str, arch: str, out: str) -> None:
    """Write the archive."""
    hashed = hashlib.sha256()
    with open(rootfs, "rb") as stream:
        while chunk := stream.read(1 << 20):
            hashed.update(chunk)
    digest = hashed.hexdigest()
    config = {
        "architecture": arch,
        "os": "linux",
        **({"variant": "v8"} if arch == "arm64" else {}),
        "config": {"Env": ENV, "Cmd": ["/bin/bash"]},
        "created": "1970-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    raw = json.dumps(config, sort_keys=True).encode()
    name = hashlib.sha256(raw).hexdigest() + ".json"
    layer = f"{digest}/layer.tar"
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": [layer]}]).encode()
    with tarfile.open(Path(out), "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, content in ((name, raw), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        archive.add(rootfs, layer)


if __name__ == "__main__":
    main(*sys.argv[1:])
