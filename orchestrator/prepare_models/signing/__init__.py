"""Signatures: of bundles, locks, key lists and statements of provenance. All are DSSE envelopes by trusted keys."""
