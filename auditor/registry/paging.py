"""Lists that arrive in pages: names of repositories, tags and projects, within the limits of registries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from auditor.core.errors import Damaged
from auditor.core.limits import Limits, limit_note

_NEXT = re.compile(r"""<([^<>]*)>\s*;[^<]*?\brel\s*=\s*["']?next\b""")
"""The next page in a Link header."""

Page = tuple[Iterable[object], str]
"""Names of a page, and the path or URL of the next page; an empty text after the last one."""


def names_of_pages(first: str, fetch: Callable[[str], Page], label: str, limits: Limits) -> Iterator[str]:
    """Yield the names of all pages from `first` on; a repeated page ends the list. Raises Damaged beyond the limits.

    Items that are no text are skipped. `label` begins the errors.
    """
    path, count, seen = first, 0, set[str]()
    while path and path not in seen:
        seen.add(path)
        if len(seen) > limits.registry_pages:
            raise Damaged(f"{label}: more than {limits.registry_pages} pages {limit_note('registry-pages')}")
        names, path = fetch(path)
        for name in names:
            if isinstance(name, str):
                count += 1
                if count > limits.registry_names:
                    raise Damaged(f"{label}: more than {limits.registry_names} names {limit_note('registry-names')}")
                yield name


def linked_page(links: str) -> str:
    """Return the URL of the next page in a Link header (RFC 8288); an empty text without one."""
    found = _NEXT.search(links)
    return found[1] if found else ""
