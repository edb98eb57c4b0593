"""Layers that images use. Images hold the ids of their layers as bytes, which SQL can't join."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from auditor.fleet.store import schema as t

_ROWS = 10_000
"""Rows in memory at a time."""


def used_layers(connection: Connection, *where: Any) -> bytearray:
    """Return a byte for each layer id, 1 if an image that fulfils the conditions has the layer, else 0."""
    last = connection.execute(select(func.max(t.layer.c.id))).scalar() or 0
    used = bytearray(last + 1)
    query = select(t.image.c.layers).where(*where).execution_options(yield_per=_ROWS)
    for layers in connection.execute(query).scalars():
        for layer in layers:
            used[layer] = 1
    return used
