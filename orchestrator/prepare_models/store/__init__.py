"""Engines that were built, each once, by its build key: of this user, and of a team in a shared store."""
