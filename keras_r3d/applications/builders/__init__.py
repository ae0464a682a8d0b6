"""Networks, built layer by layer."""
