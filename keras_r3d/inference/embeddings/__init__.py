"""Vectors of videos: files of them, neighbors, linear classifiers."""
