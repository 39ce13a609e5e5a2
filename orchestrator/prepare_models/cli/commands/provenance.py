"""``prepare-models provenance``."""

from __future__ import annotations

import argparse
import json

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...reports import text
from ...signing import statements


def main(arguments: argparse.Namespace) -> int:
    """Sign the statements of engines, or check them."""
    folders = [folder for place in arguments.places for folder in statements.directories(place)]
    if arguments.action == "sign":
        signer = statements.private_key(arguments.key, arguments.password_file)
        findings = [statements.sign(folder, signer) for folder in folders]
    else:
        key = statements.public_key(arguments.key) if arguments.key else None
        findings = [statements.verify(folder, key) for folder in folders]
    if arguments.json:
        text.write(json.dumps({"engines": [finding.to_dict() for finding in findings]}, indent=2))
    else:
        rows = [(finding.model, "good" if finding.good else "BAD", finding.told) for finding in findings]
        text.write(text.table(("MODEL", "VERDICT", "FINDING"), rows))
    return EXIT_OK if all(finding.good for finding in findings) else EXIT_MODEL_FAILED
