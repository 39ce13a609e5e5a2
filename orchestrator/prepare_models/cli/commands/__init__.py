"""One module for each command; ``main`` takes the parsed arguments and returns the exit status."""
