"""Dockerfiles: parsed, checked before the build, and laid beside an image's history. `check.py` is the way in."""
