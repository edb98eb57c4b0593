"""One module a report format.

This package knows nothing of how findings are made.
"""
