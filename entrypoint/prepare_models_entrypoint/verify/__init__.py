"""Does the engine compute what its source model computes? Numbers for each output, and a verdict."""
