"""Reports of audited images: one module a format, and the table of formats (`formats.REPORT_FORMATS`).

This package must not know how findings are made, nor where a report is written.
"""
