"""Everything that reads or changes ONNX graphs."""
