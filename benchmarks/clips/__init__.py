"""Training clips, ours and others'."""
