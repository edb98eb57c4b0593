"""Detection: search bytes for all rules, confirm hits as matches, judge plausibility.

This package does not know layers, archives or images: it gets bytes and a path.
"""
