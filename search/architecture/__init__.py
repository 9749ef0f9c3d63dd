"""The language that space.py speaks: layers, candidates, counting, building."""
