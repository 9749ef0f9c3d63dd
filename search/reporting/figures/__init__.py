"""Figures and pictures of a report."""
