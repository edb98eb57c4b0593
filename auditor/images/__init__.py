"""Where images come from: one module a transport, each giving `source.Image` values."""
