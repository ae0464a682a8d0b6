"""Measures speed and memory, as ratios within one interleaved run."""
