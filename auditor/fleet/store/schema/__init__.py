"""The tables of the store. Times are RFC 3339 in UTC, to the second; sweeps are numbered upwards.

    repository ─┬─ tag ─────── manifest ── leaf          what a tag names, and which images that holds
                └─ image ─┬─ finding, report             what an image holds, and since when
                          └─ image_layer ── layer ── record
    sweep ─┬─ failure                                    what it could not audit
           └─ seen_image, seen_tag, withdrawn            what it saw; of sweeps of the same, the newest's alone
    lease                                                who sweeps, and who watches

Tags, images and findings are *there* from the sweep `since` on, up to `gone_in`. A tag is gone from the sweep that
looked and did not find it; an image, with its findings, from the sweep to which the registry said that its digest is
deleted. Between the two it is *withdrawn*: no tag names it, and it can be pulled. A sweep that did not look, at a part
of the registry or for a failure, leaves rows as they are. `since` starts anew where something comes back, and
`first_seen` does not.

No column holds a secret: `secret` is an HMAC under the store's own key, texts are masked.
"""

from auditor.fleet.store.schema.columns import metadata
from auditor.fleet.store.schema.holdings import (
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
from auditor.fleet.store.schema.sweeps import failure, lease, secret_key, seen_image, seen_tag, sweep, withdrawn

__all__ = [
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
