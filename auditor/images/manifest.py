"""Images of a target, from the descriptors at its root. An index is walked to every platform.

Folders, archives and registries share this code. Sources: OCI image spec v1.1 (manifest.md, image-index.md), BuildKit's
attestation-storage.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from itertools import chain

from auditor.codec.descriptors import Descriptor, platform_matches
from auditor.codec.json_documents import DocumentBudget, canonical_keys, parse_json, parse_object
from auditor.core.dataclass import dataclass
from auditor.core.entries import Skipped
from auditor.core.errors import Damaged, ImageError, NotFound, Unreachable
from auditor.core.limits import Limits, limit_note
from auditor.core.progress import Progress, Silent
from auditor.images.image_builder import ImageBuilder, layers_and_config
from auditor.images.index import MANIFEST_KEYS, BlobStore, RootAnnotations, listed_manifests
from auditor.images.source import ExportCache, Image

FailureCallback = Callable[[str, Exception], None]
"""Called with the platform or name of one of several images that can't be opened, and the error."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Target, transport and options that all images of one target share.

    `exports` makes the export of an image with known layers needless; None where there is no cache.
    """

    target: str
    transport: str
    platform: str | None
    limits: Limits
    failed: FailureCallback | None = None
    exports: ExportCache | None = None
    progress: Progress = field(default_factory=Silent)

    def report(self, failures: Sequence[tuple[str, Exception]], *, alone: bool) -> None:
        """Pass failures to the callback. Raises the first one without a callback, or if no image is left (`alone`)."""
        for name, error in failures:
            if self.failed is None or alone:
                raise error
            self.failed(name, error)


def images(
    store: BlobStore,
    roots: Sequence[Descriptor],
    origin: Origin,
    layout: Mapping[str, str] | None = None,
    skipped: Sequence[Skipped] = (),
) -> tuple[Image, ...]:
    """Return every image of the requested platform, each with its attestations.

    `layout` are the annotations of index.json, `skipped` its malformed entries. Raises NotFound if no platform matches,
    Damaged on malformed documents.
    """
    opened = _OpenedImages(list(skipped))
    attested = _Attested()
    platforms: list[str] = []
    documents = DocumentBudget(origin.target, origin.limits)
    builder = ImageBuilder(
        store, origin.target, origin.transport, documents, RootAnnotations.of(roots, layout or {}), origin.limits
    )
    manifests = listed_manifests(store, roots, origin.target, origin.limits, opened.missing)
    for listed in manifests:
        descriptor = listed.descriptor
        if descriptor.is_attestation:
            statements = attestation_statements(store, descriptor, documents, origin.limits)
            if statements is not None:
                attested.add(descriptor.annotations.get("vnd.docker.reference.digest", ""), statements)
                continue
        attested.images.add(descriptor.digest)
        platforms += [str(own.platform) for own, _ in listed.listings if own.platform is not None]
        if listed.may_be_for(origin.platform):
            opened.add(descriptor, lambda: builder.image(listed), only=len(manifests) == 1)  # noqa: B023 - called at once
    origin.report(opened.failures, alone=not opened.images)
    chosen = [image for image in opened.images if _is_for(image, origin.platform) or not image.stacked]
    if not chosen:
        raise NotFound(f"{origin.target}: {_reason(opened, attested, platforms, origin.platform)}")
    return tuple(
        replace(
            image,
            documents=image.documents.joined(attested.statements_of(image, is_first=image is chosen[0])),
            skipped=(*image.skipped, *opened.missing),
        )
        for image in chosen
    )


@dataclass(slots=True)
class _Attested:
    """Digests of the listed images, and in-toto statements by the digest that they describe."""

    images: set[str] = field(default_factory=set)
    _statements: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def is_alone(self) -> bool:
        """Whether there are statements, and no image."""
        return bool(self._statements) and not self.images

    def add(self, subject: str, statements: Sequence[bytes]) -> None:
        """Add statements that describe the image with the digest `subject`."""
        self._statements.setdefault(subject, []).extend(statements)

    def statements_of(self, image: Image, *, is_first: bool) -> dict[str, bytes]:
        """Return the statements of an image by name; the first one has also those of images that are not listed."""
        own = [*self._statements.get(image.digest or "", ())]
        if is_first:
            own += chain.from_iterable(
                statements for subject, statements in self._statements.items() if subject not in self.images
            )
        return {f"attestation[{index}]": statement for index, statement in enumerate(own)}


@dataclass(slots=True)
class _OpenedImages:
    """Images opened so far; images that the store lacks; images that can't be opened, by platform or digest."""

    missing: list[Skipped]
    images: list[Image] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)

    def add(self, descriptor: Descriptor, build: Callable[[], Image], *, only: bool) -> None:
        """Build an image. Raises NotFound if the store lacks the `only` image and its index gives no platform."""
        try:
            self.images.append(build())
        except (ImageError, Unreachable) as exc:
            if not isinstance(exc, NotFound):
                self.failures.append((str(descriptor.platform or descriptor.digest), exc))
            elif descriptor.platform is None and only:
                raise
            else:
                self.missing.append(Skipped(None, None, f"platform {descriptor.platform or 'unknown'}: {exc}"))


def _reason(opened: _OpenedImages, attested: _Attested, platforms: list[str], platform: str | None) -> str:
    """Return why there is no image; `platforms` are those in indexes."""
    if opened.missing and not opened.images:
        return opened.missing[0].reason
    if attested.is_alone:
        return "has attestations, and no image"
    found = dict.fromkeys([*platforms, *(str(image.config.platform) for image in opened.images)])
    return f"no platform {platform}; it has {', '.join(found) or 'none'}"


def _is_for(image: Image, platform: str | None) -> bool:
    """Whether an image is for a platform. The index decides, as for engines; without a platform there, the config."""
    in_index = any(item.entry.get("platform") for item in image.index_entries)
    return in_index or platform_matches(platform, image.config.platform)


def attestation_statements(
    store: BlobStore, descriptor: Descriptor, documents: DocumentBudget, limits: Limits
) -> list[bytes] | None:
    """Return the in-toto statements of an attestation manifest; None if its layers are not JSON, so it is an image."""
    what = f"attestation {descriptor.digest}"
    document = canonical_keys(parse_object(store.document(descriptor), what, limits), MANIFEST_KEYS, what)
    layers, _ = layers_and_config(document, what)
    if len(layers) > limits.layers:
        raise Damaged(f"{what}: {len(layers)} layers {limit_note('layers')}")
    statements = []
    for layer in layers:
        try:
            data = store.document(layer)
        except Damaged:
            return None
        if data.lstrip()[:1] not in (b"{", b"["):
            return None
        statements.append(documents.add(data))
        parse_json(data, f"attestation {layer.digest}", limits)
    return statements
