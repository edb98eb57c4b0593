"""Canaries where services take part."""

LINES: tuple[str, ...] = ("registry scan", "registry watch", "registry report")
