"""Values (digests, entries, findings), errors, limits, text, atomic files, process settings, progress.

This package imports no other package of the project, and knows nothing of images beyond its values.
"""
