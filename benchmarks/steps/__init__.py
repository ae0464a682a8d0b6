"""A training step, ours and PyTorch's."""
