"""Containers of tensors: files of PyTorch, safetensors, NumPy and TensorFlow, read without them."""
