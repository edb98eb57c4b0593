"""Remediation: owners of secrets, acknowledgements, due dates, and the work that a sweep leads to.

    owners              owner of a repository, by the globs of the config file
    policy              owners, due dates and today's date: everything besides the store that the rest depends on
    open_secrets        secrets of a sweep with owners, due date and acknowledgement
    locations           every repository, tag and digest of one secret: `registry where`
    plan                secrets to revoke, tags to rebuild, digests to delete: `registry plan`
    plan_text           the same as text and JSON
    json_text           text of JSON documents with long lists
    trends              open secrets of past sweeps by owner and age

It reads the store, and must not know how sweeps are run or how results are delivered.
"""
