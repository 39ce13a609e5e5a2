"""Triton Inference Server."""
