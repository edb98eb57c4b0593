"""Config file and options, merged once into a frozen `AuditOptions`.

This package knows nothing of scans, reports and the command line: it only builds the values they take.
"""
