"""Long-running service around sweeps: schedule, health endpoint, metrics, logs, and notifications.

It must not know how a sweep works: it receives a function that runs one.
"""
