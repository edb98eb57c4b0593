"""Lists in pages: how the next page is found, and that an incomplete list is an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from auditor.core.errors import (
    AuditError,
    BlockedAddress,
    Damaged,
    IncompleteList,
    NotFound,
    Unauthorized,
    Unreachable,
    Unsupported,
)
from auditor.core.limits import DEFAULT
from auditor.registry.client import Client
from auditor.registry.paging import Page, names_of_pages, next_page
from auditor.registry.repository import Repository, repositories
from tests.registry.conftest import Start
from tests.registry.double import Answer, Asked, Double
from tests.transports.clock import VirtualClock

_PAGE = "https://registry.example.com/v2/team/app/tags/list?n=2"


class Open(Double):
    """A registry without logins. `page_of` answers requests for lists, given the names of the list."""

    most = 1_000_000
    """Names of a page, whatever the request says."""
    obeys_n = obeys_last = True
    has_links = False

    def answer(self, asked: Asked) -> Answer:
        return Answer({}) if asked.path == "/v2/" else super().answer(asked)

    def allows(self, asked: Asked, scope: str) -> bool:
        return True

    def listed(self, asked: Asked, key: str, names: Sequence[str]) -> Answer:
        last = asked.query.get("last", "") if self.obeys_last else ""
        rest = [name for name in names if name > last]
        count = min(self.most, int(asked.query.get("n", self.most)) if self.obeys_n else self.most)
        more = len(rest) > count and self.has_links
        link = {"Link": f'<{asked.path}?last={rest[count - 1]}&n={count}>; rel="next"'} if more else {}
        return Answer({key: rest[:count]}, 200, link)


def tags_of(double: Double, name: str = "team/app") -> list[str]:
    return Repository(Client(double.address, clock=VirtualClock()), name).tags()


def answering(double: Double, page: int, answer: Answer | Callable[[Asked], Answer]) -> None:
    """Make a double answer the page of a list with this number."""
    own, count = double.listed, iter(range(1, 100))

    def listed(asked: Asked, key: str, names: Sequence[str]) -> Answer:
        if next(count) < page:
            return own(asked, key, names)
        return answer if isinstance(answer, Answer) else answer(asked)

    double.listed = listed  # type: ignore[method-assign]


class TestLink:
    @pytest.mark.parametrize(
        "link",
        [
            '<?n=2&last=b>; rel="next"', "<?n=2&last=b>;rel=next", '<list?n=2&last=b>; rel="next"',
            '</v2/team/app/tags/list?n=2&last=b>; rel="next"',
            '<//registry.example.com/v2/team/app/tags/list?n=2&last=b>; rel="next"',
            '<https://registry.example.com:443/v2/team/app/tags/list?n=2&last=b#top>; rel="next"',
            '<?n=2&last=b>; REL="NEXT"', '<?n=2&last=b>; rel="first next"', "<?n=2&last=b> ; rel = next ; title=x",
            '<?n=2&last=a>; rel="prev", <?n=2&last=b>; rel="next"', "<?n=2&last=b>; rel='next'",
            '<?n=2&last=a>; title="x, <y>; rel=next"; rel=prev, , <?n=2&last=b>; rel="ne\\xt"',
            '<?n=2&last=b>; title="a \\" b"; rel="next"; rel="prev"', "<?n=2&last=b>; crossorigin; rel=next;",
        ],
    )  # fmt: skip
    def test_the_next_page_is_resolved_against_its_page(self, link: str) -> None:
        assert next_page(_PAGE, link, "x") == "https://registry.example.com/v2/team/app/tags/list?n=2&last=b"

    @pytest.mark.parametrize(
        "link", ["", '<?last=b>; rel="prev"', "<?last=b>", '<?last=b>; rel="next-archive"', '<?a>; rel=up; rel="next"']
    )
    def test_other_relations_are_no_next_page(self, link: str) -> None:
        assert next_page(_PAGE, link, "x") == ""

    @pytest.mark.parametrize(
        "link",
        [
            "?last=b; rel=next", "<?last=b; rel=next", "<?last=<y>>; rel=next", '<?last=b>; rel="next',
            "<?last=b>; rel=next <?last=c>", '<//[::1/x>; rel="next"', "<http://a:port/tags/list>; rel=next",
        ],
    )  # fmt: skip
    def test_a_malformed_header_is_an_error(self, link: str) -> None:
        with pytest.raises(Damaged, match="registry: has a malformed"):
            next_page(_PAGE, link, "registry")

    def test_a_long_header_is_parsed_at_once(self) -> None:
        for link in (
            "<a>" + ";" * 50_000 + "!<",
            "<a>" + " " * 50_000 + "<",
            "<a>;a" + " " * 50_000 + '="' + "\\a" * 9,
        ):
            with pytest.raises(Damaged):
                next_page(_PAGE, link, "x")

    def test_an_empty_target_is_the_page_itself(self) -> None:
        assert next_page(_PAGE, "<>; rel=next", "x") == _PAGE

    @pytest.mark.parametrize("path", ["app/tags/list", "x/team/app/tags/list", "other/tags/list"])
    def test_the_next_page_of_tags_has_the_path_of_the_first(self, path: str) -> None:
        link = f'</v2/{path}?last=b&next_page=x%2B>; rel="next"'
        assert next_page(_PAGE, link, "x") == "https://registry.example.com/v2/team/app/tags/list?last=b&next_page=x%2B"

    def test_other_lists_and_other_hosts_keep_their_path(self) -> None:
        for link in ("https://registry.example.com/api?page=2", "https://other.example.com/v2/app/tags/list?last=b"):
            assert next_page(_PAGE, f"<{link}>; rel=next", "x") == link


class TestPages:
    def pages(self, *pages: Page | AuditError) -> list[str]:
        own = dict(zip("abcdef", pages, strict=False))

        def fetch(path: str) -> Page:
            page = own[path]
            if isinstance(page, AuditError):
                raise page
            return page

        return list(names_of_pages("a", fetch, "registry", replace(DEFAULT, registry_pages=5)))

    def test_the_names_of_all_pages_are_one_list(self) -> None:
        assert self.pages((["x"], "b"), ([], "c"), (["y", "z"], "")) == ["x", "y", "z"]

    @pytest.mark.parametrize("again", ["a", "b"])
    def test_a_repeated_page_is_an_error(self, again: str) -> None:
        with pytest.raises(Damaged, match="the list is incomplete: page 3 repeats an earlier page"):
            self.pages((["x"], "b"), (["y"], again))

    @pytest.mark.parametrize("name", [None, 1, ["x"], {}])
    def test_a_name_that_is_no_text_is_an_error(self, name: object) -> None:
        with pytest.raises(Damaged, match="page 1 of the list has a name that is no text"):
            self.pages((["x", name], ""))

    @pytest.mark.parametrize("error", [NotFound, Unauthorized, Unsupported])
    def test_only_the_first_page_says_that_there_is_no_list(self, error: type[AuditError]) -> None:
        with pytest.raises(error):
            self.pages(error("refused"))
        with pytest.raises(IncompleteList, match="registry: page 2 of the list can't be read: refused") as caught:
            self.pages((["x"], "b"), error("refused"))
        assert not isinstance(caught.value, error)


class TestIncompleteLists:
    @pytest.fixture
    def double(self, start: Start) -> Double:
        double = start(Open)
        assert isinstance(double, Open)
        double.most, double.has_links = 1, True
        return double

    @pytest.mark.parametrize("page", [1, 2])
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ({}, "no list of"), ({"errors": [{"code": "TOOMANYREQUESTS"}]}, "no list of"), ([], "JSON object"),
            ({"tags": "1", "repositories": "app"}, "no list of"), ({"tags": [1], "repositories": [1]}, "no list of"),
            ("<html>login</html>", "not JSON"),
        ],
    )  # fmt: skip
    def test_a_page_without_its_list_is_an_error(self, double: Double, page: int, content: object, reason: str) -> None:
        for listed in (tags_of, lambda own: list(repositories(Client(own.address, clock=VirtualClock())))):
            answering(double, page, Answer(content))
            with pytest.raises(Damaged, match=reason):
                listed(double)
            del double.listed

    def test_null_is_an_empty_list(self, double: Double) -> None:
        answering(double, 2, Answer({"tags": None}))
        assert tags_of(double) == ["1"]

    def test_a_page_that_is_missing_is_named(self, double: Double) -> None:
        answering(double, 2, double.error(404, "NAME_UNKNOWN", "no such repository"))
        with pytest.raises(Unreachable, match=r"page 2 of the list can't be read: .*last=1&n=1: HTTP 404"):
            tags_of(double)

    def test_a_page_at_another_host_is_refused(self, double: Double) -> None:
        answering(double, 1, Answer({"tags": ["1"]}, 200, {"Link": '<http://127.0.0.2/v2/a/tags/list>; rel="next"'}))
        with pytest.raises(BlockedAddress, match="at another host"):
            tags_of(double)

    def test_an_api_resolves_and_checks_its_pages_likewise(self, start: Start) -> None:
        double = start(Double)
        pages = {"1": Answer([{"name": "a"}], 200, {"Link": '<?page=2>; rel="next"'}), "2": Answer([{"name": "b"}])}
        double.api = lambda asked: pages[asked.query.get("page", "1")]  # type: ignore[method-assign]
        api = Client(double.address, clock=VirtualClock()).api(f"{double.origin}/api/", {})

        def listed() -> list[str]:
            return list(api.names("deep/list?page=1", lambda page: (page.texts("name"), page.next_page)))

        assert listed() == ["a", "b"] and double.paths("/api") == ["/api/deep/list"] * 2
        for content in ({"message": "maintenance"}, [{"id": 1}], ["b"], [{"name": None}], "null-"):
            pages["2"] = Answer(content)
            with pytest.raises(Damaged, match="deep/list: "):
                listed()
        pages["2"] = Answer(None)
        assert listed() == ["a"]


class TestTagsWithoutLinks:
    """Registries that send no Link header, which the OCI specification allows."""

    names = tuple(f"t{number:04}" for number in range(2345))

    def asked(self, double: Double) -> list[tuple[str, str]]:
        return [
            (asked.query.get("n", ""), asked.query.get("last", "")) for asked in double.asked if "tags" in asked.path
        ]

    @pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 2345])
    @pytest.mark.parametrize(("obeys_n", "obeys_last"), [(True, True), (True, False), (False, True), (False, False)])
    @pytest.mark.parametrize("has_links", [False, True])
    def test_all_are_listed(
        self, start: Start, count: int, *, obeys_n: bool, obeys_last: bool, has_links: bool
    ) -> None:
        double = start(Open)
        assert isinstance(double, Open)
        double.images = {"team/app": self.names[:count]}
        double.obeys_n, double.obeys_last, double.has_links = obeys_n, obeys_last, has_links and obeys_last
        assert tags_of(double) == [*self.names[:count]]
        assert len(self.asked(double)) <= 4

    def test_the_next_page_begins_behind_the_last_name(self, start: Start) -> None:
        double = start(Open)
        double.images = {"team/app": self.names}
        assert tags_of(double) == [*self.names]
        assert self.asked(double) == [("1000", ""), ("1000", "t0999"), ("1000", "t1999")]

    def test_the_last_page_of_linked_ones_may_be_full(self, start: Start) -> None:
        double = start(Open)
        assert isinstance(double, Open)
        double.images, double.has_links = {"team/app": self.names[:2000]}, True
        assert tags_of(double) == [*self.names[:2000]] and len(self.asked(double)) == 2

    @pytest.mark.parametrize("last", ["t0999", "x y&z"])
    def test_a_full_page_whose_rest_is_refused_is_an_error(self, start: Start, last: str) -> None:
        double = start(Open)
        double.images = {"team/app": [*self.names[:999], last]}
        answering(double, 2, double.error(400, "UNSUPPORTED", "no such parameter"))
        with pytest.raises(Unreachable, match="page 2 of the list can't be read"):
            tags_of(double)
        assert self.asked(double)[-1] == ("1000", last)


@pytest.mark.parametrize(
    ("status", "code"), [(400, "PAGINATION_NUMBER_INVALID"), (400, "UNSUPPORTED"), (413, "TOO_MANY_TAGS_REQUESTED")]
)
def test_a_registry_that_refuses_the_size_of_pages_is_asked_for_its_own(start: Start, status: int, code: str) -> None:
    class Refusing(Open):
        def repository(self, asked: Asked, name: str) -> Answer:
            if int(asked.query.get("n", 0)) > 100:
                return self.error(status, code, "requested limit 1000 is too high, max is 100")
            return super().repository(asked, name)

    double = start(Refusing)
    assert isinstance(double, Open)
    double.most, double.has_links = 2, True
    assert tags_of(double) == ["1", "2", "3"]


def test_a_registry_whose_links_lack_the_beginning_of_a_name_is_read_to_the_end(start: Start) -> None:
    class Shortening(Open):
        """Artifactory with the repository path method: RTFACT-18971."""

        def listed(self, asked: Asked, key: str, names: Sequence[str]) -> Answer:
            answer = super().listed(asked, key, names)
            return Answer(answer.content, 200, {n: v.replace("/team/", "/") for n, v in answer.headers.items()})

    double = start(Shortening)
    assert isinstance(double, Open)
    double.most, double.has_links = 1, True
    double.images = {"team/app": ("1", "2", "3"), "app": ("1", "other")}
    assert tags_of(double) == ["1", "2", "3"]
    assert set(double.paths("tags")) == {"/v2/team/app/tags/list"}
