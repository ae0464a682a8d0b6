"""Decoding every video to its end, and what that shows."""
