"""Measures from stored scores, in numpy and scipy only; no models, no torch."""
