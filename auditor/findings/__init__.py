"""Findings: matches with their image context (state, history of the path, package), masks, selection and baselines.

This package must not know report formats, the pipeline or the command line.
"""
