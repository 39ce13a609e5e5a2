"""Engines that were built, each once, by its build key: of this user, and of a team in a shared store."""

PLAN = "model.plan"
CALIBRATION = "calibration.cache"
FILES = (PLAN, CALIBRATION)  # of an engine in a store
