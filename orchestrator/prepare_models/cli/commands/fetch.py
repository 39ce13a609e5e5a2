"""``prepare-models fetch``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...running import child
from ..options import add, add_output, positive, seconds, share

EXAMPLE = """\
example:
  prepare-models fetch ngc://nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0 --output models
  prepare-models fetch https://example.com/models.tar.gz!inner/model.onnx#sha256=HEX --output models

A SOURCE is a path, an https://, ngc:// or s3:// URL, any URL that NGC's pages show, or a member of an archive.

exit status: 0 all bytes are there and verified, 1 a source failed, 2 usage error, 3 DIR can't be used,
70 a bug, 130 interrupted
"""


def add_arguments(fetch: argparse.ArgumentParser) -> None:
    """Add what ``fetch`` takes."""
    add(fetch, "sources", "what to fetch; #sha256=HEX pins it", "SOURCE", nargs="+")
    add(fetch, "--output -o", "directory for the files", Path, required=True, metavar="DIR")
    add(fetch, "--connections", "parallel downloads (default 16)", positive, default=16)
    add(fetch, "--attempts", "consecutive failures without progress before giving up (default 5)", positive)
    add(fetch, "--stall-timeout", "seconds without data before a retry (default 30)", seconds)
    add(fetch, "--headers-file", "file of 'Name: value' headers for https sources", Path)
    share(fetch, "--ngc-key-file")
    add_output(fetch)


def main(arguments: argparse.Namespace) -> int:
    """Fetch the sources into a directory; succeed only if all bytes are verified."""
    with child.fetch_child() as started:  # first: what it imports takes longer than what is imported here
        from ..fetching import fetched

        return fetched(arguments, started)
