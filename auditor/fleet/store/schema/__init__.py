"""Tables of the store. Times are RFC 3339 in UTC, to the second; numbers of sweeps only grow.

    repository ─┬─ tag ─────── manifest ── leaf          tags, their manifests, and the images listed in those
                └─ image ─┬─ finding, report             audited images and their findings
                          └─ image_layer ── layer ── record
    sweep ─┬─ failure                                    references that a sweep could not audit
           └─ seen_image, seen_tag, withdrawn            images and tags of the newest sweep of each kind
    acknowledgement ── acknowledged_repository           secrets that the user acknowledged
    alert                                                secrets that receivers know of
    lease                                                running sweeps and watches

Tags, images and findings have a *presence interval*: they are present from the sweep `present_since` up to the sweep
`absent_since`. A tag becomes absent in the first sweep that looked for it and did not find it. An image, with its
findings, becomes absent once the registry reports its digest as deleted. An image without a tag that can still be
pulled is *withdrawn*. A sweep leaves rows unchanged that it did not look for, because of a filter or a failure.
`present_since` restarts when a row returns; `first_seen` never changes.

No column holds a secret: `secret` is an HMAC under the key of the store, texts are masked.
"""

from auditor.fleet.store.schema.columns import metadata
from auditor.fleet.store.schema.contents import (
    finding,
    image,
    image_layer,
    layer,
    leaf,
    manifest,
    record,
    report,
    repository,
    tag,
)
from auditor.fleet.store.schema.remediation import acknowledged_repository, acknowledgement, alert
from auditor.fleet.store.schema.sweeps import failure, lease, secret_key, seen_image, seen_tag, sweep, withdrawn

__all__ = [
    "acknowledged_repository",
    "acknowledgement",
    "alert",
    "failure",
    "finding",
    "image",
    "image_layer",
    "layer",
    "leaf",
    "lease",
    "manifest",
    "metadata",
    "record",
    "report",
    "repository",
    "secret_key",
    "seen_image",
    "seen_tag",
    "sweep",
    "tag",
    "withdrawn",
]
