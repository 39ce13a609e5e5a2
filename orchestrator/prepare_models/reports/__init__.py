"""Reports in forms for people."""
