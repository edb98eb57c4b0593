"""Search of windows, files, names and short texts with one ruleset: the interface of detection to the layer scan."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from auditor.core.limits import DEFAULT, Limits
from auditor.core.progress import Progress
from auditor.detect.confirm import Confirmer, TruncationCallback, ignore_truncation
from auditor.detect.hits import Hits, hits_of_pieces, joined_hits, truncated_rules
from auditor.detect.matcher import Matcher
from auditor.detect.matches import Match
from auditor.detect.rules import Ruleset
from auditor.layers.listing import Listing
from auditor.scan.header_search import HeaderText, search_headers, search_lines
from auditor.scan.search_text import SearchText


class Searcher:
    """Matcher and confirmation for one ruleset. Holds no state between calls, so threads may share it."""

    def __init__(
        self,
        ruleset: Ruleset,
        cache: Path | None = None,
        limits: Limits = DEFAULT,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> None:
        """Compile the rules with up to `jobs` processes, or load them from the folder `cache`. Raises RuleError."""
        self.ruleset, self.limits = ruleset, limits
        self._matcher = Matcher(ruleset, cache, limits, progress, jobs)
        self._confirmer = Confirmer(ruleset, limits, self._matcher.reaches)

    def window_hits(self, window: memoryview, keyword_ranges: Sequence[tuple[int, int]]) -> Hits:
        """Return the raw hits in a window of a layer: (rule number, end). Keyword rules search the ranges alone."""
        return self._matcher.hits(window, keyword_ranges)

    def path_rules(self, paths: Sequence[str]) -> Mapping[int, list[int]]:
        """Return the rules that apply because of a path, relative to the root: rule numbers by index of the path."""
        return self._matcher.paths.of(paths)

    def confirm(
        self,
        data: bytes | memoryview,
        hits: Hits,
        path: str,
        path_rules: Sequence[int],
        ends_in: tuple[int, int],
        on_truncation: TruncationCallback,
    ) -> list[Match]:
        """Confirm raw hits in a file or a part of it; a match counts if it ends in the half-open range `ends_in`."""
        return self._confirmer.confirm(data, hits, path, path_rules, ends_in, on_truncation)

    def search_text(self, text: str, on_truncation: TruncationCallback = ignore_truncation) -> list[Match]:
        """Return the matches in a short text, by their offsets in its UTF-8 bytes."""
        return self.search_texts([SearchText(text.encode("utf-8", "surrogateescape"), "")], on_truncation)[0]

    def search_bytes(self, data: bytes, path: str) -> list[Match]:
        """Return the matches in a small file by its absolute path; an empty path for a text outside of files."""
        return self.search_texts([SearchText(data, path)])[0]

    def search_texts(
        self, texts: Sequence[SearchText], on_truncation: TruncationCallback = ignore_truncation
    ) -> list[list[Match]]:
        """Return the matches in each text. One search covers all texts."""
        hits: list[Hits] = [[] for _ in texts]
        token_rules_only = [text.token_rules_only for text in texts]
        for search, kind in ((self._matcher.hits, False), (self._matcher.token_hits, True)):
            chosen = [index for index, is_kind in enumerate(token_rules_only) if is_kind is kind]
            for index, own in zip(chosen, joined_hits(search, [texts[at].data for at in chosen]), strict=True):
                hits[index] = own
        if sum(map(len, hits)) >= self.limits.raw_hits:
            self.report_truncated(chain.from_iterable(hits), on_truncation)
        rules = self.path_rules([text.path.lstrip("/") for text in texts])
        return [
            self._confirm_text(text, hits[at], rules.get(at, ()), on_truncation) if hits[at] or at in rules else []
            for at, text in enumerate(texts)
        ]

    def search_opaque(
        self, bodies: Sequence[bytes], paths: Sequence[str], on_truncation: TruncationCallback
    ) -> Iterator[tuple[int, list[Match]]]:
        """Yield the matches in small opaque files by their absolute paths: the index of each file with any."""
        hits = hits_of_pieces(self._matcher.token_hits(b"\n".join(bodies)), bodies)
        if sum(map(len, hits.values())) >= self.limits.raw_hits:
            self.report_truncated(chain.from_iterable(hits.values()), on_truncation)
        rules = self.path_rules([path.lstrip("/") for path in paths])
        for at in sorted(hits.keys() | rules.keys()):
            if found := self._confirm_text(
                SearchText(bodies[at], paths[at]), hits.get(at, []), rules.get(at, ()), on_truncation
            ):
                yield at, found

    def search_headers(self, listing: Listing) -> Iterator[tuple[HeaderText, Match]]:
        """Yield the matches in the names and other header texts of a layer."""
        return search_headers(listing, self._matcher.hits, self._confirm_line)

    def search_lines(self, lines: Sequence[str]) -> Iterator[tuple[int, Match]]:
        """Yield the matches in many short texts, each with the index of its text."""
        return search_lines(lines, self._matcher.hits, self._confirm_line)

    def has_header_secret(self, listing: Listing) -> bool:
        """Whether a name or another header text of a layer contains a secret."""
        return next(self.search_headers(listing), None) is not None

    def report_truncated(self, hits: Iterable[tuple[int, int]], on_truncation: TruncationCallback) -> None:
        """Report the rules with so many hits in one search that some were dropped."""
        for number in truncated_rules(list(hits), self.limits.raw_hits):
            on_truncation(self.ruleset.rules[number].id)

    def _confirm_line(self, text: bytes, hits: Hits) -> list[Match]:
        return self._confirmer.confirm(text, hits, "")

    def _confirm_text(
        self, text: SearchText, hits: Hits, rules: Sequence[int], on_truncation: TruncationCallback
    ) -> list[Match]:
        if text.window is None:
            return self._confirmer.confirm(text.data, hits, text.path, rules, (0, sys.maxsize), on_truncation)
        low, high = text.window.owned_from - text.window.start, text.window.owned_to - text.window.start
        own = [(rule, end) for rule, end in hits if low <= end < high]
        return self._confirmer.confirm(text.data, own, text.path, rules, (low, high), on_truncation)
