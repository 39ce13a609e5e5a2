"""Container engines: the Docker SDK, images, and how a container gets a GPU."""
