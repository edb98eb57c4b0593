"""Sweeps written to the store without a registry: the same audits and ledger, with arbitrary times."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from auditor.codec.descriptors import Descriptor
from auditor.core.digests import Digest
from auditor.core.limits import DEFAULT
from auditor.core.owner_options import OwnerOptions
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import ledger, queries, withdrawn
from auditor.fleet.store.audits import ImageRows, save_images
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.fleet.store.observations import stored_repositories
from auditor.fleet.store.presence import RepositoryContents
from auditor.fleet.store.rows import SweepRow
from auditor.images.resolve import open_target
from auditor.pipeline import Audit, Request, audit_image
from auditor.scan import Scanner
from auditor.store.records import Records
from tests.images import OCI, Built, image, layer, step, token, whiteout

REGISTRY = "registry.example.com"
CREATED = "2026-11-24T06:00:00Z"
POLICY = Policy(datetime.date(2026, 11, 24))
"""No owners, and the default due dates."""
OWNERS = {
    f"{REGISTRY}/shop/**": OwnerOptions("shop"),
    f"{REGISTRY}/team/**": OwnerOptions("web"),
    f"{REGISTRY}/**": OwnerOptions("platform"),
}
OWNED = Policy(POLICY.today, Owners(OWNERS))
"""Three owners of the repositories of `story`."""
Content = Mapping[str, Mapping[str, Built]]
"""Images by repository and tag; an empty tag stands for an image that no tag leads to."""


@dataclass
class Stored:
    """Keeps sweeps in a store. Images that were audited once are not audited again."""

    store: SweepStore
    scanner: Scanner
    folder: Path
    _audits: dict[tuple[str, int], Audit] = field(default_factory=dict)

    def sweep(
        self,
        day: str,
        content: Content,
        *,
        failed: Sequence[tuple[str, str]] = (),
        registry: str = REGISTRY,
        pullable: bool | None = False,
        filter_text: str | None = None,
    ) -> SweepRow:
        """Keep a sweep; `pullable` is what the registry says of the images that no tag names any more."""
        started, scope = f"{day}T05:00:00Z", ("1" if filter_text else "0") * 64
        sweep = ledger.begin_sweep(self.store, registry, scope, self.scanner.ruleset.digest, started, filter_text)
        for repository, tagged in content.items():
            number = stored_repositories(self.store, registry, [repository])[0].id
            tags: dict[str, str] = {}
            for tag, built in tagged.items():
                audit = self._audit(registry, repository, built)
                digest = str(audit.image.digest)
                leaf = Descriptor(OCI + "manifest.v1+json", Digest(digest), 1, {}, None)
                rows = ImageRows.of(audit, leaf, number, "key", sweep)
                self.store.write(lambda c, rows=rows: save_images(c, sweep, [rows]))  # type: ignore[misc]
                tags[tag or digest] = digest
            seen = RepositoryContents(tags, tags, set(tags.values()), tags)
            found = withdrawn.save_contents(self.store, sweep, number, seen)
            answers = dict.fromkeys(found, pullable)
            withdrawn.save_withdrawn(self.store, sweep, number, answers, found, complete=True)
        ledger.save_failures(self.store, sweep, failed)
        ledger.finish_sweep(self.store, sweep, f"{day}T05:10:00Z", queries.counts(self.store, sweep.id))
        return next(row for row in queries.sweeps(self.store) if row.id == sweep.id)

    def _audit(self, registry: str, repository: str, built: Built) -> Audit:
        key = (repository, id(built))
        if key not in self._audits:
            source = Records(self.scanner, StoredRecords(self.store))
            folder = built.oci_folder(self.folder / f"image{len(self._audits)}")
            found = open_target(str(folder), DEFAULT)[0]
            target = f"docker://{registry}/{repository}@{found.digest}"
            named = replace(found, target=target, transport="docker", names=(target,))
            self._audits[key] = audit_image(named, self.scanner, Request(), source)
        return self._audits[key]


def service(name: str, *secrets: str, hidden: int = 0, architecture: str = "amd64", shared: str = "") -> Built:
    """An image whose secrets come in one layer; the first `hidden` of them are deleted by the next.

    `shared` comes in a layer of its own, which images with the same one share.
    """
    files = {f"srv/{name}/config-{number}.env": f"TOKEN={secret}\n" for number, secret in enumerate(secrets)}
    history = [step("/bin/sh -c #(nop) ADD file:5d1ac in / ")]
    layers = [layer({"etc/os-release": "ID=planted\n"})]
    if shared:
        layers.append(layer({"root/.netrc": f"machine example.com password {shared}\n"}))
        history.append(step("COPY .netrc /root/.netrc # buildkit", comment="buildkit.dockerfile.v0"))
    layers.append(layer({f"srv/{name}/main.py": "print()\n", **files}))
    history.append(step(f"COPY . /srv/{name} # buildkit", comment="buildkit.dockerfile.v0"))
    if hidden:
        layers.append(layer(*(whiteout(path) for path in list(files)[:hidden])))
        history.append(step("RUN /bin/sh -c rm -f config-*.env # buildkit", comment="buildkit.dockerfile.v0"))
    return image(*layers, history=history, architecture=architecture)


@dataclass(frozen=True)
class Site:
    """A dashboard that was written, and what it was made of. Nobody changes it."""

    folder: Path
    store: SweepStore
    sweep: SweepRow


TEMPLATES = ("ghp_{base62:30}{crc32}", "glpat-{base64url:20}", "xoxb-{digits:12}-{digits:13}-{base62:24}")


def story(stored: Stored) -> SweepRow:
    """Seven sweeps of a registry of four repositories: secrets come, are shared, rotated, go; one tag fails in the end.

    The secret token(900) is held by six images of three repositories in the last sweep.
    """
    common = token(900)
    old = service("checkout", token(901), token(902, TEMPLATES[1]), hidden=1, shared=common)
    new = service("checkout", token(903), shared=common)
    arm = service("checkout", token(903), shared=common, architecture="arm64")
    web = [service(f"web{n}", token(910 + n, TEMPLATES[n % 3]), hidden=n % 2, shared=common) for n in range(3)]
    job = service("job", token(920), token(921, TEMPLATES[2]), hidden=2)
    clean = service("docs")
    shop, team = "shop/checkout", "team/web"
    stored.sweep("2026-02-01", {shop: {"1.0": old}, "docs": {"latest": clean}})
    stored.sweep("2026-05-20", {shop: {"1.0": old, "1.1": old}, "docs": {"latest": clean}, "batch/job": {"1": job}})
    many = {shop: {"1.0": old}, team: {"1": web[0]}, "docs": {"latest": clean}, "batch/job": {"1": job}}
    stored.sweep("2026-09-01", many)
    for day in ("2026-11-01", "2026-11-20", "2026-11-23"):
        stored.sweep(day, {**many, team: {"1": web[0], "2": web[1]}})
    return stored.sweep(
        "2026-11-24",
        {
            shop: {"1.0": old, "2.0": new, "2.0-arm": arm, "latest": new},
            team: {"1": web[0], "2": web[1], "3": web[2]},
            "docs": {"latest": clean},
            "batch/job": {"2": service("job", token(920))},
        },
        failed=[("vendor/blob:9", "layer sha256:00ff… was cut short after 3 tries")],
    )
