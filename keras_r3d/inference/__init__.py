"""Scoring videos with a trained model."""
