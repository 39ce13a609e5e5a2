"""What the orchestrator and the entrypoint say to each other: a job in, events and a report out.

Standard library only, Python 3.8 and later. The orchestrator imports this package and nothing else of the entrypoint.
Nothing is imported here: who fetches a file need not load what describes an engine.
"""
