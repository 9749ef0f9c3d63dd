"""Trains one network by a recipe and validates every epoch."""
