"""Values (digests, entries, findings), errors, limits, text, atomic files, process settings, progress.

It imports no other package of the project.
"""
