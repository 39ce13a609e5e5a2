"""A farm: machines of several device classes that build for each other, with Dask's distributed between them."""
