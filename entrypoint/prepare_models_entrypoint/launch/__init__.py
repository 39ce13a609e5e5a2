"""The one script that child processes start with. Add nothing here: Python imports from this directory first."""
