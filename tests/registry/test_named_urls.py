"""URLs that a registry names: which are refused, and which hosts receive no credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from auditor.core.errors import BlockedAddress, Unauthorized, UsageError
from auditor.registry.address_guard import display_origin, is_same_origin
from auditor.registry.client import Client
from auditor.registry.push import Pusher
from auditor.registry.repository import Repository, repositories
from tests.registry.conftest import LogIn, Start, listed
from tests.registry.double import Answer, Asked, Double
from tests.registry.doubles import HarborDouble

FORMS = {
    "backslash": r"http://{other}\@{own}/v2/",
    "backslash in the path": r"http://{own}/\@{other}/v2/",
    "two backslashes": r"\\{other}/v2/",
    "registry as login": "http://{own}@{other}/v2/",
    "login": "http://user@{own}/v2/",
    "login without scheme": "//{own}@{other}/v2/",
    "space": "http://{other} @{own}/v2/",
    "tab": "http://{other}\t@{own}/v2/",
    "control character": "http://{other}\x01@{own}/v2/",
}
"""URLs with two hosts, of which parsers choose one or the other, and URLs with a login."""


class Leading(Double):
    """Names the URL `there`: as redirect, next page, upload location, or, with `is_realm`, as its token server."""

    there = ""
    is_realm = False

    def challenge(self, scope: str = "") -> str:
        quoted = self.there.replace("\\", "\\\\")
        return f'Bearer realm="{quoted}",service="double"' if self.is_realm else super().challenge(scope)

    def allows(self, asked: Asked, scope: str) -> bool:
        return bool(asked.login)

    def catalog(self, asked: Asked) -> Answer:
        return Answer({"repositories": ["team/app"]}, 200, {"Link": f'<{self.there}>; rel="next"'})

    def repository(self, asked: Asked, name: str) -> Answer:
        return Answer("", 202 if "/uploads/" in asked.path else 307, {"Location": self.there})


def tags(client: Client) -> object:
    return Repository(client, "team/app").tags()


REQUESTS: Mapping[str, Callable[[Client], object]] = {
    "redirect": tags,
    "realm": tags,
    "link": lambda client: list(repositories(client)),
    "upload": lambda client: Pusher(client, "team/app").check(),
}


@pytest.mark.parametrize("place", REQUESTS)
@pytest.mark.parametrize("form", FORMS)
def test_a_url_that_parsers_read_differently_is_refused(start: Start, log_in: LogIn, place: str, form: str) -> None:
    double, other = start(Leading), start(Double)
    assert isinstance(double, Leading)
    double.is_realm = place == "realm"
    double.there = FORMS[form].format(own=double.address, other=other.address)
    log_in(double.address)
    with pytest.raises((BlockedAddress, Unauthorized), match=r"malformed URL: it has a|is no https URL") as caught:
        REQUESTS[place](Client(double.address))
    assert other.asked == [] and "\n" not in str(caught.value)
    assert isinstance(caught.value, BlockedAddress) or form in ("two backslashes", "login without scheme")


def test_the_next_page_of_an_api_is_refused_too(start: Start, log_in: LogIn) -> None:
    other = start(Double)

    class Linking(HarborDouble):
        def api(self, asked: Asked) -> Answer:
            link = f'<http://{other.address}\\@{self.address}{asked.path}?page=2>; rel="next"'
            return Answer([{"name": "team"}], 200, {"Link": link})

    double = start(Linking)
    log_in(double.address)
    with pytest.raises((BlockedAddress, UsageError), match="malformed URL: it has a backslash"):
        listed(double)
    assert other.asked == []


def test_blanks_around_a_location_are_no_part_of_it(start: Start, log_in: LogIn) -> None:
    class Blank(Double):
        def repository(self, asked: Asked, name: str) -> Answer:
            if name == "team/app":
                return Answer("", 307, {"Location": "  /v2/team/web/tags/list \t"})
            return super().repository(asked, name)

        def allows(self, asked: Asked, scope: str) -> bool:
            return bool(asked.login)

    double = start(Blank)
    log_in(double.address)
    assert Repository(Client(double.address), "team/app").tags() == ["1"]


@pytest.mark.parametrize(
    ("url", "is_same"),
    [
        ("http://a.example.com:5000/x", True),
        ("http://A.EXAMPLE.com.:5000/x", True),
        ("http://a.example.com/x", False),
        ("https://a.example.com:5000/x", False),
        (r"http://b.example.com\@a.example.com:5000/v2/", False),
        ("http://b.example.com#@a.example.com:5000/v2/", False),
    ],
)
def test_an_origin_is_that_of_the_connection(url: str, is_same: bool) -> None:
    assert is_same_origin(url, "http://a.example.com:5000/v2/") is is_same


@pytest.mark.parametrize("origin", ["http://[::1]:5000", "https://a.example.com:443", "http://127.0.0.1:80"])
def test_an_origin_is_shown_as_it_is(origin: str) -> None:
    assert display_origin(f"{origin}/v2/?secret=1") == origin


class TestStorage:
    """A registry that redirects to a storage host, which asks for a login itself."""

    @pytest.fixture
    def tokens(self, start: Start) -> Double:
        """A token server that the storage host names."""
        return start(Double)

    @pytest.fixture
    def storage(self, start: Start, tokens: Double) -> Double:
        class Storage(Double):
            def answer(self, asked: Asked) -> Answer:
                challenge = f'Bearer realm="{tokens.origin}/token",service="storage",scope="x"'
                return Answer({}, 401, {"WWW-Authenticate": challenge})

        return start(Storage)

    @pytest.mark.parametrize("method", ["GET", "HEAD", "call"])
    def test_its_challenge_is_not_answered(
        self, start: Start, log_in: LogIn, tokens: Double, storage: Double, method: str
    ) -> None:
        double = start(Leading)
        assert isinstance(double, Leading)
        double.there = f"{storage.origin}/blob?signature=1"
        log_in(double.address)
        client, path, scope = Client(double.address), "team/app/blobs/x", "repository:team/app:pull"
        requests: Mapping[str, Callable[[], object]] = {
            "GET": lambda: client.open(path, scope),
            "HEAD": lambda: client.head(path, scope, accept="*/*"),
            "call": lambda: client.call("GET", path, scope),
        }
        with pytest.raises(
            Unauthorized, match=f"to {storage.origin}, which answers HTTP 401.*sent no credent"
        ) as caught:
            requests[method]()
        assert tokens.asked == [] and [asked.login for asked in storage.asked] == [""]
        assert "docker login" not in str(caught.value) and "signature" not in str(caught.value)
