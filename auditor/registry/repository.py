"""Catalog, tags, manifests and blobs of a registry. Source: OCI distribution-spec v1.1."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import BinaryIO, ClassVar
from urllib.parse import quote, urljoin

from auditor.codec.descriptors import ACCEPT, INDEXES, Descriptor, parse_descriptor
from auditor.codec.hashing import sha256, verified_document
from auditor.codec.json_documents import DocumentBudget, canonical_keys, key_names, parse_json_or_none, parse_object
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import Damaged, ImageError, NotFound, Unreachable, Unsupported
from auditor.core.limits import Limits, limit_note
from auditor.registry.client import Client
from auditor.registry.paging import Page, names_of_pages, next_page
from auditor.registry.reference import Reference
from auditor.registry.retry import RetryBudget

_CATALOG = "registry:catalog:*"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_TAGS = 1000  # of a page
_OCI_ERROR = re.compile(r"HTTP 404: [A-Z]+(?:_[A-Z]+)+\b")
"""A 404 with an error code of the OCI specification, such as NAME_UNKNOWN."""
_KINDS = frozenset(ACCEPT.split(", "))


def repositories(client: Client) -> Iterator[str]:
    """List the catalog, page by page. Raises NotFound or Unauthorized for registries without one, Unreachable."""
    client.authenticate(_CATALOG)  # Quay answers anonymous users with an empty list
    # No n=: Docker's registry refuses a number above its own `catalog.maxentries`.
    yield from _listed(client, "_catalog", _CATALOG, "repositories")


def children(client: Client, name: str) -> tuple[list[str], bool]:
    """Return the names directly below a name, and whether it has manifests of its own; Google's registries only.

    Raises NotFound, Unauthorized, Unreachable, Damaged.
    """
    data, _ = client.document(f"{name}/tags/list", f"repository:{name}:pull")
    document = parse_object(data, f"{client.host}: {name}", client.limits)
    listed = document.get("child")
    if not {"child", "manifest", "tags"} & document.keys() or not isinstance(listed, list | None):
        raise Damaged(f"{client.host}: {name}: the answer has no list of children")
    found = [child for child in listed or () if isinstance(child, str)]
    if len(found) < len(listed or ()):
        raise Damaged(f"{client.host}: {name}: the answer has a child whose name is no text")
    return found, bool(document.get("manifest") or document.get("tags"))


class Repository:
    """Documents and blobs of one repository. `known` caches documents by digest; repositories may share it."""

    def __init__(self, client: Client, name: str, known: MutableMapping[Digest, bytes] | None = None) -> None:
        self.client, self.name = client, name
        self._scope = f"repository:{name}:pull"
        self._known: MutableMapping[Digest, bytes] = {} if known is None else known

    def resolve(self, reference: Reference) -> Descriptor:
        """Fetch the manifest of a tag or digest. Raises NotFound, Damaged."""
        budget = self.client.budget()
        try:
            return budget.run(lambda: self._resolved(reference, budget))
        except NotFound as exc:
            raise NotFound(f"docker://{reference}: no such image ({exc})") from None

    def look_up(self, version: str) -> Digest | None:
        """Return the digest of a tag or digest without fetching its manifest; None if the registry does not state it.

        Raises NotFound, Unauthorized, Unreachable.
        """
        headers = self.client.head(f"{self.name}/manifests/{version}", self._scope, accept=ACCEPT)
        return _digest(headers.get("Docker-Content-Digest", ""))

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch and verify one JSON blob or manifest."""
        data = self._known.get(descriptor.digest)
        if data is None:
            is_manifest = descriptor.media_type in _KINDS
            path = f"{'manifests' if is_manifest else 'blobs'}/{descriptor.digest}"
            accept, budget = ACCEPT if is_manifest else "*/*", self.client.budget()
            data = budget.run(lambda: self._verified(path, accept, descriptor.digest, budget))
            self._known[descriptor.digest] = data
        return data

    def content(self, descriptor: Descriptor) -> RemoteBlob:
        """Return a layer, which is downloaded when it is opened."""
        return RemoteBlob(self, descriptor.digest, descriptor.size)

    def tags(self) -> list[str]:
        """List the valid tags of all pages. Raises NotFound, Unauthorized, Unreachable, Damaged."""
        return [name for name in self.tag_names() if is_tag(name)]

    def tag_names(self) -> list[str]:
        """List the tags of all pages, also invalid ones. Raises the errors of `tags`."""
        path = f"{self.name}/tags/list"
        pages = _UnlinkedPages(path, _TAGS)
        try:
            names = list(_listed(self.client, f"{path}?n={_TAGS}", self._scope, "tags", pages.following))
        except Unsupported:  # the registry allows smaller pages only
            names = list(_listed(self.client, path, self._scope, "tags"))
        return list(dict.fromkeys(names))

    def referrers(self, digest: Digest) -> list[Referrer]:
        """List the referrers of a manifest, from the fallback tag if the registry has no API for them.

        Raises Unreachable, Damaged.
        """
        what = f"{self.client.host}/{self.name}: referrers of {digest}"
        base, path = f"{self.client.origin}/v2/", f"{self.name}/referrers/{digest}"
        try:
            data, headers = self.client.document(path, self._scope, accept=ACCEPT)
        except (NotFound, Unreachable) as exc:
            if not _lacks_referrers(exc, self.client.host):
                raise
            return self.tagged_referrers(digest)
        if not _is_index(data, headers, self.client.limits):
            return self.tagged_referrers(digest)
        found, seen = list[Referrer](), {path}
        budget = DocumentBudget(what, self.client.limits)
        while True:
            found += _referrers(budget.add(data, parsed=True), what, self.client.limits)
            path = next_page(urljoin(base, path), headers.get("Link", ""), what)
            if not path:
                return found
            if path in seen:
                raise Damaged(f"{what}: the list repeats a page")
            seen.add(path)
            if len(seen) > self.client.limits.registry_pages:
                note = limit_note("registry-pages")
                raise Damaged(f"{what}: more than {self.client.limits.registry_pages} pages {note}")
            data, headers = self.client.document(path, self._scope, accept=ACCEPT)

    def tagged_referrers(self, digest: Digest) -> list[Referrer]:
        """List the referrers in the index with the fallback tag. Raises Unreachable, Damaged."""
        try:
            data, _ = self._document(f"manifests/{referrers_tag(digest)}", ACCEPT, self.client.budget())
        except NotFound:
            return []
        return _referrers(data, f"{self.client.host}/{self.name}:{referrers_tag(digest)}", self.client.limits)

    def open_blob(self, digest: Digest, size: int | None, budget: RetryBudget | None = None) -> BinaryIO:
        """Stream one blob as stored; reads raise Damaged if its size is not the stated one.

        `budget` is the retry budget of the logical request that includes the blob.
        """
        path = f"{self.name}/blobs/{digest}"
        return io.BufferedReader(self.client.open(path, self._scope, size=size, budget=budget), 1 << 16)

    def _resolved(self, reference: Reference, budget: RetryBudget) -> Descriptor:
        data, headers = self._document(f"manifests/{reference.version}", ACCEPT, budget)
        media_type = headers.get("Content-Type", "").partition(";")[0].strip()
        # Docker's schema 1 states the digest of the manifest without its signature.
        stated = _digest(headers.get("Docker-Content-Digest", "")) if media_type in _KINDS else None
        verified_document(data, reference.digest or stated, f"docker://{reference}")
        digest = reference.digest or stated or sha256(data)
        self._known[digest] = data
        return Descriptor(media_type, digest, len(data), {}, None)

    def _verified(self, path: str, accept: str, digest: Digest, budget: RetryBudget) -> bytes:
        data, _ = self._document(path, accept, budget)
        verified_document(data, digest, f"{self.client.host}/{self.name}: {path}")
        return data

    def _document(self, path: str, accept: str, budget: RetryBudget) -> tuple[bytes, Mapping[str, str]]:
        return self.client.document(f"{self.name}/{path}", self._scope, accept=accept, budget=budget)


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to another one. `kind` is its artifactType, or else its media type."""

    digest: Digest
    kind: str
    descriptor: Descriptor


def is_tag(name: str) -> bool:
    """Whether a text is a valid tag."""
    return _TAG.fullmatch(name) is not None


def is_name_unknown(error: NotFound) -> bool:
    """Whether a 404 is an answer of the registry: pages of a proxy or of a web server have no OCI error code."""
    return _OCI_ERROR.search(str(error)) is not None


def referrers_tag(digest: Digest) -> str:
    """Return the tag of the index of referrers where the registry has no API. OCI distribution-spec v1.1, "Backwards
    Compatibility"."""
    return f"{digest.algorithm}-{digest.hex[:64]}"


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A layer in a registry, requested by its digest."""

    addressed_by_digest: ClassVar[bool] = True

    repository: Repository
    digest: Digest
    size: int | None

    def open(self) -> BinaryIO:
        """Start the download. Raises NotFound, Unauthorized, Unreachable, Damaged."""
        return self.repository.open_blob(self.digest, self.size)


def _referrers(data: bytes, what: str, limits: Limits) -> list[Referrer]:
    index = parse_object(data, what, limits)
    entries = canonical_keys(index, key_names("manifests"), what).get("manifests")
    found = [parse_descriptor(entry, what) for entry in (entries if isinstance(entries, list) else ())]
    return [Referrer(item.digest, str(item.raw.get("artifactType") or item.media_type), item) for item in found]


def _lacks_referrers(error: Exception, host: str) -> bool:
    """Whether an error means that a registry has no referrers API.

    go-containerregistry uses the fallback tag on 404, 400, 406, and on a response that is no index; some proxies answer
    405 or 501 to a path that they do not know.
    """
    return isinstance(error, NotFound | Unsupported) or str(error).startswith(f"{host}: HTTP 406:")


def _is_index(data: bytes, headers: Mapping[str, str], limits: Limits) -> bool:
    """Whether a response is an index, by its media type or its content."""
    if headers.get("Content-Type", "").partition(";")[0].strip() in INDEXES:
        return True
    document = parse_json_or_none(data, limits)
    return isinstance(document, dict) and isinstance(document.get("manifests"), list)


class _UnlinkedPages:
    """Pages of a list at `path` that a registry cuts at `size` names without a Link header.

    The OCI specification allows that; the next page begins behind the name in `last`.
    """

    def __init__(self, path: str, size: int) -> None:
        self._path, self._size = path, size
        self._seen: set[str] = set()
        self._is_complete = False

    def following(self, names: Sequence[str], linked: str) -> str:
        """Return the path of the page after a page with `names` and the Link `linked`; an empty text after the last."""
        self._is_complete |= bool(linked)  # the last one of linked pages has no Link
        if self._is_complete or len(names) < self._size:
            return linked
        last = names[-1]
        is_new = last not in self._seen
        self._seen.update(names)
        if is_new:
            return f"{self._path}?n={self._size}&last={quote(last, safe='')}"
        # The registry ignores `last`. If it obeys `n`, only a request without it gets the whole list.
        self._is_complete = True
        return self._path if len(names) == self._size else ""


def _listed(
    client: Client, path: str, scope: str, key: str, following: Callable[[Sequence[str], str], str] | None = None
) -> Iterator[str]:
    """Yield the names of all pages of a list. Raises Damaged beyond the limits and on a page without its list.

    `following` returns the next page of a page with its names and its Link.
    """

    def fetch(path: str) -> Page:
        budget = client.budget()
        names, linked = budget.run(lambda: _page(client, path, scope, key, budget))
        return names, following(names, linked) if following else linked

    return names_of_pages(path, fetch, f"{client.host}: {path.partition('?')[0]}", client.limits)


def _page(client: Client, path: str, scope: str, key: str, budget: RetryBudget) -> tuple[list[str], str]:
    """Return one page of a list, and the path or URL of the next one, or an empty text."""
    data, headers = client.document(path, scope, budget=budget)
    label = f"{client.host}/v2/{path}"
    document = parse_object(data, label, client.limits)
    names = document.get(key, "")
    if not isinstance(names, list | None) or not all(isinstance(name, str) for name in names or ()):
        raise Damaged(f"{label}: the answer has no list of {key}")
    base = f"{client.origin}/v2/"
    return names or [], next_page(base + path, headers.get("Link", ""), label).removeprefix(base)


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text)
    except ImageError:
        return None
