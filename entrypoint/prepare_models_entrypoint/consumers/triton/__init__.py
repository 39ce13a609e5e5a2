"""Triton: config.pbtxt, and what its TensorRT backend loads."""
