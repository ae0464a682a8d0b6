"""A trained model of any kind, ready to score clips."""
