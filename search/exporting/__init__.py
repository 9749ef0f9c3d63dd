"""What a network needs to live without this project: source, weights, ONNX, a card."""
