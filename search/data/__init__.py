"""The images: where they come from, their splits, and the door of the test set."""
