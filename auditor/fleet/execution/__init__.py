"""Execution of one sweep: scan each new layer once, on this machine or on a Dask cluster, and audit each new image.

It must not know schedules, notifications or the dashboard.
"""
