"""Builds the engine of a model, then launches its Isaac ROS node."""
