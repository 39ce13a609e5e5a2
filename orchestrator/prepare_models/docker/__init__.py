"""Container engines: the Docker SDK, images, the GPU's way into a container."""
