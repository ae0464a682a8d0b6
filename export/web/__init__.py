"""A page in which a network runs in the browser."""
