"""A whole registry: what is new in it since the last time.

    catalog ─► sweep ─► engine (layers to records) ─► audit ─► store ─► output, dashboard, notify
    tags, indexes       local threads, or Dask                 queries

    sweep.py                 the pipeline: read this first; order.py: what is asked for; layers.py: each layer once
    catalog.py               which repositories and tags a sweep looks at; survey.py: what they hold now
    candidates.py            a tag's manifest to images; recent.py: no document is fetched twice
    engine.py                the `Engine` protocol: a layer in, its record out; local.py is the one of this machine
    concurrency.py           how many requests at a time; images/retry.py: retries, and the rate
    schema/, migrations/     the tables of the store, and how older ones become them
    store.py                 opens it; runs a transaction again while the database is away
    ledger.py, spans.py      write what a sweep sees; withdrawn.py: images without a tag, and what is gone; retention.py
    manifests.py             what is known of indexes and tags; records.py: of layers
    lease.py                 one sweep and one watch of the same at a time
    queries.py               what is new, gone, shared: all that is shown comes from here (statements.py: its SQL)
    watch.py                 sweeps on a schedule.py, with health.py, metrics.py, logs.py and notify.py
    output.py                the table and the JSON
    dashboard/               the static site

It needs the extra `fleet`.
"""
