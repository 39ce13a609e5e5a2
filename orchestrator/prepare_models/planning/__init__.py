"""What a run will do for each model, and why."""
