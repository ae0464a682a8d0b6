"""Scores of labelled videos, their figures and intervals, and the folder of results."""
