"""Few videos: embeddings and a linear classifier."""
