"""``prepare-models provenance``."""

from __future__ import annotations

import argparse
import json

from .. import signing
from ..errors import EXIT_MODEL_FAILED, EXIT_OK
from ..views import text


def main(arguments: argparse.Namespace) -> int:
    """Sign the statements of engines, or check them."""
    folders = [folder for place in arguments.places for folder in signing.directories(place)]
    if arguments.action == "sign":
        signer = signing.private_key(arguments.key, arguments.password_file)
        findings = [signing.sign(folder, signer) for folder in folders]
    else:
        key = signing.public_key(arguments.key) if arguments.key else None
        findings = [signing.verify(folder, key) for folder in folders]
    if arguments.json:
        text.write(json.dumps({"engines": [finding.to_dict() for finding in findings]}, indent=2))
    else:
        rows = [(finding.model, "good" if finding.good else "BAD", finding.told) for finding in findings]
        text.write(text.table(("MODEL", "VERDICT", "FINDING"), rows))
    return EXIT_OK if all(finding.good for finding in findings) else EXIT_MODEL_FAILED
