"""The convert stage: from a model file to a plan file, in a child process of its own."""
