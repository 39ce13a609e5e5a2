"""prepare-models: from a manifest of pretrained networks to TensorRT engines for this machine."""

__version__ = "0.1.0"
