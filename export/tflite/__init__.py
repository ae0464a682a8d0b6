"""Export to TensorFlow Lite, lowered to operators it is fast at."""
