"""Scores of videos and cameras, of one model or several, as tables, files and annotated copies."""
