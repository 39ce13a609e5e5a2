"""Where models are built: in this Python, or in containers. A further way is one more row here."""

# Its name, and module and class of the environment, which is made from the command line's options.
EXECUTORS = {
    "local": ("local", "LocalPython"),
    "docker": ("docker", "Docker"),
}
NAMES = ("auto", *EXECUTORS)
