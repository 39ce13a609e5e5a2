"""Engines behind directories that consumers read: built and checked separately, switched and rolled back atomically."""
