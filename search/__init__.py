"""The commands and the engine of the search."""
