"""All findings of one image, and its history and config with secrets masked. Read this file first.

matches of layers ─► file_findings ─────┐
metadata texts ─► metadata_findings ────┼─► order, ids, ordinals ─► CollectedFindings
header texts ─► header_findings ────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from itertools import islice
from typing import Any, TypeVar

from auditor.core.dataclass import dataclass
from auditor.core.entries import Skipped
from auditor.core.finding import Finding
from auditor.core.image_config import HistoryStep
from auditor.core.limits import Limits, limit_note
from auditor.core.secret import Secret
from auditor.detect.hits import truncation_reason
from auditor.findings.file_findings import file_findings, named_matches
from auditor.findings.finding_ids import in_report_order
from auditor.findings.header_findings import header_findings
from auditor.findings.image_context import ImageContext
from auditor.findings.metadata_findings import TextMatches, masked_config, masked_history, metadata_findings
from auditor.findings.metadata_texts import metadata_texts
from auditor.scan import Scanner
from auditor.scan.masker import TextMasker
from auditor.scan.search_text import SearchText

_TEXTS = 100  # searched in one call, which costs as much as some kilobytes of text
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CollectedFindings:
    """Findings of an image in report order, with its masked history and config.

    `mask` masks the secrets in any other text of the image.
    """

    findings: tuple[Finding, ...]
    history: tuple[HistoryStep, ...]
    config: Mapping[str, Any] = field(repr=False)
    skipped: tuple[Skipped, ...]
    mask: Callable[[str], str] = field(repr=False)


def collect(context: ImageContext, scanner: Scanner, add_hmac: Callable[[Secret], Secret]) -> CollectedFindings:
    """Return all findings of an image, those of low confidence included.

    `add_hmac` gives secrets of metadata the HMAC that those of the records have, so that equal ones compare equal.
    """
    image, limits, mask = context.image, scanner.limits, TextMasker(scanner.searcher)
    skipped, unread = list[Skipped](), set[str]()

    def skip(where: str, reason: str) -> None:
        skipped.append(Skipped(None, None, f"{where}: {reason}"))
        unread.add(where.partition(".")[0])

    matches = list(_text_matches(context, scanner, mask, skip, skipped))
    history = masked_history(image.config.history, matches, mask, limits.text_bytes)
    context = replace(context, history=history)
    files = _limited(named_matches(context), limits, skipped)
    findings = [
        *file_findings(context, files, scanner.ruleset, mask),
        *_limited(metadata_findings(context, matches, add_hmac), limits, skipped),
        *_limited(header_findings(context, scanner, add_hmac, mask, skipped.append), limits, skipped),
    ]
    config = {} if "config" in unread else masked_config(image.config.raw.get("config"), matches, mask)
    return CollectedFindings(tuple(in_report_order(findings)), history, config, tuple(skipped), mask)


def _text_matches(
    context: ImageContext,
    scanner: Scanner,
    mask: Callable[[str], str],
    skip: Callable[[str, str], None],
    skipped: list[Skipped],
) -> Iterator[TextMatches]:
    """Scan the texts of the metadata; yield those with matches."""
    image, truncated = context.image, dict[str, None]()
    texts = metadata_texts(
        image.config, image.annotations, image.documents, scanner.limits, skip, names=image.names, mask=mask
    )
    while batch := list(islice(texts, _TEXTS)):
        # Rules expect the name of a setting before its value.
        named = [f"{text.key}={text.value}" if text.key else text.value for text in batch]
        searched = [SearchText(text.encode("utf-8", "surrogateescape"), "") for text in named]
        matches = scanner.searcher.search_texts(searched, truncated.setdefault)
        yield from ((text, items) for text, items in zip(batch, matches, strict=True) if items)
    skipped += [Skipped(None, None, f"metadata: {truncation_reason(rule, scanner.limits)}") for rule in truncated]


def _limited(items: Iterable[T], limits: Limits, skipped: list[Skipped]) -> Iterator[T]:
    """Yield items up to the limit of an image. Many links to one file are as many findings."""
    most = limits.findings_image
    for count, item in enumerate(items):
        if count == most:
            reason = f"more than {most} findings in the image, each layer and name of a file counted"
            skipped.append(Skipped(None, None, f"{reason}; the rest was left out {limit_note('findings-image')}"))
            return
        yield item
