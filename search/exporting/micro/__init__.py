"""A network for a microcontroller: TensorFlow Lite files, and C that needs nothing else."""
