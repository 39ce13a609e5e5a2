"""Where models are built: in this Python, or in containers. Another way is one more row here."""

# Name, and module and class of the environment, which is created from the command line's options.
EXECUTORS = {
    "local": ("local", "LocalPython"),
    "docker": ("docker", "Docker"),
}
NAMES = ("auto", *EXECUTORS)
