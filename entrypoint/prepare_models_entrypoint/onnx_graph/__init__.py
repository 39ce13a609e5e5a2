"""ONNX graphs: reading them, changing their types and nodes, and what shows a graph's precision."""
