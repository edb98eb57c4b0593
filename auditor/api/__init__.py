"""The Python API, and the steps that it shares with the command line.

This package knows nothing of terminals, click and exit codes.
"""
