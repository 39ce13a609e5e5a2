"""What this machine is, and which platform fits it."""
