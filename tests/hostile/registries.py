"""Registries that lead elsewhere, answer without end, too slowly, or with other bytes than they were asked for."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.hostile.case import Case
from tests.hostile.wire import Answer, Asked, Registry, endless, joined, own_address, redirect, reply, serving
from tests.images import gzipped, image, layer, token

_BUILT = image(layer({"a.txt": "hello\n" * 500}))
_FOUND = image(layer({"a.txt": f"token = {token(3)}\n"}))
_METADATA = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
_BASIC = 'Basic realm="lab"'
_PULL, _LIST = ("scan", "-o", "report.json"), ("registry", "scan")

Rule = Callable[[Asked], Answer]


def pulled(**rules: Rule) -> Callable[[Path], str]:
    """The target of an image in a registry on loopback, some of whose answers are not honest."""
    return lambda _: f"docker://{Registry(serving(_BUILT, **rules), login=_BASIC).address}/app:1"


def listed(**rules: Rule) -> Callable[[Path], str]:
    return lambda _: Registry(serving(_BUILT, **rules)).address


def always(answer: Answer) -> Rule:
    return lambda _: answer


def fresh(make: Callable[[], Answer]) -> Rule:
    """Of an answer that is read once."""
    return lambda _: make()


def from_elsewhere(target_of: Callable[[Registry], str]) -> Callable[[Path], str]:
    """A registry whose layers lie on another host, which must not get the login."""

    def build(_: Path) -> str:
        elsewhere = Registry(serving(_FOUND), leaks=True)
        rules = serving(_FOUND, layer=lambda asked: redirect(f"http://{elsewhere.address}{asked.path}"))
        return target_of(Registry(rules, login=_BASIC))

    return build


def to_loopback(place: str) -> Callable[[Path], str]:
    """A registry that is not on loopback, and leads there: by a redirect, or by the address of its token server."""

    def build(_: Path) -> str:
        inside = Registry(serving(_BUILT), leaks=True)
        there = f"http://{inside.address}/v2/app/secret"
        if place == "realm":
            rules, login = serving(_BUILT), f'Bearer realm="{there}",service="lab"'
        else:
            rules, login = serving(_BUILT, **{place: always(redirect(there))}), _BASIC
        return f"docker://{Registry(rules, host=own_address(), login=login).address}/app:1"

    return build


def with_realm(realm: str | Rule) -> Callable[[Path], str]:
    """A registry with a token server: at an address, or one of its own that answers so."""

    def build(_: Path) -> str:
        where = realm if isinstance(realm, str) else f"http://{Registry({'': realm}).address}/token"
        challenge = f'Bearer realm="{where}",service="lab"'
        return f"docker://{Registry(serving(_BUILT), login=challenge).address}/app:1"

    return build


def redirecting_realm(_: Path) -> str:
    """A token server that sends the login on."""
    elsewhere = Registry({"": always(reply(b'{"token": "x"}'))}, leaks=True)
    return with_realm(always(redirect(f"http://{elsewhere.address}/token")))(Path())


def pages(_: Asked, count: Iterator[int] = iter(range(1 << 30))) -> Answer:  # noqa: B008 - counts over all requests
    """A list whose every page names another."""
    number = next(count)
    link = f'Link: </v2/_catalog?n=1000&last=r{number}>; rel="next"'
    return reply(json.dumps({"repositories": [f"r{number}"]}).encode(), "200 OK", link)


def linked(place: str) -> Rule:
    return always(reply(b'{"repositories": ["app"]}', "200 OK", f'Link: <{place}>; rel="next"'))


def linked_elsewhere(_: Path) -> str:
    elsewhere = Registry({"": always(reply(b'{"repositories": []}'))}, leaks=True)
    return listed(catalog=linked(f"http://{elsewhere.address}/v2/_catalog"))(Path())


def trickled(piece: bytes = b" ") -> Iterable[bytes]:
    for _ in range(600):
        time.sleep(0.3)
        yield piece


def lies(**change: object) -> Rule:
    """A manifest that is changed, under the digest of the honest one."""
    blobs, root = _BUILT.blobs()
    document = json.dumps({**json.loads(blobs[root["digest"]]), **change}).encode()
    return always(reply(document, "200 OK", "Content-Type: application/vnd.oci.image.manifest.v1+json",
                        f"Docker-Content-Digest: {root['digest']}"))  # fmt: skip


def uploads_to(place: Callable[[Registry], str]) -> Callable[[Path], str]:
    """A registry to push to, which wants the bytes elsewhere. The image to push stands in the folder."""

    def build(folder: Path) -> str:
        _BUILT.docker_archive(folder / "image.tar")
        elsewhere = Registry({"PUT|PATCH|POST": always(reply(b"", "201 Created"))}, leaks=True)
        where = place(elsewhere)
        rules = {
            "HEAD": always(reply(b"", "404 Not Found")),
            "POST .*/uploads": always(reply(b"", "202 Accepted", f"Location: {where}")),
            "/v2/$": always(reply(b"{}")),
        }
        return f"--push={Registry(rules).address}/app:1"

    return build


_PUSH = ("flatten", "input/image.tar")
_HEAD = b"HTTP/1.1 200 OK\r\n"
_ERROR = b'{"errors": [{"code": "\\u001b[31mRED", "message": "\\u202e\\u001b]0;title\\u0007<script>"}]}'

CASES = (
    Case("an honest registry", pulled(), 0, command=_PULL),
    Case("a redirect to another host, without the login", from_elsewhere(lambda r: f"docker://{r.address}/app:1"), 1,
        command=_PULL),
    Case("a redirect of a layer to loopback", to_loopback("layer"), 2, "a loopback address",
        command=(*_PULL, "--insecure")),
    Case("a redirect of a manifest to loopback", to_loopback("manifest"), 2, "a loopback address",
        command=(*_PULL, "--insecure")),
    Case("a token server on loopback", to_loopback("realm"), 2, "a loopback address", command=(*_PULL, "--insecure")),
    Case("a redirect to metadata", pulled(layer=always(redirect(_METADATA))), 2, "metadata", command=_PULL),
    Case("a redirect to metadata in digits", pulled(layer=always(redirect("http://0xa9fea9fe/"))), 2, "",
        command=_PULL),
    Case("a redirect to metadata in IPv6", pulled(layer=always(redirect("http://[::ffff:169.254.169.254]/"))), 2,
        "metadata", command=_PULL),
    Case("a redirect to this network", pulled(layer=always(redirect("http://0.0.0.0/"))), 2, "reserved",
        command=_PULL),
    Case("a redirect to a file", pulled(layer=always(redirect("file:///etc/passwd"))), 2, "malformed", command=_PULL),
    Case("a redirect to nowhere", pulled(layer=always(redirect("http://[broken"))), 2, "", command=_PULL),
    Case("a redirect to itself", pulled(layer=lambda asked: redirect(asked.path)), 2, "(limit registry-redirects)",
        command=_PULL),
    Case("a token server at metadata", with_realm(_METADATA), 2, "metadata", command=_PULL),
    Case("a token server that is a file", with_realm("file:///etc/passwd"), 2, "no https URL", command=_PULL),
    Case("a token server that redirects", redirecting_realm, 2, "refused to send the credentials", command=_PULL),
    Case("a token without end", with_realm(fresh(lambda: reply(endless(b"x" * 1000)))), 2, "(limit registry-error)",
        command=_PULL),
    Case("a token that is two lines", with_realm(always(reply(b'{"token": "a\\r\\nX-Evil: b"}'))), 2, "token server",
        command=_PULL),
    Case("a manifest without end", pulled(manifest=fresh(lambda: reply(endless()))), 2, "(limit json-bytes)", 200,
        command=_PULL),
    Case("a layer without end", pulled(layer=fresh(lambda: reply(endless()))), 2, "has more than the", command=_PULL),
    Case("a config without end", pulled(config=fresh(lambda: reply(endless()))), 2, "(limit json-bytes)", 200,
        command=_PULL),
    Case("an error without end", pulled(manifest=fresh(lambda: reply(endless(), "418 No"))), 2,
        "(limit registry-error)", command=_PULL),
    Case("an error that acts on a terminal", pulled(manifest=always(reply(_ERROR, "403 \x1b[31mNo"))), 2, "403",
        command=_PULL),
    Case("a header without end", pulled(manifest=fresh(lambda: joined(_HEAD + b"X: ", endless(b"x" * 9999)))), 2, "",
        command=_PULL),
    Case("headers without end", pulled(manifest=fresh(lambda: joined(_HEAD, endless(b"X-A: b\r\n" * 999)))), 2, "",
        command=_PULL),
    Case("interim answers without end", pulled(manifest=fresh(
        lambda: endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 99))), 2, "(limit registry-headers)", command=_PULL),
    Case("a trailer without end", pulled(manifest=fresh(lambda: joined(
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", endless(b"X-A: b\r\n" * 999)))), 2, "", 200,
        command=_PULL),
    Case("chunks with extensions without end", pulled(manifest=fresh(lambda: joined(
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", endless(b"x" * 9999)))), 2, "", command=_PULL),
    Case("a chunk of a negative size", pulled(layer=always(
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n")), 2, "broke off", command=_PULL),
    Case("a bomb of gzip for a manifest", pulled(manifest=always(reply(
        gzip.compress(bytes(64 << 20)), "200 OK", "Content-Encoding: gzip"))), 2, "not requested", command=_PULL),
    Case("noise instead of HTTP", pulled(manifest=always(b"\x00\xff\x1b[31m" * 500)), 2, "does not answer",
        command=_PULL),
    Case("an answer that breaks off", pulled(layer=always(_HEAD + b"Content-Length: 9999\r\n\r\nhello")), 2, "",
        command=_PULL),
    Case("a length of 2^80", pulled(layer=always(_HEAD + b"Content-Length: %d\r\n\r\nhello" % 2**80)), 2, "expected",
        command=_PULL),
    Case("a manifest of another digest", pulled(manifest=lies(annotations={"a": "b"})), 2, "digest is", command=_PULL),
    Case("a config of another digest", pulled(config=always(reply(b'{"rootfs": {}}'))), 2, "digest is", command=_PULL),
    Case("a layer of another digest in a registry", pulled(layer=always(reply(layer({"a.txt": "HELLO\n" * 500})))), 2,
        "digest is", command=_PULL),
    Case("a layer of another size", pulled(layer=always(reply(gzipped(b"x")))), 2, "expected", command=_PULL),
    Case("headers that come slowly", pulled(manifest=fresh(trickled)), 2, "(limit registry-time)",
        command=(*_PULL, "--limit", "registry-time=2")),
    Case("a layer that comes slowly", pulled(layer=fresh(lambda: reply(trickled()))), 2, "(limit registry-time)",
        command=(*_PULL, "--limit", "registry-time=2")),
    Case("no answer at all", pulled(manifest=fresh(lambda: trickled(b""))), 2, "registry-time",
        command=(*_PULL, "--limit", "registry-time=1")),
    Case("a registry that says to come back in a year", pulled(
        manifest=always(reply(b"{}", "429 Too Many", "Retry-After: 31536000"))), 2, "(limit registry-wait)",
        command=(*_PULL, "--limit", "registry-wait=1")),
    Case("a list whose pages go round", listed(catalog=linked("/v2/_catalog?n=1000&last=app")), 2,
        "repeats an earlier page", command=_LIST),
    Case("a list of pages without end", listed(catalog=pages), 2, "(limit registry-pages)",
        command=(*_LIST, "--limit", "registry-pages=20")),
    Case("a list of names without end", listed(catalog=always(reply(
        json.dumps({"repositories": [f"r{n}" for n in range(2000)]}).encode()))), 2, "(limit registry-names)",
        command=(*_LIST, "--limit", "registry-names=1000")),
    Case("a list that goes on at another host", linked_elsewhere, 2, "another host", command=_LIST),
    Case("a list that goes on at metadata", listed(catalog=linked(_METADATA)), 2, "another host", command=_LIST),
    Case("names that are paths and escapes", listed(catalog=always(reply(
        b'{"repositories": ["../../etc", "\\u001b[31m", "a b", "", "app"]}'))), 0, "4 references", command=_LIST),
    Case("names that are no text", listed(catalog=always(reply(
        b'{"repositories": ["app", 5, null]}'))), 2, "no list of repositories", command=_LIST),
    Case("an upload to metadata", uploads_to(lambda _: _METADATA), 2, "metadata", command=_PUSH),
    Case("an upload to another host", uploads_to(lambda r: f"http://{r.address}/upload"), 2, "", command=_PUSH),
    Case("an upload to a file", uploads_to(lambda _: "file:///tmp/up"), 2, "malformed URL", command=_PUSH),
)  # fmt: skip
