"""Seeds of one architecture, trained as one network."""
