"""Files of weights, ours and of PyTorch: opened, identified, loaded, converted."""
