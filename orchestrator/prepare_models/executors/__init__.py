"""Where models are built: in this Python, in containers, or on a farm. Another way is one more row here."""

FARM = "dask"  # the one with --scheduler

# Name, and module and class, which is created from the command line's options.
EXECUTORS = {
    "local": ("local", "LocalPython"),
    "docker": ("docker", "Docker"),
    FARM: ("farm", "Farm"),
}
NAMES = ("auto", *EXECUTORS)
