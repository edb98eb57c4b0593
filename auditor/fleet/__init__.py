"""A whole registry: what is new in it since the last time.

    catalog ─► sweep ─► engine (layers to records) ─► audit ─► store ─► output, dashboard, notify
    tags, indexes       local threads, or Dask                 queries

    schema.py, migrations/   the tables of the store, and how older ones become them
    store.py                 opens it; runs a transaction again while the database is away
    ledger.py                writes what a sweep sees
    manifests.py             what is known of indexes and tags; records.py: of layers
    queries.py               what is new, gone, shared: all that is shown comes from here (statements.py: its SQL)
    engine.py                the `Engine` protocol: a layer in, its record out; local.py is the one of this machine
    catalog.py               which repositories and tags a sweep looks at; survey.py: what they hold now
    sweep.py                 the pipeline: read this first; layers.py: each layer once
    output.py                the table and the JSON
    dashboard/               the static site

It needs the extra `fleet`.
"""
