"""Ended trials told to other tools: MLflow, TensorBoard."""
