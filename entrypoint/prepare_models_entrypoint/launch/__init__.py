"""The script that all child processes start with. Add nothing here: Python imports from this directory first."""
