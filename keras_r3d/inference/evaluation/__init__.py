"""Scores of labeled videos, their figures and intervals, and the folder of results."""
