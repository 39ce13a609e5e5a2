"""The convert stage: from a model file to an engine file, in a separate child process."""
