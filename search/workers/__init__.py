"""Trains trials: one process owns the study, workers here or elsewhere own networks."""
