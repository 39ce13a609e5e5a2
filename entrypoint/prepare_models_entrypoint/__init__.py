"""The half of prepare-models that runs with TensorRT: fetch, convert, inspect. Python 3.8 to 3.13."""
