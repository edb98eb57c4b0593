"""Formats of bytes: compression, tar headers, digests. Knows neither images nor rules."""
