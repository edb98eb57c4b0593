"""Remedies for findings: revoke the secret, fix the build, flatten the image.

This package must not know report formats or carry out a remedy itself.
"""
