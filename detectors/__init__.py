# bugzoo
"""Detector strategies, one a file. `bugzoo list detectors` shows them all."""
