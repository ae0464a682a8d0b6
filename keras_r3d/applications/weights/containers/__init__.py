"""Containers of tensors in files: of PyTorch, safetensors, NumPy and TensorFlow, read without them."""
