"""Export to SavedModel, with signatures of its own, and what a server wants beside it."""
