"""What the orchestrator and the entrypoint exchange: a job in, events and a report out.

Standard library only, Python 3.8 and later. The orchestrator imports this package and nothing else of the entrypoint.
This module imports nothing, so that a process that only fetches files loads nothing about engines.
"""
