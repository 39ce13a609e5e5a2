"""Signatures of bundles, locks, key lists and statements of provenance, all as DSSE envelopes by trusted keys."""
