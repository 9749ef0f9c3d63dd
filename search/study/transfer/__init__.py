"""Trials that another study, or an older space, left: what of them serves here."""
