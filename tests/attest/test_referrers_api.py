"""The referrers API of registries: its pages, and the fallback tag where it is absent."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from auditor.core.errors import AuditError, BlockedAddress, Damaged, NotFound, Unreachable
from auditor.core.limits import Limits
from tests.attest.referrers_registry import INDEX_TYPE, ReferrersRegistry, index_of
from tests.attest.test_referrers import Registry, registry
from tests.images import OCI, descriptor

__all__ = ["registry"]  # a fixture

LINKS = [
    lambda double, path: f"{path}?last=1",
    lambda double, path: "?last=1",
    lambda double, path: f"http://{double.address}{path}?last=1",
]


@pytest.mark.parametrize("link", LINKS, ids=["path", "query", "URL"])
def test_all_pages_of_referrers_are_read(registry: Registry, link: Callable[[ReferrersRegistry, str], str]) -> None:
    registry.double.deletes = False
    registry.attach(registry.clean(0))
    registry.attach(registry.leaking(1))
    registry.without_cosign_tag()
    old, new = sorted(registry.referring(), key=lambda item: json.dumps(item["annotations"]))

    def page(path: str) -> tuple[int, bytes, dict[str, str]]:
        if path.endswith("?last=1"):
            return 200, index_of([new]), INDEX_TYPE
        return 200, index_of([old]), INDEX_TYPE | {"Link": f'<{link(registry.double, path)}>; rel="next"'}

    registry.double.referrers = page
    assert registry.verified() == registry.leaking(1)


@pytest.mark.parametrize(
    ("link", "error", "message"),
    [
        ("?", Damaged, "repeats a page"),
        ("http://192.0.2.1/v2/app/referrers/x", BlockedAddress, "at another host"),
        ("http://[", Damaged, "malformed URL"),
        ("/v2/app/blobs/missing", NotFound, "404"),
        ("?{number}", Damaged, r"more than 5 pages \(limit registry-pages\)"),
    ],
    ids=["repeated", "another host", "no URL", "missing", "endless"],
)
def test_a_list_of_referrers_with_a_bad_page_is_refused(
    registry: Registry, link: str, error: type[AuditError], message: str
) -> None:
    """No page is left out: it may have the newest statement."""
    numbers = iter(range(99))
    registry.double.referrers = lambda _: (
        (200, index_of([]), INDEX_TYPE | {"Link": f'<{link.format(number=next(numbers))}>; rel="next"'})
    )
    with pytest.raises(error, match=message):
        registry.repository(Limits(registry_pages=5)).referrers(registry.digest)


def test_a_list_of_referrers_that_takes_much_memory_is_refused(registry: Registry) -> None:
    entries = [descriptor(b"", OCI + "manifest.v1+json")] * 100
    numbers = iter(range(99))
    registry.double.referrers = lambda _: (
        (200, index_of(entries), INDEX_TYPE | {"Link": f'<?{next(numbers)}>; rel="next"'})
    )
    with pytest.raises(Damaged, match="limit json-values"):
        registry.repository(Limits(json_values=3000)).referrers(registry.digest)


HTML = b"<html>login</html>"
ABSENT = [
    (404, b"", {}),
    (400, b"unsupported", {}),
    (405, b"", {}),
    (406, b"", {}),
    (501, b"", {}),
    (200, HTML, {"Content-Type": "text/html"}),
    (200, b'{"errors": []}', {"Content-Type": "application/json"}),
    (200, b"[]", {"Content-Type": "application/json"}),
]


@pytest.mark.parametrize("answer", ABSENT, ids=[f"{status} {body[:5]!r}" for status, body, _ in ABSENT])
def test_without_the_referrers_api_the_fallback_tag_is_read(
    registry: Registry, answer: tuple[int, bytes, dict[str, str]]
) -> None:
    registry.double.has_api = False
    registry.double.referrers = lambda _: answer
    registry.attach(registry.clean(0))
    registry.without_cosign_tag()
    assert registry.verified() == registry.clean(0)
    registry.attach(registry.leaking(1))
    assert registry.verified() == registry.leaking(1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [((403, b"", {}), Unreachable), ((410, b"", {}), Unreachable), ((200, HTML, INDEX_TYPE), Damaged)],
    ids=["403", "410", "damaged index"],
)
def test_other_answers_of_the_referrers_api_are_errors(
    registry: Registry, answer: tuple[int, bytes, dict[str, str]], error: type[AuditError]
) -> None:
    """Referrers are there, perhaps, with the newest statement."""
    registry.attach(registry.clean(0))
    registry.double.referrers = lambda _: answer
    with pytest.raises(error):
        registry.verified()
