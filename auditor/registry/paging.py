"""Lists that arrive in pages: names of repositories, tags and projects, within the limits of registries.

An incomplete list is an error: a page that is missing, refused, repeated or without its list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urldefrag, urljoin, urlsplit, urlunsplit

from auditor.core.errors import Damaged, IncompleteList, NotFound, Unauthorized, Unsupported
from auditor.core.limits import Limits, limit_note
from auditor.registry.address_guard import origin_of

_WORD = r"[\w!#$%&\x27*+.^`|~-]++"
_LINK = re.compile(
    rf"""\s*+<([^<>]*+)>((?:\s*+;(?:\s*+{_WORD}(?:\s*+=\s*+(?:"(?:[^"\\]|\\.)*+"|[^\s;,"]++))?)?)*+)\s*+"""
)
"""Target and parameters of a link. Source: RFC 8288, section 3."""
_PARAMETER = re.compile(rf""";\s*+({_WORD})(?:\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;,"]++)))?""")
_LISTS = ("/tags/list", "/_catalog")  # ends of paths, in the OCI distribution API

Page = tuple[Iterable[object], str]
"""Names of a page, and the path or URL of the next page; an empty text after the last one."""


def names_of_pages(first: str, fetch: Callable[[str], Page], label: str, limits: Limits) -> Iterator[str]:
    """Yield the names of all pages from `first` on. `label` begins the errors.

    Raises Damaged beyond the limits, on a name that is no text and on a repeated page, and IncompleteList if a page
    after the first one is missing or refused.
    """
    path, count, seen = first, 0, set[str]()
    while path:
        if path in seen:
            raise Damaged(f"{label}: the list is incomplete: page {len(seen) + 1} repeats an earlier page")
        seen.add(path)
        if len(seen) > limits.registry_pages:
            raise Damaged(f"{label}: more than {limits.registry_pages} pages {limit_note('registry-pages')}")
        names, path = fetch(path) if len(seen) == 1 else _later_page(fetch, path, f"{label}: page {len(seen)}")
        for name in names:
            if not isinstance(name, str):
                raise Damaged(f"{label}: page {len(seen)} of the list has a name that is no text")
            count += 1
            if count > limits.registry_names:
                raise Damaged(f"{label}: more than {limits.registry_names} names {limit_note('registry-names')}")
            yield name


def _later_page(fetch: Callable[[str], Page], path: str, label: str) -> Page:
    """Fetch a page after the first one. After a 404 or a refusal the list is incomplete."""
    try:
        return fetch(path)
    except (NotFound, Unauthorized, Unsupported) as exc:
        raise IncompleteList(f"{label} of the list can't be read: {exc}") from exc


def next_page(url: str, links: str, label: str) -> str:
    """Return the URL of the page after the one at `url` from its Link header (RFC 8288); an empty text without one.

    The next page of a tag list or catalog has the path of the first one: Artifactory, and proxies that shorten paths,
    name others (RTFACT-18971). Raises Damaged on a malformed header; `label` begins the message.
    """
    target = _target(links, label)
    if target is None:
        return ""
    try:
        following = urldefrag(urljoin(url, target)).url
        own, other = urlsplit(url), urlsplit(following)
        is_same_list = any(own.path.endswith(end) and other.path.endswith(end) for end in _LISTS)
        if is_same_list and origin_of(url) == origin_of(following):
            return urlunsplit(own._replace(query=other.query))
    except ValueError:
        raise Damaged(f"{label}: has a malformed URL in its Link header") from None
    return following


def _target(links: str, label: str) -> str | None:
    """Return the target of the link with the relation `next`; None without one."""
    position = 0
    while position < len(links):
        if links[position] in ", \t":  # between links, and empty elements of the list
            position += 1
            continue
        found = _LINK.match(links, position)
        if found is None or links[found.end() : found.end() + 1] not in ("", ","):
            raise Damaged(f"{label}: has a malformed Link header")
        if "next" in _relations(found[2]):
            return found[1]
        position = found.end()
    return None


def _relations(parameters: str) -> list[str]:
    """Return the relations of a link in lower case. Of several `rel` parameters the first one counts."""
    for name, quoted, bare in _PARAMETER.findall(parameters):
        if name.lower() == "rel":
            return re.sub(r"\\(.)", r"\1", quoted or bare.strip("\x27")).lower().split()
    return []
