"""What can be fetched: one module for each kind of source."""
