"""Files inside files, and text inside encodings. Knows bytes and names; neither images nor rules."""

from auditor.unpack.unpacker import Piece, Unpacker

__all__ = ["Piece", "Unpacker"]
