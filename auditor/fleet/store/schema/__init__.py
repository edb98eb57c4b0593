"""Tables of the store. Times are RFC 3339 in UTC, to the second; numbers of sweeps only grow.

    repository ─┬─ tag ─────── manifest ── leaf          tags, their manifests, and the images listed in those
                └─ image ─┬─ finding, report             audited images and their findings
                          └─ layer ── record             image.layers has the ids of its layers
    sweep ─┬─ failure                                    references that a sweep could not audit
           ├─ withdrawn                                  images without a tag, of the newest sweep of each kind
           └─ seen ── observation ─┬─ observed_tag       tags and images of a repository, as the newest sweep of each
                                   └─ observed_image     kind saw them
    acknowledgement ── acknowledged_repository           secrets that the user acknowledged
    alert                                                secrets that receivers know of
    lease                                                running sweeps and watches

Tags, images and findings have a *presence interval*: they are present from the sweep `present_since` up to the sweep
`absent_since`. A tag becomes absent in the first sweep that looked for it and did not find it. An image, with its
findings, becomes absent once the registry reports its digest as deleted. An image without a tag that can still be
pulled is *withdrawn*. A sweep leaves rows unchanged that it did not look for, because of a filter or a failure.
`present_since` restarts when a row returns; `first_seen`, of images and findings, never changes.

An *observation* is shared by all sweeps of a kind (same registry, same options) that found the repository unchanged.
They do not update its tags and images: the last sweep that saw these is the last one that refers to the observation.
Once no sweep refers to it, it is deleted, and that sweep becomes the `last_seen` of the rows. Observations name tags
and images without a foreign key, which would need an index: only rows without an observation are deleted.

No column holds a secret: `secret` is an HMAC under the key of the store, texts are masked.

What one database alone has is in the migrations: SQLite's tables without rowid, and the condition of ix_leaf_digest in
PostgreSQL, which leaves out manifests that list themselves. To say so here would import the dialects of both.
"""

from auditor.fleet.store.schema.columns import metadata
from auditor.fleet.store.schema.contents import (
    finding,
    image,
    layer,
    leaf,
    manifest,
    record,
    report,
    repository,
    tag,
)
from auditor.fleet.store.schema.remediation import acknowledged_repository, acknowledgement, alert
from auditor.fleet.store.schema.sweeps import (
    failure,
    lease,
    observation,
    observed_image,
    observed_tag,
    secret_key,
    seen,
    sweep,
    withdrawn,
)

__all__ = [
    "acknowledged_repository",
    "acknowledgement",
    "alert",
    "failure",
    "finding",
    "image",
    "layer",
    "leaf",
    "lease",
    "manifest",
    "metadata",
    "observation",
    "observed_image",
    "observed_tag",
    "record",
    "report",
    "repository",
    "secret_key",
    "seen",
    "sweep",
    "tag",
    "withdrawn",
]
