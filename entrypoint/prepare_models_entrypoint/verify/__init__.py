"""Does the engine say what its source model says? Numbers for each output, and a verdict."""
