"""The Python API: `from auditor import audit`.

This package knows nothing of the command line.
"""
