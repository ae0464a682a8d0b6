"""Exported models, ours and as others export them."""
