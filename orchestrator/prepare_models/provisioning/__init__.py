"""Engines behind directories that consumers read: built and judged aside, switched to and taken back in one step."""
