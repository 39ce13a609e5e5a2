"""DeepStream."""
