"""Requests are tried again by one policy, counted by logical request; the rate holds for all that is sent."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from auditor.core.digests import Digest
from auditor.core.errors import AuditError, Damaged, NotFound, Temporary, Unauthorized, Unreachable
from auditor.core.limits import Limits, limits_of
from auditor.fleet.execution.engine import LayerTask
from auditor.fleet.execution.layer_scan import read_layer
from auditor.registry import push, sender
from auditor.registry.client import Client
from auditor.registry.logins import Login
from auditor.registry.reference import Reference
from auditor.registry.repository import Repository, repositories
from auditor.registry.retry import DAMAGED_TRIES, TRIES, RateLimit, retry_after_s
from auditor.scan import Scanner
from tests.hostile.wire import RUNNING, Answer, Asked, Registry, redirect, reply, serving
from tests.images import digest, gzipped, image, layer
from tests.transports.clock import VirtualClock

_BUILT = image(layer({"a.txt": "hello\n" * 5000}))
_BLOB = gzipped(_BUILT.layers[0])
_PLAIN = _BUILT.layers[0]
_BUSY = ("429 Too Many Requests", "500 Oh", "502 Bad", "503 Busy", "504 Late")
Rule = Callable[[Asked], Answer]


@pytest.fixture(autouse=True)
def registries_end() -> Iterator[None]:
    yield
    while RUNNING:
        RUNNING.pop().close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def repository(registry: Registry, clock: VirtualClock, **more: Any) -> Repository:
    return Repository(Client(registry.address, clock=clock, **{"login": Login(), **more}), "app")


def asked(registry: Registry, place: str) -> list[Asked]:
    return [one for one in registry.asked if re.search(place, f"{one.method} {one.path}")]


def busy(status: str = "503 Busy", *headers: str) -> Rule:
    return lambda _: reply(b"{}", status, *headers)


_CREATED = busy("201 Created")


def failing(count: int, answer: Rule, status: str = "503 Busy", *headers: str) -> Rule:
    """Fail so many times, then answer."""
    left = iter(range(count))
    return lambda one: answer(one) if next(left, None) is None else reply(b"{}", status, *headers)


class TestCount:
    """A logical request is sent TRIES times, whatever it is and wherever it fails."""

    @pytest.mark.parametrize("status", _BUSY)
    def test_a_manifest(self, clock: VirtualClock, status: str) -> None:
        registry = Registry(serving(_BUILT, manifest=busy(status)))
        with pytest.raises(Temporary, match=status[:3]):
            repository(registry, clock).resolve(Reference(registry.address, "app", "1", None))
        assert len(asked(registry, "/manifests/")) == TRIES and len(clock.pauses) == TRIES - 1

    @pytest.mark.parametrize("header", ["Retry-After: 7", "X-RateLimit-Remaining: 0"])
    def test_a_used_up_rate_limit_that_is_forbidden(self, clock: VirtualClock, header: str) -> None:
        answer = failing(2, lambda _: reply(b'{"tags": ["1"]}'), "403 Forbidden", header)
        registry = Registry(serving(_BUILT, tags=answer))
        assert repository(registry, clock).tags() == ["1"] and len(clock.pauses) == 2

    @pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Busy"])
    def test_a_layer_of_a_sweep(self, clock: VirtualClock, scanner: Scanner, status: str) -> None:
        registry = Registry(serving(_BUILT, layer=busy(status)))
        task = LayerTask("app", Digest(digest(_PLAIN)), len(_PLAIN))
        with pytest.raises(Temporary, match=status[:3]):
            read_layer(task, Client(registry.address, clock=clock), scanner, bytes(32))
        assert len(asked(registry, "/blobs/")) == TRIES

    @pytest.mark.parametrize("method", ["head", "tags", "catalog"])
    def test_a_tag_and_lists(self, clock: VirtualClock, method: str) -> None:
        registry = Registry(serving(_BUILT, manifest=busy(), tags=busy(), catalog=busy()))
        own = repository(registry, clock)
        calls: dict[str, Callable[[], object]] = {
            "head": lambda: own.look_up("1"), "tags": own.tags, "catalog": lambda: list(repositories(own.client))
        }  # fmt: skip
        with pytest.raises(Temporary):
            calls[method]()
        assert len(asked(registry, "manifests|tags|catalog")) == TRIES

    def test_a_token_and_the_request_that_needs_it(self, clock: VirtualClock) -> None:
        tokens = Registry({"": busy()})
        registry = Registry(serving(_BUILT), login=f'Bearer realm="http://{tokens.address}/token",service="lab"')
        with pytest.raises(Temporary, match="token server answers HTTP 503"):
            repository(registry, clock).tags()
        assert len(tokens.asked) == TRIES and len(asked(registry, "tags")) == TRIES

    def test_a_token_that_comes_late_takes_from_the_same_tries(self, clock: VirtualClock) -> None:
        tokens = Registry({"": failing(TRIES - 2, lambda _: reply(b'{"token": "abc"}'))})
        registry = Registry(
            serving(_BUILT, tags=busy()), login=f'Bearer realm="http://{tokens.address}/token",service="lab"'
        )
        with pytest.raises(Temporary):
            repository(registry, clock).tags()
        assert len(tokens.asked) == TRIES - 1
        assert sum(one.has_login for one in asked(registry, "tags")) == 2, "the two tries that were left"

    def test_the_storage_that_a_layer_is_redirected_to(self, clock: VirtualClock) -> None:
        storage = Registry({"": busy()})
        registry = Registry(serving(_BUILT, layer=lambda _: redirect(f"http://{storage.address}/blob")))
        with pytest.raises(Temporary):
            repository(registry, clock).open_blob(Digest(digest(_PLAIN)), len(_PLAIN))
        assert len(storage.asked) == len(asked(registry, "/blobs/")) == TRIES

    def test_a_connection_that_is_dropped(self, clock: VirtualClock) -> None:
        registry = Registry(serving(_BUILT, manifest=lambda _: b""))
        with pytest.raises(Temporary, match="does not answer"):
            repository(registry, clock).look_up("1")
        assert len(asked(registry, "HEAD")) == TRIES

    def test_damaged_bytes_once_more(self, clock: VirtualClock, scanner: Scanner) -> None:
        registry = Registry(serving(_BUILT, layer=lambda _: reply(b"x" * len(_PLAIN)), manifest=lambda _: reply(b"{}")))
        own = repository(registry, clock)
        with pytest.raises(Damaged):
            own.resolve(Reference(registry.address, "app", None, Digest(digest(b"other"))))
        with pytest.raises(Damaged):
            read_layer(LayerTask("app", Digest(digest(_PLAIN)), len(_PLAIN)), own.client, scanner, bytes(32))
        assert len(asked(registry, "/manifests/")) == len(asked(registry, "/blobs/")) == DAMAGED_TRIES

    @pytest.mark.parametrize(
        ("status", "error"),
        [("404 No", NotFound), ("403 No", Unauthorized), ("400 Bad", Unreachable), ("501 Never", Unreachable)],
    )
    def test_what_does_not_pass_is_sent_once(self, clock: VirtualClock, status: str, error: type[AuditError]) -> None:
        registry = Registry(serving(_BUILT, catalog=busy(status)))
        with pytest.raises(error):
            list(repositories(repository(registry, clock).client))
        assert len(asked(registry, "catalog")) == 1 and clock.pauses == []

    def test_one_that_recovers_is_heard(self, clock: VirtualClock) -> None:
        names = b'{"name": "app", "tags": ["1"]}'
        registry = Registry(serving(_BUILT, tags=failing(TRIES - 1, lambda _: reply(names))))
        assert repository(registry, clock).tags() == ["1"]
        assert clock.pauses == sorted(clock.pauses), "longer each time"

    def test_a_registry_that_puts_off_its_greeting_is_spoken_to_without_tls(self, clock: VirtualClock) -> None:
        registry = Registry(serving(_BUILT, ping=busy()))
        assert repository(registry, clock).tags() == ["1"]


class TestResume:
    """A body that breaks off goes on where it was, within the tries of its request."""

    def breaking(self, pieces: int, *, ranges: bool = True, to: bytes = _PLAIN) -> tuple[Registry, list[str]]:
        """A registry that sends a part of the layer at a time, and breaks off; the ranges that it was asked for."""
        step, wanted = -(-len(to) // pieces), list[str]()

        def answer(one: Asked) -> Answer:
            wanted.append(one.headers.get("range", ""))
            begin = int(wanted[-1][6:-1]) if wanted[-1] and ranges else 0
            head = "HTTP/1.1 206 Partial Content" if begin else "HTTP/1.1 200 OK"
            at = f"Content-Range: bytes {begin}-{len(to) - 1}/{len(to)}\r\n" if begin else ""
            end = begin + step if ranges else min(len(to), step * len(wanted))
            return f"{head}\r\nContent-Length: {len(to) - begin}\r\n{at}\r\n".encode() + to[begin:end]

        return Registry(serving(_BUILT, layer=answer)), wanted

    @pytest.mark.parametrize("ranges", [True, False])
    def test_it_is_whole_in_the_end(self, clock: VirtualClock, *, ranges: bool) -> None:
        registry, wanted = self.breaking(TRIES, ranges=ranges)
        with repository(registry, clock).open_blob(Digest(digest(_PLAIN)), len(_PLAIN)) as stream:
            assert stream.read() == _PLAIN
        assert len(wanted) == TRIES and wanted[0] == "" and all(text.startswith("bytes=") for text in wanted[1:])

    def test_the_tries_are_those_of_one_request(self, clock: VirtualClock, scanner: Scanner) -> None:
        registry, wanted = self.breaking(TRIES * 4)
        with pytest.raises(Temporary, match="broke off"):
            read_layer(
                LayerTask("app", Digest(digest(_PLAIN)), len(_PLAIN)), Client(registry.address, clock=clock), scanner,
                bytes(32),
            )  # fmt: skip
        assert len(wanted) == TRIES

    def test_a_range_that_is_not_the_one_asked_for_is_not_taken(self, clock: VirtualClock) -> None:
        def answer(one: Asked) -> Answer:
            if "range" not in one.headers:
                return f"HTTP/1.1 200 OK\r\nContent-Length: {len(_PLAIN)}\r\n\r\n".encode() + _PLAIN[:100]
            return reply(_PLAIN[5:], "206 Partial Content", f"Content-Range: bytes 5-{len(_PLAIN) - 1}/{len(_PLAIN)}")

        registry = Registry(serving(_BUILT, layer=answer))
        with (
            repository(registry, clock).open_blob(Digest(digest(_PLAIN)), len(_PLAIN)) as stream,
            pytest.raises(Temporary, match="begins elsewhere"),
        ):
            stream.read()
        assert len(asked(registry, "/blobs/")) == TRIES


class TestPauses:
    def date(self, clock: VirtualClock, seconds: float) -> str:
        return email.utils.formatdate(clock.date() + seconds, usegmt=True)

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_retry_after_is_kept(self, clock: VirtualClock, form: str) -> None:
        when = "7" if form == "seconds" else self.date(clock, 7)
        registry = Registry(serving(_BUILT, tags=failing(1, lambda _: reply(b'{"tags": []}'), "429 Slow",
                                                        f"Retry-After: {when}")))  # fmt: skip
        assert repository(registry, clock).tags() == []
        assert clock.pauses == [pytest.approx(7)]

    @pytest.mark.parametrize("form", ["seconds", "date"])
    @pytest.mark.parametrize("where", ["registry", "token server"])
    def test_one_that_asks_for_too_long_is_not_asked_again(self, clock: VirtualClock, form: str, where: str) -> None:
        when = "3600" if form == "seconds" else self.date(clock, 3600)
        late = busy("503 Busy", f"Retry-After: {when}")
        tokens = Registry({"": late})
        login = f'Bearer realm="http://{tokens.address}/token",service="lab"' if where != "registry" else None
        registry = Registry(serving(_BUILT, tags=late), login=login)
        with pytest.raises(Temporary, match=r"asks to wait 3600 s, more than 120 \(limit registry-wait\)"):
            repository(registry, clock).tags()
        assert len(asked(registry, "tags")) == 1 and clock.pauses == []

    def test_the_time_of_all_tries_is_bounded(self, clock: VirtualClock) -> None:
        registry = Registry(serving(_BUILT, tags=busy("503 Busy", "Retry-After: 110")))
        with pytest.raises(Temporary, match=r"tried for 220 s \(limit registry-retry\)"):
            repository(registry, clock).tags()
        assert len(asked(registry, "tags")) == 3 and clock.now() <= Limits().registry_retry

    def test_without_it_pauses_grow_up_to_a_bound(self, clock: VirtualClock) -> None:
        registry = Registry(serving(_BUILT, tags=busy()))
        with pytest.raises(Temporary):
            repository(registry, clock).tags()
        assert all(0.25 <= pause <= 15 for pause in clock.pauses) and clock.pauses[-1] >= 2

    def test_a_client_that_is_stopped_waits_no_longer(self) -> None:
        registry = Registry(serving(_BUILT, tags=busy("503 Busy", "Retry-After: 100")))
        client = Client(registry.address)
        client.stop()
        with pytest.raises(AuditError, match="stopped"):
            Repository(client, "app").tags()

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            (None, 0), ("", 0), ("0", 0), ("12", 12), (" 12 ", 12), ("1.5", 1.5), ("-5", 0), ("soon", 0), ("٣", 0),
            ("Thu, 01 Jan 1970 00:01:40 GMT", 90), ("Thu, 01 Jan 1970 00:00:05 GMT", 0),
            ("Thursday, 01-Jan-70 00:01:40 GMT", 90), ("Thu, 99 Jan 1970 00:00:00 GMT", 0), ("9" * 400, 0),
        ],
    )  # fmt: skip
    def test_both_forms_of_the_header_are_understood(self, header: str | None, seconds: float) -> None:
        assert retry_after_s(header, 10) == seconds


def crowded(times: list[float], rate: float) -> list[float]:
    """The times from which on more than `rate` requests, or one where it is less, come within a second."""
    return [at for at in times if sum(at <= other < at + 1 for other in times) > max(rate, 1)]


class TestRate:
    @pytest.mark.parametrize("rate", [0.5, 1, 2.5, 10])
    def test_every_request_counts_retries_tokens_heads_and_redirects(
        self, clock: VirtualClock, rate: float, scanner: Scanner
    ) -> None:
        times: list[float] = []

        def seen(rule: Rule) -> Rule:
            def answer(one: Asked) -> Answer:
                times.append(clock.now())
                return rule(one)

            return answer

        storage = Registry({"": seen(failing(3, lambda _: reply(_PLAIN)))})
        tokens = Registry({"": seen(failing(2, lambda _: reply(b'{"token": "abc"}'), "429 Slow", "Retry-After: 0"))})
        rules = serving(
            _BUILT, layer=lambda _: redirect(f"http://{storage.address}/blob"),
            tags=failing(2, lambda _: reply(b'{"tags": ["1"]}'), "429 Slow", "Retry-After: 0"),
        )  # fmt: skip
        registry = Registry(
            {place: seen(rule) for place, rule in rules.items()},
            login=f'Bearer realm="http://{tokens.address}/token",service="lab"',
        )
        own = repository(registry, clock, rate=rate, limits=limits_of({"registry-retry": 10_000}))
        assert own.tags() == ["1"]
        own.look_up("1")
        own.resolve(Reference(registry.address, "app", "1", None))
        read_layer(LayerTask("app", Digest(digest(_PLAIN)), len(_PLAIN)), own.client, scanner, bytes(32))
        assert len(times) > 12 and crowded(times, rate) == []

    def test_threads_share_it(self, clock: VirtualClock) -> None:
        limit, times = RateLimit(5, clock, Client("127.0.0.1:1")._sender.stopped), list[float]()

        def send(_: int) -> None:
            with limit:
                times.append(clock.now())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(40)))
        assert len(times) == 40 and crowded(times, 5) == []

    def test_a_slow_connection_does_not_bring_two_requests_together(self, clock: VirtualClock) -> None:
        limit, sent = RateLimit(1, clock, Client("127.0.0.1:1")._sender.stopped), list[float]()
        for _ in range(3):
            with limit:
                clock.sleep(0.9, Client("127.0.0.1:1")._sender.stopped)  # the write takes so long
                sent.append(clock.now())
        assert crowded(sent, 1) == []


class TestPush:
    def receiving(self, blob: Rule, manifest: Rule = _CREATED) -> Registry:
        return Registry({
            "/v2/$": lambda _: reply(b"{}"),
            "HEAD": lambda _: reply(b"", "404 Not Found"),
            "POST .*/uploads": lambda _: reply(b"", "202 Accepted", "Location: /v2/app/blobs/uploads/1"),
            "PUT .*/uploads/": blob,
            "PUT .*/manifests/": manifest,
        })  # fmt: skip

    def pushed(self, registry: Registry, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> push.Pusher:
        monkeypatch.setattr(push, "Client", lambda host, **more: Client(host, clock=clock, **more))
        return push.Pusher(Client(registry.address), "app")

    def test_an_upload_is_begun_again_with_all_of_its_bytes(
        self, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from auditor.codec.file_slices import FileSlice, SharedFile

        data = b"layer" * 1000
        (tmp_path / "blob").write_bytes(data)
        registry = self.receiving(failing(2, busy("201 Created")))
        pusher = self.pushed(registry, clock, monkeypatch)
        pusher.blob(Digest(digest(data)), FileSlice(SharedFile.open(tmp_path / "blob"), 0, len(data)))
        puts = asked(registry, "PUT")
        assert [one.headers["content-length"] for one in puts] == [str(len(data))] * 3
        assert len(asked(registry, "POST")) == 3 and pusher.counts.uploaded == 1

    def test_the_tries_are_counted_by_blob_and_by_manifest(
        self, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = self.receiving(busy(), busy("429 Slow"))
        pusher = self.pushed(registry, clock, monkeypatch)
        with pytest.raises(Temporary):
            pusher.blob(Digest(digest(b"x")), b"x")
        with pytest.raises(Temporary):
            pusher.manifest(json.dumps({"mediaType": "m"}).encode(), "1")
        assert [len(asked(registry, place)) for place in ("PUT .*uploads", "PUT .*manifests")] == [TRIES, TRIES]


def test_the_time_for_a_connection_is_not_that_for_an_answer(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry with a large catalog may take half a minute before it begins to answer."""

    def late(rule: Rule) -> Rule:
        def answer(one: Asked) -> Answer:
            time.sleep(0.5)
            return rule(one)

        return answer

    monkeypatch.setattr(sender, "CONNECT_S", 0.2)
    registry = Registry({path: late(rule) for path, rule in serving(_BUILT).items()})
    own = repository(registry, clock)
    assert own.tags() and own.look_up("1")
    with own.open_blob(Digest(digest(_PLAIN)), len(_PLAIN)) as stream:
        assert stream.read() == _PLAIN
    assert [len(asked(registry, place)) for place in ("tags", "HEAD", "blobs")] == [1, 1, 1] and not clock.pauses


def test_nothing_else_tries_again() -> None:
    package = Path(push.__file__).parents[1]
    others = re.compile(r"urllib3.*Retry|max_retries|Retry\(")
    assert [path for path in package.rglob("*.py") if others.search(path.read_text())] == []
