"""Modules that torch does not have: deskewing, rotated convolutions, test-time augmentation."""
